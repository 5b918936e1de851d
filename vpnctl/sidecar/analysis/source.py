"""Captured migration streams and raw disk images, read piece by piece."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import TypeAlias

import numpy as np

from vpnctl.errors import UsageError
from vpnctl.sidecar.stream.events import Event, Opaque, Pages
from vpnctl.sidecar.stream.format import MAGIC, PAGE_SIZE, RamFlag
from vpnctl.sidecar.stream.parser import StreamParser

#: Told how many octets of a file were worked through since it was told last.
Passed: TypeAlias = Callable[[int], object]

#: Octets that are read at once; a multiple of the page size.
_PIECE = 1 << 20
#: The name under which a disk image's pages go.
_DISK = b"disk"

#: How image formats begin that are not raw: their blocks are not where the guest sees them.
_FORMATS = {
    b"QFI\xfb": "qcow2",
    b"KDMV": "vmdk",
    b"vhdxfile": "vhdx",
    b"conectix": "vpc",
    b"<<< ": "vdi",
}


class Kind(Enum):
    """What a file is."""

    STREAM = "stream"
    DISK = "disk"


class Source:
    """One file, looked at but not kept open.

    ``kind`` and ``size`` (octets) are as the file was at first.
    Raises `UsageError` if it is no file or block device, cannot be read, is empty, or is a disk
    image that is not raw.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            mode = path.stat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
                # It is read more than once; and to open a pipe waits for who writes to it.
                raise UsageError(
                    f"{path} is neither a file nor a block device",
                    hint="name a captured stream or a raw disk image",
                )
            with path.open("rb") as file:
                begin = file.read(len(MAGIC))
                self.size = file.seek(0, 2)
        except OSError as error:
            raise _unreadable(path, error) from error
        if not self.size:
            raise UsageError(f"{path} is empty", hint="name a captured stream or a disk image")
        for mark, name in _FORMATS.items():
            if begin.startswith(mark):
                raise UsageError(
                    f"{path} is a disk image in the format {name}",
                    hint=f"make a raw one of it: qemu-img convert -O raw {path} {path}.raw",
                )
        self.kind = Kind.STREAM if begin == MAGIC else Kind.DISK

    def pieces(self, passed: Passed) -> Iterator[bytes]:
        """The file's octets; ``passed`` is told how many after each piece."""
        try:
            with self.path.open("rb") as file:
                while piece := file.read(_PIECE):
                    yield piece
                    passed(len(piece))
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def events(self, passed: Passed) -> Iterator[Event]:
        """The file as events; a disk image is one block of pages.

        Raises `StreamRefusedError` if a stream is damaged, unsupported, or not whole.
        """
        if self.kind is Kind.DISK:
            yield from _disk_events(self.pieces(passed))
            return
        parser = StreamParser()
        for piece in self.pieces(passed):
            yield from parser.feed(piece)
        parser.finish()


def _disk_events(pieces: Iterator[bytes]) -> Iterator[Event]:
    address = 0
    for piece in pieces:
        whole = len(piece) // PAGE_SIZE
        if whole:
            yield _run(piece, address, whole)
        if rest := piece[whole * PAGE_SIZE :]:
            yield Opaque(rest)
        address += whole * PAGE_SIZE


def _run(piece: bytes, address: int, count: int) -> Pages:
    pages = np.frombuffer(piece, np.uint8, count * PAGE_SIZE).reshape(count, PAGE_SIZE)
    full = pages.view(np.uint64).any(axis=1)
    flags = np.where(full, RamFlag.PAGE, RamFlag.ZERO).astype(np.uint64)
    # As in a stream, the block is named once.
    flags[1 if address == 0 else 0 :] |= np.uint64(RamFlag.CONTINUE)
    addresses = address + np.arange(count, dtype=np.uint64) * np.uint64(PAGE_SIZE)
    return Pages(_DISK, addresses | flags, bytes(count - int(full.sum())), pages[full])


def _unreadable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"{path} cannot be read: {error.strerror}",
        hint="name a captured stream or a raw disk image that you may read",
    )
