"""The site's cache as one migration sees it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vpnctl.errors import SidecarError
from vpnctl.sidecar.elimination import kernel
from vpnctl.sidecar.elimination.index import Index
from vpnctl.sidecar.elimination.site.segment import DamagedError, Segment, SegmentWriter

_SPREAD = 4


class SiteView:
    """Blocks that both ends have, by number, and a place for new ones.

    ``count``: blocks that may be referred to; ``epoch``: 32 bits that tell this agreement from
    others; ``trouble``: why nothing more is being stored, or "".
    """

    def __init__(
        self,
        directory: Path,
        block_size: int,
        segments: Sequence[Segment],
        trim: Callable[[], None],
    ) -> None:
        self.block_size = block_size
        self.trouble = ""
        self._directory = directory
        self._segments = segments
        self._trim = trim
        self._writer: SegmentWriter | None = None
        # Number of the first block of each segment, and of the one behind the last.
        self._firsts = np.cumsum([0, *(len(segment.blocks) for segment in segments)])
        self.count = int(self._firsts[-1])
        names = " ".join([str(block_size), *(segment.name for segment in segments)])
        self.epoch = zlib.crc32(names.encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def prints(self) -> NDArray[np.uint64]:
        """Fingerprints of all blocks, shape ``(count,)``."""
        return np.concatenate(
            [np.empty(0, np.uint64), *(segment.prints for segment in self._segments)]
        )

    def fetch(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The blocks of these numbers, each from 0 to ``count``; shape ``(n, block_size)``.

        Raises `SidecarError` where the disk has not kept what was agreed on; the segment is
        removed, so that the next migration does without it.
        """
        out = np.empty((len(numbers), self.block_size), np.uint8)
        places = np.searchsorted(self._firsts, numbers, side="right") - 1
        for place in np.unique(places).tolist():
            segment = self._segments[place]
            try:
                segment.verify()
            except DamagedError as error:
                segment.path.unlink(missing_ok=True)
                raise SidecarError(
                    f"the site cache is damaged: {error}",
                    hint="the segment was removed; start the migration again",
                ) from error
            mine = places == place
            out[mine] = segment.blocks[numbers[mine] - self._firsts[place]]
        return out

    def store(self, blocks: NDArray[np.uint8]) -> int:
        """Keep ``blocks`` for later migrations; how many were kept.

        A disk that is full or broken ends the storing, not the migration: see ``trouble``.
        """
        kept = 0
        try:
            while kept < len(blocks) and not self.trouble:
                if self._writer is None:
                    self._writer = SegmentWriter(self._directory, self.block_size)
                part = blocks[kept : kept + self._writer.room]
                self._writer.add(part)
                kept += len(part)
                if not self._writer.room:
                    self._seal()
        except OSError as error:
            self._give_up(error)
        return kept

    def finish(self) -> None:
        """The migration has ended well: what was stored last counts, too."""
        try:
            if self._writer is not None:
                self._seal()
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """Forget what was not sealed."""
        if self._writer is not None:
            self._writer.abandon()
            self._writer = None

    def _seal(self) -> None:
        assert self._writer is not None
        self._writer.seal()
        self._writer = None
        self._trim()

    def _give_up(self, error: OSError) -> None:
        self.trouble = f"nothing more is stored in {self._directory}: {error.strerror}"
        self.close()


class SiteIndex:
    """Finds blocks in a `SiteView`; the encoder's business alone."""

    def __init__(self, view: SiteView) -> None:
        self._view = view
        self._index = Index(max(1, view.count), _SPREAD)
        self._index.put(view.prints(), np.arange(view.count))

    def find(
        self, blocks: NDArray[np.uint8], prints: NDArray[np.uint64], wanted: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """The number of the very content of each wanted block, or -1; shape ``(n,)``."""
        if not self._view.count:
            return np.full(len(prints), -1, np.int64)
        numbers = self._index.find(prints)
        numbers[~wanted] = -1
        rows = np.flatnonzero(numbers >= 0)
        if len(rows):
            fetched = self._view.fetch(numbers[rows])
            same = kernel.equal_rows(blocks[rows], fetched, np.arange(len(rows)))
            numbers[rows[~same]] = -1
        return numbers
