"""Real migration streams, cut small: see ``tests/sidecar/stream/samples/README.md``."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import zstandard

_DIRECTORY = Path(__file__).parent / "samples"
SAMPLES = sorted(path.name.removesuffix(".stream.zst") for path in _DIRECTORY.glob("*.stream.zst"))


@cache
def sample(name: str) -> bytes:
    """The octets of one stream."""
    return zstandard.decompress((_DIRECTORY / f"{name}.stream.zst").read_bytes())
