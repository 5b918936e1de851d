"""The VPNs that machines are in, as their controller knows them: reached, extended, watched."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class RouteMoment:
    """Something happened to a machine's route.

    ``at``: by the controller's clock, in seconds since 1970; ``mac`` like ``52:54:00:00:00:01``;
    ``what`` in words; ``sent``: the controller told a PE of it, it did not hear it from one.
    """

    at: float
    mac: str
    what: str
    sent: bool


class Network(Protocol):
    """Asks the controller of the VPNs; raises `vpnctl.errors.VpnctlError` when that fails."""

    async def sites(self, vpn: str) -> tuple[str, ...]:
        """Where a VPN is; raises `NotFoundError` when there is none of that name."""

    async def extend(self, vpn: str, site: str) -> None:
        """Add a site to a VPN, and return when its PEs know."""

    def routes(self, macs: Collection[str]) -> AsyncIterator[RouteMoment]:
        """What happens to the routes of these MAC addresses from now on."""
