"""Cut a captured stream small: ``python -m tests.sidecar.stream.cut_sample FROM TO``.

Most page records are left out, and all else stays as QEMU sent it, so that the result is a whole
stream of a guest whose memory has gaps.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import zstandard

from vpnctl.sidecar.stream.events import Event, Opaque, Pages
from vpnctl.sidecar.stream.parser import StreamParser
from vpnctl.sidecar.stream.writer import octets_of

#: Runs of pages that are left, spread over the stream, and records that are left of each.
_RUNS, _RECORDS = 6, 4


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("source", type=Path)
    arguments.add_argument("target", type=Path)
    given = arguments.parse_args()
    parser = StreamParser()
    events = parser.feed(given.source.read_bytes())
    parser.finish()
    runs = sum(isinstance(event, Pages) and not event.names_block for event in events)
    out, seen = [], 0
    for event in events:
        if isinstance(event, Pages) and not event.names_block:
            seen += 1
            if seen % -(-runs // _RUNS):
                continue
        out.append(octets_of(shortened(event)))
    given.target.write_bytes(zstandard.compress(b"".join(out), 19))


def shortened(event: Event) -> Event:
    """The first records of a run."""
    if isinstance(event, Opaque):
        return event
    full = int(event.is_full[:_RECORDS].sum())
    filled = len(event.headers[:_RECORDS]) - full
    return Pages(event.block, event.headers[:_RECORDS], event.fills[:filled], event.contents[:full])


if __name__ == "__main__":
    main()
