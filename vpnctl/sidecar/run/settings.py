"""What a sidecar is started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vpnctl.errors import UsageError
from vpnctl.sidecar.elimination import Options, SiteCache
from vpnctl.sidecar.wan.address import Address, check_plain
from vpnctl.sidecar.wan.limits import Limits
from vpnctl.sidecar.wan.tls import Tls

#: A destination refuses a source that asks for more memory, in octets.
DEFAULT_MEMORY = 2 << 30


@dataclass(frozen=True, slots=True)
class SiteDirectory:
    """Where a site keeps blocks for later migrations, and how many octets of them."""

    path: Path
    size: int

    def open(self) -> SiteCache:
        """Raises `SidecarError` when it cannot be used."""
        return SiteCache(self.path, self.size)


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """``qemu``: unix socket that is made here, for QEMU to migrate to; ``peer``: where the
    destination listens; ``tls`` None: plain TCP, on loopback alone; ``rate``: bits per second,
    None for no limit; ``adaptive``: do less than ``options`` where the link is faster than the
    processor; ``qmp``: a monitor of QEMU that nobody else uses, None to ask nothing.

    Raises `UsageError` for plain TCP beyond loopback, and when the stage ``site`` has no directory.
    """

    qemu: Path
    peer: Address
    tls: Tls | None
    migration: str
    options: Options = field(default_factory=lambda: Options(site=False))
    site: SiteDirectory | None = None
    adaptive: bool = True
    limits: Limits = field(default_factory=Limits)
    rate: int | None = None
    qmp: Path | None = None

    def __post_init__(self) -> None:
        if self.tls is None:
            check_plain(self.peer)
        if self.options.site and self.site is None:
            raise UsageError(
                "the stage site has no directory", hint="name one with --site-cache, or do without"
            )


@dataclass(frozen=True, slots=True)
class DestinationSettings:
    """``qemu``: unix socket that QEMU listens at (``-incoming unix:...``); ``listen``: where the
    source connects to; ``memory``: octets that the source's choice of stages may take here.

    Raises `UsageError` for plain TCP beyond loopback.
    """

    qemu: Path
    listen: Address
    tls: Tls | None
    limits: Limits = field(default_factory=lambda: Limits(connect_s=None))
    memory: int = DEFAULT_MEMORY
    site: SiteDirectory | None = None

    def __post_init__(self) -> None:
        if self.tls is None:
            check_plain(self.listen)
