"""Files made by hand whose redundancy is known."""

from __future__ import annotations

import random
from pathlib import Path

from tests.support import streams
from tests.support.streams import PAGE, page
from vpnctl.sidecar.analysis.source import Source

BLOCK = b"pc.ram"


def nothing(_: int) -> None:
    """Nobody wants to know how far it is."""


def noise(octets: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(octets)


def stream_file(path: Path, pages: list[tuple[int, bytes]]) -> Source:
    """A stream that sends ``pages``: number of the page, content (one octet: filled with it)."""
    records = [
        page(number * PAGE, content, None if index else BLOCK)
        for index, (number, content) in enumerate(pages)
    ]
    path.write_bytes(
        streams.magic()
        + streams.machine()
        + streams.setup({BLOCK: 1024 * PAGE})
        + streams.part(records)
        + streams.last_part([])
        + streams.devices()
    )
    return Source(path)


def disk_file(path: Path, octets: bytes) -> Source:
    path.write_bytes(octets)
    return Source(path)
