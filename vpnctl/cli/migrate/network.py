"""The controller of the machines' VPNs, asked as every command asks it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Collection
from datetime import datetime
from typing import Any

from vpnctl.cli.change import ROUTERS_S, author
from vpnctl.cli.client import Client
from vpnctl.errors import MigrationError, NotFoundError, VpnctlError
from vpnctl.migration.network import RouteMoment

#: Seconds that the PEs may take to take a change.
_TAKE_S = 10.0


class ControllerNetwork:
    """`vpnctl.migration.network.Network` by the controller's API."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def sites(self, vpn: str) -> tuple[str, ...]:
        """Where a VPN is; raises `NotFoundError` when there is none of that name."""
        answer = await asyncio.to_thread(self._client.get, "vpns")
        for one in answer["vpns"]:
            if one["name"] == vpn:
                return tuple(one["sites"])
        known = ", ".join(sorted(one["name"] for one in answer["vpns"])) or "none"
        raise NotFoundError(f"the controller has no VPN {vpn!r}", hint=f"VPNs: {known}")

    async def extend(self, vpn: str, site: str) -> None:
        """Add a site to a VPN, and return when its PEs know."""
        change = {"vpn": vpn, "site": site}
        plan = (await self._post("plan", {"kind": "extend", **change}))["plan"]
        body = {"plan_id": plan["id"], "author": author(), "wait_s": _TAKE_S, **change}
        if plan["base"] is not None:
            body["base"] = plan["base"]
        applied = (await self._post("extend", body))["applied"]
        sites = (await asyncio.to_thread(self._client.get, "sites"))["sites"]
        pes = next((one["pes"] for one in sites if one["name"] == site), ())
        if waiting := set(pes) & set(applied["waiting"]):
            raise MigrationError(
                f"{vpn} was extended to {site}, but its routes have not been taken by"
                f" {', '.join(sorted(waiting))}",
                hint="see 'vpnctl show peers', then try again",
            )

    async def routes(self, macs: Collection[str]) -> AsyncIterator[RouteMoment]:
        """What happens to the routes of these MAC addresses from now on."""
        news: asyncio.Queue[dict[str, Any] | VpnctlError | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def put(item: dict[str, Any] | VpnctlError | None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(news.put_nowait, item)

        # It ends with the program: nothing could wake it while the controller is silent.
        listening = threading.Thread(target=self._listen, args=(macs, put), daemon=True)
        listening.start()
        while (item := await news.get()) is not None:
            if isinstance(item, VpnctlError):
                raise item
            if item["kind"] == "route":
                mac, words = item["message"].split(maxsplit=1)
                at = datetime.fromisoformat(item["at"]).timestamp()
                yield RouteMoment(at, mac, f"route for {mac} {words}", " to " in words)

    def _listen(
        self, macs: Collection[str], put: Callable[[dict[str, Any] | VpnctlError | None], None]
    ) -> None:
        try:
            for event in self._client.events(macs):
                put(event)
            put(None)
        except VpnctlError as error:
            put(error)

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return await asyncio.to_thread(self._client.post, path, body, wait_s=ROUTERS_S)
