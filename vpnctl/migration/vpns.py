"""The VPNs of machines that move: extended to where they go, and their routes told."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

from vpnctl.errors import UsageError, VpnctlError
from vpnctl.migration.agent.messages import Moment
from vpnctl.migration.definition import Definition
from vpnctl.migration.network import Network
from vpnctl.migration.prechecks import Failure

#: Seconds after the end of a migration that its machine's routes are waited for.
_ROUTES_S = 3.0


class Vpns:
    """``network``: the controller of the VPNs, None where there is none; ``places``: what it calls
    the sites, where that is something else."""

    def __init__(self, network: Network | None, places: Mapping[str, str]) -> None:
        self._network = network
        self._places = places

    async def missing(
        self, definition: Definition, to: str, *, extend: bool
    ) -> tuple[tuple[str, ...], tuple[Failure, ...]]:
        """The VPNs of a machine that have to be extended to a site, and what is wrong with them.

        ``extend``: they may be.
        """
        extends, failures = [], []
        place = self._places.get(to, to)
        for vpn in sorted({nic.vpn for nic in definition.nics if nic.vpn is not None}):
            try:
                if self._network is None:
                    raise UsageError("there is no controller to ask", hint="see --socket and --url")
                reached = place in await self._network.sites(vpn)
            except VpnctlError as error:
                problem = f"whether {vpn} reaches {place} is not known: {error.message}"
                failures.append(Failure("VPN", problem, error.hint))
                continue
            if not reached and extend:
                extends.append(vpn)
            elif not reached:
                problem, remedy = f"{vpn} does not reach {place}", "leave --no-extend out"
                failures.append(Failure("VPN", problem, f"{remedy}, or 'vpnctl extend {vpn}'"))
        return tuple(extends), tuple(failures)

    async def extend(self, vpns: Iterable[str], to: str) -> tuple[Moment, ...]:
        """Extend VPNs to a site; what was done when."""
        place = self._places.get(to, to)
        moments = []
        for vpn in vpns:
            assert self._network is not None
            moments.append(Moment(at=time.time(), what=f"{vpn} is extended to {place}"))
            await self._network.extend(vpn, place)
            moments.append(Moment(at=time.time(), what=f"{vpn} reaches {place}"))
        return tuple(moments)

    @contextlib.asynccontextmanager
    async def routes(
        self, macs: Iterable[str], tell: Callable[[str, Moment], Awaitable[object]]
    ) -> AsyncIterator[None]:
        """``tell`` what the controller hears and says of the routes of ``macs``, each with its MAC
        address, while the block runs and until each route was sent to somebody."""
        wanted = frozenset(macs)
        if self._network is None or not wanted:
            yield
            return
        heard = asyncio.Event()
        telling = asyncio.create_task(self._tell(self._network, wanted, tell, heard))
        try:
            yield
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(heard.wait(), _ROUTES_S)
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    async def _tell(
        self,
        network: Network,
        macs: frozenset[str],
        tell: Callable[[str, Moment], Awaitable[object]],
        heard: asyncio.Event,
    ) -> None:
        """Until cancelled, or the controller ends; ``heard`` is set once each route was sent on."""
        missing = set(macs)
        with contextlib.suppress(VpnctlError):
            async for moment in network.routes(macs):
                await tell(moment.mac, Moment(at=moment.at, what=moment.what))
                if moment.sent:
                    missing.discard(moment.mac)
                if not missing:
                    heard.set()
        heard.set()
