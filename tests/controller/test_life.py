"""The controller's life: first start, restart, and starts that are refused."""

from __future__ import annotations

import socket

import pytest

from tests.controller.stage import AT_FIRST, EXTENDED, Stage
from tests.support.loopback import free_port
from vpnctl.controller.controller import Controller
from vpnctl.errors import PolicyError, SessionProcessError, StoreError
from vpnctl.store import Store

pytestmark = [pytest.mark.anyio, pytest.mark.daemon]


async def test_the_first_start_applies_the_directory(stage: Stage) -> None:
    controller = await stage.start()
    status = await controller.status()
    assert (status.revision, status.policies_differ, status.problems) == (1, False, ())
    assert status.listening == (stage.listening,)
    assert (status.peers_established, status.peers_configured) == (0, 3)
    (revision,) = await controller.history()
    assert (revision.number, revision.parent, revision.kind) == (1, None, "start")

    await stage.connect_all()
    assert stage.held() == AT_FIRST
    assert (await controller.status()).routes == 6


async def test_a_first_policy_with_mistakes_is_refused_and_not_stored(stage: Stage) -> None:
    stage.write("e1.yaml", "vpn: E1\nservice: l3vpn\nsites: [nowhere]\n")
    with pytest.raises(PolicyError, match="mistake"):
        await stage.start()
    with Store.open(stage.store_url) as store:
        assert store.latest() is None


async def test_an_address_that_is_taken_is_named_and_nothing_stays(stage: Stage) -> None:
    with socket.create_server((stage.address, stage.port)):
        controller = Controller(stage.policies, stage.store_url)
        with pytest.raises(SessionProcessError, match=stage.listening) as refused:
            await controller.start()
    assert "another program listens there" in refused.value.hint
    # Nothing holds the store, and the policy that could not be served is not the applied one.
    with Store.open(stage.store_url) as store:
        assert store.latest() is None
    stage.write("e2.yaml", stage.path("e2.yaml").read_text() + "# corrected\n")
    assert not (await (await stage.start()).status()).policies_differ


async def test_an_address_that_no_interface_has_is_refused(stage: Stage) -> None:
    stage.address = "192.0.2.1"
    stage.write("network.yaml", stage.network())
    with pytest.raises(SessionProcessError, match=r"192\.0\.2\.1") as refused:
        await stage.start()
    assert "no interface" in refused.value.hint


async def test_two_controllers_do_not_share_a_store(stage: Stage) -> None:
    await stage.start()
    with pytest.raises(StoreError, match="another controller"):
        await Controller(stage.policies, stage.store_url).start()


async def test_a_restart_takes_up_the_applied_revision_not_the_directory(running: Stage) -> None:
    stage = running
    await stage.extend()
    extended = stage.path("e1.yaml").read_text()
    await stage.stop()
    stage.write("e1.yaml", extended.replace("65000:1101", "65000:1999"))
    stage.path("e2.yaml").unlink()
    controller = await stage.restart()
    assert stage.held() == EXTENDED
    status = await controller.status()
    assert (status.revision, status.policies_differ) == (2, True)
    assert [vpn.name for vpn in await controller.vpns()] == ["E1", "E2"]
    # What the operator did meanwhile is still there, and can be applied now.
    assert "e2.yaml" not in stage.files()
    assert "65000:1999" in stage.files()["e1.yaml"]
    await stage.apply()
    assert [vpn.name for vpn in await controller.vpns()] == ["E1"]
    assert not (await controller.status()).policies_differ


async def test_a_moved_directory_is_the_same_policy(running: Stage) -> None:
    stage = running
    await stage.stop()
    stage.policies = stage.policies.rename(stage.policies.with_name("moved"))
    controller = await stage.restart()
    assert not (await controller.status()).policies_differ
    await stage.extend()
    await stage.settled()
    assert stage.held() == EXTENDED
    assert "- cloud2" in stage.files()["e1.yaml"]


async def test_a_directory_that_is_gone_does_not_end_anything(running: Stage) -> None:
    stage = running
    stage.policies.rename(stage.policies.with_name("gone"))
    status = await stage.running.status()
    assert status.policies_differ
    assert status.peers_established == 3


async def test_start_with_the_directory_instead_of_the_applied_revision(stage: Stage) -> None:
    """The way out when the applied policy cannot be served any more, its address being gone."""
    await stage.start()
    await stage.stop()
    stage.port = free_port(stage.address)
    stage.write("network.yaml", stage.network())
    controller = await stage.start(take_directory=True)
    status = await controller.status()
    assert (status.revision, status.listening, status.policies_differ) == (
        2,
        (stage.listening,),
        False,
    )
    (revision, _) = await controller.history()
    assert (revision.kind, revision.parent) == ("apply", 1)

    await stage.restart(take_directory=True)
    assert (await stage.running.status()).revision == 2


async def test_an_apply_of_what_is_applied_makes_no_revision(stage: Stage) -> None:
    await stage.start()
    applied = await stage.apply()
    assert applied.plan.empty
    assert applied.revision.number == 1
    assert len(await stage.running.history()) == 1
