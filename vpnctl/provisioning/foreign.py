"""What a change would make and a router has already, though it was never ours: nodes, numbers."""

from __future__ import annotations

import asyncio

from vpnctl.errors import ProvisioningError
from vpnctl.provisioning.driver import Driver
from vpnctl.provisioning.journal import RouterChange
from vpnctl.provisioning.numbers import clashes
from vpnctl.provisioning.rendered import Rendered

#: Nodes or numbers that an error names; the others are counted.
_NAMED = 3


async def refuse_foreign(driver: Driver, change: RouterChange) -> None:
    """Raises `ProvisioningError` where a node or number that ``change`` makes is somebody else's.

    What was ours before is replaced whatever it has become; a new node that is there already is
    somebody's who used the same name, or the same VLAN, and would be lost.  One that is there and
    is as it shall be does no harm.  A number that is in use in what is not ours is refused in every
    case, wherever on the router that is.  ``driver`` is connected; every error of it may be raised.
    """
    await _refuse_nodes(driver, change)
    await _refuse_numbers(driver, change)


async def _refuse_nodes(driver: Driver, change: RouterChange) -> None:
    if not change.new or not await driver.running(change.new):
        return
    theirs = [
        path
        for path in change.new
        if (there := await driver.running((path,))) and there != _text(change.after, path)
    ]
    if theirs:
        raise ProvisioningError(
            f"{change.router} has {_listed(theirs, ', ')} already, which vpnctl has not made",
            router=change.router,
            hint=f"'vpnctl adopt {change.router}' keeps off the numbers that are in use there; else"
            " give the VPN or the site another name, or remove at the router what is left of old",
        )


async def _refuse_numbers(driver: Driver, change: RouterChange) -> None:
    taking = change.taking
    if taking is None or not taking.numbers:
        return
    there = await driver.configuration()
    # A new node that is there by now is as it shall be, and so is ours.
    owned = {*change.after.owned, *change.before.owned, *change.after.delete}
    found = await asyncio.to_thread(clashes, taking, there, owned)
    if found:
        raise ProvisioningError(
            f"{change.router}: {_listed(list(map(str, found)), '; ')}, and that is not vpnctl's",
            router=change.router,
            hint=f"run 'vpnctl adopt {change.router}', which keeps off the numbers that are in use"
            " there, and try again; one that an endpoint has by now, or that the policy gives, is"
            " changed in the policy (`targets:`, `rd:`, `vlan:` at that site) or at the router",
        )


def _listed(things: list[str], between: str) -> str:
    more = f" and {len(things) - _NAMED} more" if len(things) > _NAMED else ""
    return between.join(things[:_NAMED]) + more


def _text(rendered: Rendered, path: str) -> str:
    # Imported late: a controller without routers to configure needs no XML.
    from vpnctl.provisioning.blocks import FRR, owned_blocks_text
    from vpnctl.provisioning.documents import owned_text

    text = owned_blocks_text if rendered.format == FRR else owned_text
    return text(rendered.content, (path,))
