"""The directory of segments, and what two sites have in common."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from vpnctl.errors import SidecarError, SidecarProtocolError
from vpnctl.sidecar.elimination.site.segment import (
    NAME,
    PART,
    SUFFIX,
    DamagedError,
    Segment,
    is_abandoned,
)
from vpnctl.sidecar.elimination.site.view import SiteView

#: No peer may name more segments; each has 16 MiB.
MAX_NAMES = 1 << 16


class SiteCache:
    """The segments of one site, at most ``limit`` octets of them; the ones least used go first.

    Several processes may share a directory.  Raises `SidecarError` where it cannot be used.
    """

    def __init__(self, directory: Path, limit: int) -> None:
        self.directory = directory
        self.limit = limit
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if directory.stat().st_mode & 0o077:
                raise SidecarError(
                    f"the site cache {directory} holds guests' memory and others may enter it",
                    hint=f"chmod 700 {directory}",
                )
            for path in directory.glob(f"*{PART}"):
                if is_abandoned(path):
                    path.unlink(missing_ok=True)
            self.trim()
        except OSError as error:
            raise SidecarError(
                f"the site cache {directory} cannot be used: {error.strerror}",
                hint="name a directory that vpnctl may write to, or switch the site cache off",
            ) from error

    def offer(self, block_size: int) -> Offer:
        """What this site has, in blocks of that size, held open until agreed on."""
        segments = {}
        for path in self._paths():
            if path.name.startswith(f"{block_size}-"):
                try:
                    segment = Segment(path)
                except FileNotFoundError:
                    continue
                except (DamagedError, OSError):
                    path.unlink(missing_ok=True)
                    continue
                segments[segment.name] = segment
        return Offer(self, block_size, segments)

    def trim(self) -> None:
        """Drop segments, the ones least recently used first, until the rest is within the limit."""
        found = []
        for path in self._paths():
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            found.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self.limit:
                break
            path.unlink(missing_ok=True)
            total -= size

    def _paths(self) -> Iterator[Path]:
        for path in self.directory.glob(f"*{SUFFIX}"):
            if NAME.fullmatch(path.name.removesuffix(SUFFIX)):
                yield path


class Offer:
    """The segments that a site has at one moment."""

    def __init__(self, cache: SiteCache, block_size: int, segments: dict[str, Segment]) -> None:
        self._cache = cache
        self._block_size = block_size
        self._segments = segments

    @property
    def names(self) -> list[str]:
        """For the peer."""
        return sorted(self._segments)

    def agree(self, names: Iterable[object]) -> SiteView:
        """The segments that both have; the peer, given our names, comes to the same.

        Raises `SidecarProtocolError` unless ``names`` are names of segments.
        """
        theirs: set[str] = set()
        for name in names:
            if not isinstance(name, str) or not NAME.fullmatch(name) or len(theirs) == MAX_NAMES:
                raise SidecarProtocolError("the other sidecar's list of segments is none")
            theirs.add(name)
        common = [self._segments[name] for name in sorted(self._segments.keys() & theirs)]
        for segment in common:
            try:
                os.utime(segment.path)
            except FileNotFoundError:
                pass  # Dropped by another process meanwhile; it stays readable for this one.
        return SiteView(self._cache.directory, self._block_size, common, self._cache.trim)
