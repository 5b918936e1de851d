"""Octets of a file under each scheme of sending it.

Every figure is the length of what the scheme really produced, caches and windows bounded as they
are in a migration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import zstandard
from numpy.typing import NDArray

from vpnctl.sidecar.analysis.source import Passed, Source
from vpnctl.sidecar.elimination import Encoder, Options
from vpnctl.sidecar.stream.events import Pages
from vpnctl.sidecar.stream.writer import octets_of

#: Pages that QEMU's multifd puts into one packet.
BATCH_PAGES = 128
LONG_WINDOW = 27


@dataclass(frozen=True)
class Scheme:
    """A way of sending a file; ``measure`` says how many octets it makes of one."""

    name: str
    what: str
    measure: Callable[[Source, Passed], int]


def schemes(cache_size: int) -> tuple[Scheme, ...]:
    """All schemes; ``cache_size``: octets that delta and content each remember."""
    stages = Options(
        delta=False,
        content=False,
        site=False,
        text=False,
        compress=False,
        cache_size=cache_size,
    )
    both = replace(stages, delta=True, content=True)
    return (
        Scheme("default", "as QEMU sends it, pages of zeros as a mark", _plain),
        *(
            Scheme(
                f"content-{count}",
                f"pages in {_blocks(count)}, each sent once",
                _encoded(replace(stages, content=True, sub_blocks=count)),
            )
            for count in (1, 4, 16)
        ),
        Scheme(
            "delta", "of a page sent before, what changed", _encoded(replace(stages, delta=True))
        ),
        Scheme("delta+content-4", "both", _encoded(both)),
        Scheme("zstd-batch", f"each {BATCH_PAGES} pages compressed for themselves", _batches),
        Scheme("zstd", "the whole compressed, level 1", _compressed()),
        Scheme(
            "zstd-long",
            f"the same with a window of 2^{LONG_WINDOW} octets",
            _compressed(window_log=LONG_WINDOW, enable_ldm=True),
        ),
        Scheme(
            "delta+zstd-long",
            "delta, then zstd-long",
            _encoded(replace(stages, delta=True, compress=True)),
        ),
        Scheme(
            "delta+content-4+zstd-long",
            "delta and content, then zstd-long",
            _encoded(replace(both, compress=True)),
        ),
        Scheme(
            "all",
            "delta and content, text word by word, then zstd",
            _encoded(replace(both, text=True, compress=True)),
        ),
    )


def _blocks(count: int) -> str:
    return f"{count} blocks" if count > 1 else "one block"


def _encoded(options: Options) -> Callable[[Source, Passed], int]:
    """With the encoder that a sidecar has."""

    def measure(source: Source, passed: Passed) -> int:
        encoder = Encoder(options)
        for event in source.events(passed):
            encoder.encode([event])
        encoder.finish()
        return encoder.statistics.wire

    return measure


def _plain(source: Source, passed: Passed) -> int:
    return sum(event.size for event in source.events(passed))


def _compressed(**parameters: int) -> Callable[[Source, Passed], int]:
    """One zstd frame over the octets that the default sends."""

    def measure(source: Source, passed: Passed) -> int:
        level = zstandard.ZstdCompressionParameters.from_level(1, **parameters)
        frame = zstandard.ZstdCompressor(compression_params=level).compressobj()
        size = sum(len(frame.compress(octets_of(event))) for event in source.events(passed))
        return size + len(frame.flush())

    return measure


def _batches(source: Source, passed: Passed) -> int:
    """Contents of pages compressed in batches; all else goes as it is."""
    compressor = zstandard.ZstdCompressor(level=1)
    size = waiting = 0
    batch: list[NDArray[np.uint8]] = []
    for event in source.events(passed):
        size += event.size
        if not isinstance(event, Pages):
            continue
        contents = event.contents
        while len(contents):
            taken, contents = np.split(contents, [BATCH_PAGES - waiting])
            batch.append(taken)
            waiting += len(taken)
            if waiting == BATCH_PAGES:
                size -= _saved(compressor, batch)
                waiting, batch = 0, []
    return size - _saved(compressor, batch)


def _saved(compressor: zstandard.ZstdCompressor, batch: list[NDArray[np.uint8]]) -> int:
    octets = b"".join(pages.tobytes() for pages in batch)
    return len(octets) - len(compressor.compress(octets)) if octets else 0
