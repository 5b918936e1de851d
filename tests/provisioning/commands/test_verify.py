"""A change is kept only when what was committed is there, and has brought what it is for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.controller.stage import until
from tests.provisioning.commands.bed import E1, Bed
from tests.routing import wire
from tests.support.rawbgp import VPLS as VPLS_PAIR
from tests.support.rawbgp import RawPeer
from vpnctl.errors import UnverifiedError
from vpnctl.lab.junos.faults import pretend
from vpnctl.model import VPLS

pytestmark = [pytest.mark.anyio, pytest.mark.daemon]

Beds = Callable[[int], Bed]

#: For a router that is not expected to announce anything, and one that is.
SHORT, LONG = 1, 20


def waiting(seconds: int) -> str:
    return f"{{connect: 30, rpc: 30, commit: 30, route: {seconds}}}"


@asynccontextmanager
async def bgp_at(bed: Bed, name: str) -> AsyncIterator[RawPeer]:
    """A managed router's BGP speaker, with its session established."""
    with RawPeer(
        local=str(bed.running._network.pes[name].address),
        remote=("127.0.0.1", 0),
        asn=65000,
        families=(VPLS_PAIR,),
    ) as pe:
        bed.write_bgp_port(name, pe.listen())
        await bed.change("apply")
        await asyncio.to_thread(pe.accept)
        await asyncio.to_thread(pe.wait_established)
        await until(lambda: name in bed.running._engine.by_peer, "the session to be up")
        yield pe


async def announce(bed: Bed, name: str, pe: RawPeer) -> None:
    """Say by BGP what the router's configuration says."""
    route = wire.reach(VPLS, wire.vpls(1, 2))
    targets = wire.targets(bed.target_at(name))
    await asyncio.to_thread(pe.send, wire.update(route, wire.BASIC, targets))


async def test_the_new_endpoints_route_has_come_before_anything_is_kept(beds: Beds) -> None:
    bed = beds(1)
    bed.timeouts = waiting(LONG)
    bed.write()
    await bed.start()
    async with bgp_at(bed, "pe-c1") as pe:
        asking = asyncio.create_task(bed.change("extend"))
        await until(lambda: bool(bed.have()), "the router to have its endpoint")
        # It could still undo that by itself, and nobody has been told of a new revision.
        assert bed.routers["pe-c1"].router.unconfirmed is not None
        assert (await bed.running.status()).revision == 2
        await announce(bed, "pe-c1", pe)
        applied = await asking
    names = [step.name for step in applied.timeline if step.router or step.name == "stored"]
    assert names[-5:] == ["commit", "verify", "route received", "stored", "confirm"]
    assert applied.silent == ()
    assert bed.routers["pe-c1"].router.unconfirmed is None
    assert bed.left_behind() == []


async def test_a_router_that_announces_nothing_does_not_keep_the_change(beds: Beds) -> None:
    bed = beds(2)
    bed.timeouts = waiting(SHORT)
    bed.write()
    await bed.start()
    async with bgp_at(bed, "pe-c2"):
        revision = (await bed.running.status()).revision
        with pytest.raises(UnverifiedError) as refused:
            await bed.change("extend")
        assert "pe-c2 has its configuration" in refused.value.message
        assert "no route of E1 at cloud has come" in refused.value.message
        assert "no router was changed" in refused.value.message
        assert (await bed.running.status()).revision == revision
    assert bed.have() == set()
    assert bed.left_behind() == []
    assert (bed.policies / "e1.yaml").read_text() == E1


async def test_the_way_back_is_not_refused_because_of_a_route(beds: Beds) -> None:
    bed = beds(1)
    bed.timeouts = waiting(LONG)
    bed.write()
    await bed.start()
    async with bgp_at(bed, "pe-c1") as pe:
        asking = asyncio.create_task(bed.change("extend"))
        await until(lambda: bool(bed.have()), "the router to have its endpoint")
        await announce(bed, "pe-c1", pe)
        await asking
        await asyncio.to_thread(pe.send, wire.update(wire.unreach(VPLS, wire.vpls(1, 2))))
        ribs = bed.running._engine.ribs
        await until(lambda: not any(rib.entries for rib in ribs.values()), "the route to be gone")
        await bed.change("retract")
        await bed.change("rollback", wait_s=0)
        assert bed.have() == {"pe-c1"}


async def test_a_router_without_a_session_is_not_waited_for(beds: Beds) -> None:
    bed = beds(2)
    await bed.start()
    applied = await bed.change("extend", wait_s=0)
    assert bed.have() == {"pe-c1", "pe-c2"}
    assert applied.silent == ("pe-c1", "pe-c2")
    assert not [step for step in applied.timeline if step.name == "route received"]


async def test_a_router_that_announces_later_can_be_told_of(beds: Beds) -> None:
    bed = beds(1)
    bed.timeouts = waiting(0)
    bed.write()
    await bed.start()
    async with bgp_at(bed, "pe-c1") as pe:
        asking = asyncio.create_task(bed.change("extend", wait_s=LONG))
        await until(lambda: bed.running._applied.number == 3, "the change to be kept")
        await announce(bed, "pe-c1", pe)
        applied = await asking
    assert applied.silent == ()
    (received,) = [step for step in applied.timeline if step.name == "route received"]
    assert received.router == "pe-c1"


async def test_a_router_that_says_done_and_has_not_done_it_is_found_out(beds: Beds) -> None:
    bed = beds(2)
    await bed.start()
    bed.routers["pe-c2"].fault("commit", pretend())
    with pytest.raises(UnverifiedError, match=r"pe-c2 says that it has .*no router was changed"):
        await bed.change("extend")
    assert bed.have() == set()
    assert bed.left_behind() == []
    assert (await bed.running.status()).revision == 1
