"""Atheris looks for UPDATEs of a hostile PE that reach code which no other has reached.

``python -m lab.bench.coverage [SECONDS]`` with ``pip install atheris``; it ends with the input that
went wrong, if one did.  What is judged is what `lab.bench.hostile` judges.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-not-found]  # in no list of packages: see above

with atheris.instrument_imports(include=["vpnctl.routing"]):
    from lab.bench.hostile import Isolated, seeds
    from tests.routing import wire


def main() -> None:
    """Run for the seconds given, a minute unless said otherwise."""
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    isolated = Isolated()

    def one(body: bytes) -> None:
        isolated.take(wire.message(body[:4000]))
        assert not isolated.problems, isolated.problems[0]

    with tempfile.TemporaryDirectory() as corpus:
        for at, octets in enumerate(seeds()):
            (Path(corpus) / str(at)).write_bytes(octets[19:])
        atheris.Setup([sys.argv[0], corpus, f"-max_total_time={seconds}", "-max_len=1000"], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
