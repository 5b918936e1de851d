"""One file of the site's cache.

::

    blocks: count x block_size | fingerprints: count x u64 | trailer

little-endian; `kernel.fingerprints` of each block; the trailer is `TRAILER`.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
from pathlib import Path

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from vpnctl.sidecar.elimination import kernel

#: Magic, version of this layout and of the fingerprints, block size, count of blocks, BLAKE3 of
#: all blocks.
TRAILER = struct.Struct("<8sIIQ32s")
MAGIC = b"vpnctlSG"
VERSION = 1
#: Octets of blocks after which a segment is full.
SIZE = 16 << 20
NAME = re.compile(r"(256|1024|4096)-[0-9a-f]{64}")
SUFFIX = ".segment"
#: A segment that is being written.
PART = ".part"


class DamagedError(Exception):
    """A file is no segment, or not the one that its name says."""


class Segment:
    """A whole segment, mapped into memory.

    ``blocks``: shape ``(count, block_size)``; ``prints``: shape ``(count,)``.
    Raises `DamagedError` where the file is no segment of that name, `OSError` where it cannot be
    read.  Whether the blocks are right is not known before `verify`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name.removesuffix(SUFFIX)
        octets = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.empty(0, np.uint8)
        if len(octets) < TRAILER.size:
            raise DamagedError(f"{path} is too short")
        magic, version, block_size, count, self._digest = TRAILER.unpack(
            octets[-TRAILER.size :].tobytes()
        )
        if (magic, version) != (MAGIC, VERSION):
            raise DamagedError(f"{path} has no trailer of this version")
        end = count * block_size
        if len(octets) != end + 8 * count + TRAILER.size or not count:
            raise DamagedError(f"{path} has not the length that its trailer says")
        if self.name != name_of(block_size, self._digest):
            raise DamagedError(f"{path} is named otherwise by its trailer")
        self.blocks: NDArray[np.uint8] = octets[:end].reshape(count, block_size)
        self.prints: NDArray[np.uint64] = octets[end : end + 8 * count].view(np.uint64)
        self._verified = False

    def verify(self) -> None:
        """Raises `DamagedError` unless the blocks are those of the name; reads them once."""
        if not self._verified:
            if blake3(self.blocks.data).digest() != self._digest:
                raise DamagedError(f"{self.path} has not the content that its name says")
            self._verified = True


class SegmentWriter:
    """A segment in the making; it has no name, and counts for nothing, until `seal`."""

    def __init__(self, directory: Path, block_size: int) -> None:
        self.block_size = block_size
        self.count = 0
        self._directory = directory
        self._prints: list[NDArray[np.uint64]] = []
        self._digest = blake3()
        self._path = directory / f"{os.urandom(8).hex()}{PART}"
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        # Who finds this file unlocked knows that its writer is gone.
        fcntl.flock(self._file, fcntl.LOCK_EX)

    @property
    def room(self) -> int:
        """Blocks that still go in."""
        return SIZE // self.block_size - self.count

    def add(self, blocks: NDArray[np.uint8]) -> None:
        """Append ``blocks``, shape ``(n, block_size)``, at most `room`; rows contiguous."""
        self._prints.append(kernel.fingerprints(blocks))
        self._digest.update(blocks.data)
        _write(self._file, blocks.data.cast("B"))
        self.count += len(blocks)

    def seal(self) -> Path:
        """Make it whole, give it its name; the path."""
        digest = self._digest.digest()
        tail = b"".join(prints.tobytes() for prints in self._prints)
        trailer = TRAILER.pack(MAGIC, VERSION, self.block_size, self.count, digest)
        _write(self._file, memoryview(tail + trailer))
        path = self._directory / (name_of(self.block_size, digest) + SUFFIX)
        self._path.rename(path)
        os.close(self._file)
        return path

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._path.unlink(missing_ok=True)
        os.close(self._file)


def name_of(block_size: int, digest: bytes) -> str:
    """What a segment is called."""
    return f"{block_size}-{digest.hex()}"


def is_abandoned(path: Path) -> bool:
    """Whether the writer of the unfinished segment at ``path`` is gone."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return False
    return True


def _write(descriptor: int, octets: memoryview) -> None:
    while octets:
        octets = octets[os.write(descriptor, octets) :]
