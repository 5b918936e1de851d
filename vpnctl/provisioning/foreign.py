"""Nodes that a change would make and that a router has already, though they were never ours."""

from __future__ import annotations

from vpnctl.errors import ProvisioningError
from vpnctl.provisioning.driver import Driver
from vpnctl.provisioning.journal import RouterChange
from vpnctl.provisioning.rendered import Rendered

#: Nodes that an error names; the others are counted.
_NODES = 3


async def refuse_foreign(driver: Driver, change: RouterChange) -> None:
    """Raises `ProvisioningError` where a node that ``change`` makes is somebody else's.

    What was ours before is replaced whatever it has become; a new node that is there already is
    somebody's who used the same name, or the same VLAN, and would be lost.  One that is there and
    is as it shall be does no harm.  ``driver`` is connected; every error of it may be raised.
    """
    if not change.new or not await driver.running(change.new):
        return
    theirs = [
        path
        for path in change.new
        if (there := await driver.running((path,))) and there != _text(change.after, path)
    ]
    if theirs:
        more = f" and {len(theirs) - _NODES} more" if len(theirs) > _NODES else ""
        raise ProvisioningError(
            f"{change.router} has {', '.join(theirs[:_NODES])}{more} already, which vpnctl has not"
            " made",
            router=change.router,
            hint=f"'vpnctl adopt {change.router}' keeps off the numbers that are in use there; else"
            " give the VPN or the site another name, or remove at the router what is left of old",
        )


def _text(rendered: Rendered, path: str) -> str:
    # Imported late: a controller without routers to configure needs no XML.
    from vpnctl.provisioning.blocks import FRR, owned_blocks_text
    from vpnctl.provisioning.documents import owned_text

    text = owned_blocks_text if rendered.format == FRR else owned_text
    return text(rendered.content, (path,))
