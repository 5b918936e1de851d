"""What an agent is started with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vpnctl.migration.hypervisor.command_line import Places
from vpnctl.sidecar.elimination import SiteCache
from vpnctl.sidecar.wan.address import Address

#: Octets that the site's cache may take, as a sidecar has it unless told otherwise.
_CACHE_SIZE = 8 << 30


@dataclass(frozen=True, slots=True)
class Certificates:
    """Ours and its key, and the CA of everybody else's; PEM files."""

    certificate: Path
    key: Path
    ca: Path


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """``site``: what this place is called; ``state``: a directory of the agent's own, its path
    short enough for sockets; ``disks``, ``shared``, ``images``: where machines' files are;
    ``data``: where sidecars listen, port 0 for any; ``certificates`` None: plain TCP on loopback;
    ``site_cache``: where blocks are kept for later migrations, None for nowhere; ``bridges``: this
    site's by VPN, for nics that name a VPN alone; ``libvirt``: the URI of the one that starts
    machines, empty where the agent starts QEMU itself; ``nice``: how far sidecars stand back behind
    guests and everybody else.
    """

    site: str
    state: Path
    disks: Path
    shared: Path
    images: Path
    qemu: str
    data: Address
    certificates: Certificates | None
    site_cache: Path | None = None
    bridges: Mapping[str, str] = field(default_factory=dict)
    nice: int = 10
    libvirt: str = ""

    def cache(self) -> SiteCache | None:
        """Where this site keeps blocks, None for nowhere; raises `SidecarError`."""
        return None if self.site_cache is None else SiteCache(self.site_cache, _CACHE_SIZE)

    def places(self, incarnation: str) -> Places:
        """Where the files of one copy of a machine are."""
        return Places(self.disks, self.shared, self.images, self.state / "run" / incarnation)
