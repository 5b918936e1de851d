"""Sessions under guard: keys, limits, what is held and what brings it back."""

from __future__ import annotations

import asyncio
import os
import struct
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.controller.stage import Stage, until
from tests.routing import wire
from tests.support.rawbgp import VPNV4, RawPeer, capability
from vpnctl.bgp.protection import sign
from vpnctl.controller.secrets import LONGEST, read_secret
from vpnctl.errors import ControllerError, NotFoundError, UsageError
from vpnctl.model import Secret

pytestmark = [pytest.mark.anyio, pytest.mark.daemon]


def guarded(stage: Stage, guard: str) -> None:
    stage.write("network.yaml", stage.network(more=f", guard: {{{guard}}}"))


async def state_of(stage: Stage, name: str, wanted: str) -> None:
    states = stage.running._peers.states
    await until(lambda: states[name].state == wanted, f"{name} to be {wanted}")


async def test_too_many_routes_hold_a_session_until_it_is_reset(stage: Stage) -> None:
    guarded(stage, "routes: 3, restart: 0")
    await stage.start()
    await stage.connect_all()
    routes_of_c = {name for name in stage.pes["pe-a"].held if name.startswith("65000:32:")}
    assert len(routes_of_c) == 2
    stage.pes["pe-c"].announce(32, ("10.1.20", "10.1.21"), "65000:1202")
    assert await asyncio.to_thread(stage.pes["pe-c"].raw.wait_closed) == (6, 1)
    await state_of(stage, "pe-c", "held")
    peer = await stage.peer("pe-c")
    assert peer.last_error.startswith(
        "more than 3 vpnv4 routes (guard.routes); it stays down until"
    )
    assert [family.limit for family in peer.families] == [3]
    assert any("pe-c is held" in problem for problem in (await stage.running.status()).problems)
    # What it announced is gone, and nobody else has noticed anything.
    await until(
        lambda: not any(name.startswith("65000:32:") for name in stage.pes["pe-a"].held),
        "its routes to be withdrawn",
    )
    for name in ("pe-a", "pe-b"):
        assert (await stage.peer(name)).state == "established"
    # It is not let in again, until the operator says so.
    await until(lambda: not stage.running._peers._resuming, "the session to be taken out")
    again = stage.pes.pop("pe-c").raw
    again.connect()
    assert await asyncio.to_thread(again.wait_closed) == (6, 5)
    assert await stage.running.reset_session("pe-c") == ("pe-c",)
    await asyncio.to_thread(again.__exit__)
    await stage.connect("pe-c")
    await state_of(stage, "pe-c", "established")
    assert not any("held" in problem for problem in (await stage.running.status()).problems)


async def test_a_held_session_comes_back_by_itself(stage: Stage) -> None:
    guarded(stage, "routes: 3, restart: 1")
    await stage.start()
    await stage.connect_all()
    stage.pes["pe-c"].announce(32, ("10.1.20", "10.1.21"), "65000:1202")
    await state_of(stage, "pe-c", "held")
    await state_of(stage, "pe-c", "active")
    await stage.connect("pe-c")
    await state_of(stage, "pe-c", "established")


async def test_another_limit_takes_effect_without_a_new_session(stage: Stage) -> None:
    guarded(stage, "routes: 2, beyond: refuse")
    await stage.start()
    await stage.connect_all()
    pe = stage.pes["pe-c"]
    pe.announce(32, ("10.1.20",), "65000:1202")
    await stage.settled()
    [family] = (await stage.peer("pe-c")).families
    assert (family.heard, family.refused) == (2, 1)
    assert b'vpnctl_routes_beyond_limit_total{family="vpnv4",peer="pe-c"} 1.0' in (
        stage.running.metrics()
    )
    guarded(stage, "routes: 9, beyond: refuse")
    await stage.apply()
    # It is asked for what was refused (RFC 2918).
    await asyncio.to_thread(
        pe.raw.wait, lambda: any(each[18] == 5 for each in pe.raw.messages), "a ROUTE-REFRESH"
    )
    pe.announce(32, ("10.1.20",), "65000:1202")
    await stage.settled()
    assert [family.heard for family in (await stage.peer("pe-c")).families] == [3]
    assert not pe.raw.closed


@pytest.fixture
async def notified(stage: Stage) -> Stage:
    """pe-c has agreed that NOTIFICATIONs leave routes, and may have no more than three."""
    stage.write(
        "network.yaml",
        stage.network(more=", graceful_restart: 60, guard: {routes: 3, restart: 0}"),
    )
    await stage.start()
    for name in ("pe-a", "pe-b"):
        await stage.connect(name)
    families = struct.pack("!HBB", *VPNV4, 0x80)
    await stage.connect("pe-c", capabilities=capability(64, b"\x40\x3c" + families))
    await until(lambda: len(of_c(stage)) == 2, "its routes to be told")
    return stage


def of_c(stage: Stage) -> set[str]:
    """What pe-a has of pe-c's."""
    return {name for name in stage.pes["pe-a"].held if name.startswith("65000:32:")}


async def test_too_many_routes_are_a_hard_reset(notified: Stage) -> None:
    raw = notified.pes["pe-c"].raw
    notified.pes["pe-c"].announce(32, ("10.1.20", "10.1.21"), "65000:1202")
    assert await asyncio.to_thread(raw.wait_closed) == (6, 9)
    assert raw.messages[-1][21:] == b"\x06\x01"
    await until(lambda: not of_c(notified), "its routes to be withdrawn")
    assert not notified.running._engine.stale


async def test_an_operators_reset_is_a_hard_one(notified: Stage) -> None:
    raw = notified.pes["pe-c"].raw
    await notified.running.reset_session("pe-c")
    assert await asyncio.to_thread(raw.wait_closed) == (6, 9)
    assert raw.messages[-1][21:] == b"\x06\x04"
    await until(lambda: not of_c(notified), "its routes to be withdrawn")


async def test_what_cannot_be_read_ends_the_session_and_leaves_what_was_said(
    notified: Stage,
) -> None:
    pe = notified.pes["pe-c"]
    pe.raw.send(wire.message(b"\xff\xff" + bytes(20)))
    assert await asyncio.to_thread(pe.raw.wait_closed) == (3, 1)
    await state_of(notified, "pe-c", "active")
    [stale] = (await notified.peer("pe-c")).stale
    assert stale.startswith("2 vpnv4, ")
    assert len(of_c(notified)) == 2
    # Nor does a second time take them along, or give them more time.
    engine = notified.running._engine
    latest = notified.running._peers.restarts._latest["pe-c"]
    capabilities = capability(64, b"\x40\x3c" + struct.pack("!HBB", *VPNV4, 0x80))
    raw = RawPeer(
        local=notified.at["pe-c"],
        remote=(notified.address, notified.port),
        asn=65000,
        router_id="10.255.1.3",
        families=(VPNV4,),
        more=capabilities,
    )
    with raw:
        await asyncio.to_thread(raw.connect)
        await asyncio.to_thread(raw.wait_established)
        await until(lambda: "pe-c" in engine.by_peer, "pe-c to be back")
        raw.send(wire.message(b"\xff\xff" + bytes(20)))
        assert await asyncio.to_thread(raw.wait_closed) == (3, 1)
    await until(lambda: "pe-c" in engine.stale, "pe-c to be away again")
    assert notified.running._peers.restarts._latest["pe-c"] == latest
    assert len(of_c(notified)) == 2


async def test_a_healthy_session_begins_anew_when_it_is_reset(running: Stage) -> None:
    await running.running.reset_session("pe-c")
    assert await asyncio.to_thread(running.pes["pe-c"].raw.wait_closed) == (6, 4)
    with pytest.raises(NotFoundError):
        await running.running.reset_session("pe-z")


async def test_a_pe_is_drained_until_told_otherwise(running: Stage) -> None:
    before = len(running.pes["pe-b"].raw.updates)
    await running.running.drain("pe-a", True)
    await running.settled()
    told = running.pes["pe-b"].since(before)
    assert all(update[8] == b"\xff\xff\x00\x00" for update in told)
    assert sum(len(update.announced) for update in told) == 2
    assert (await running.peer("pe-a")).draining
    await running.running.drain("pe-a", False)
    assert not (await running.peer("pe-a")).draining
    with pytest.raises(NotFoundError):
        await running.running.drain("pe-z", True)


async def test_what_the_policy_drains_is_drained(stage: Stage) -> None:
    stage.write("network.yaml", stage.network(more=", drain: true"))
    await stage.start()
    await stage.connect_all()
    assert (await stage.peer("pe-c")).draining
    with pytest.raises(UsageError, match="the policy drains pe-c"):
        await stage.running.drain("pe-c", False)
    stage.write("network.yaml", stage.network())
    await stage.apply()
    assert not (await stage.peer("pe-c")).draining


async def test_a_key_from_a_file_is_changed_while_the_session_stays(
    stage: Stage, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("first\n")
    key.chmod(0o600)
    guarded(stage, f"md5: {{file: '{key}'}}")
    await stage.start()
    local = ip_address(stage.address)
    await stage.connect("pe-c", prepare=lambda sock: sign(sock, local, b"first"))
    await state_of(stage, "pe-c", "established")
    assert (await stage.peer("pe-c")).protection == ("md5",)

    assert await stage.running.rekey() == ()
    key.write_text("second\n")
    assert await stage.running.rekey() == ("pe-c",)
    pe = stage.pes["pe-c"]
    sign(pe.raw.sock, local, b"second")
    pe.announce(32, ("10.1.20",), "65000:1202")
    await stage.settled()
    assert [family.heard for family in (await stage.peer("pe-c")).families] == [3]
    assert not pe.raw.closed

    # A key that cannot be read changes nothing, and the operator is told.
    key.unlink()
    assert await stage.running.rekey() == ()
    [problem] = (await stage.running.status()).problems
    assert problem.startswith("the key of pe-c: ")
    assert "second" not in problem
    assert (await stage.peer("pe-c")).state == "established"


async def test_without_its_key_a_session_is_not_begun(stage: Stage, tmp_path: Path) -> None:
    guarded(stage, f"md5: {{file: '{tmp_path / 'missing'}'}}")
    await stage.start()
    [problem] = (await stage.running.status()).problems
    assert "missing cannot be read" in problem
    pe = await stage.connect("pe-b")
    assert not pe.raw.closed
    assert [each.name for each in stage.running._peers._speaker._desired.neighbors] == [  # type: ignore[union-attr]
        "pe-a",
        "pe-b",
    ]


@pytest.mark.parametrize(
    ("secret", "told"),
    [
        (Secret(file="{tmp}/none"), "none cannot be read: No such file"),
        (Secret(file="{tmp}"), "is not a regular file"),
        (Secret(file="{tmp}/open"), "everybody may read"),
        (Secret(file="{tmp}/empty"), "gives 0 octets"),
        (Secret(file="{tmp}/long"), f"gives {LONGEST + 1} octets"),
        (Secret(environment="VPNCTL_NONE"), "VPNCTL_NONE is not set"),
        (Secret(command=("/nowhere/program",)), "/nowhere/program cannot be run"),
        (Secret(command=("false",)), "false ended with status 1"),
        (Secret(command=("true",)), "gives 0 octets"),
    ],
)
def test_a_secret_that_cannot_be_had_is_explained(
    tmp_path: Path, secret: Secret, told: str
) -> None:
    for name, content, mode in (("open", "x", 0o644), ("empty", "\n", 0o600), ("long", "", 0o600)):
        path = tmp_path / name
        path.write_text(content or "x" * (LONGEST + 1))
        path.chmod(mode)
    secret = Secret(secret.file.replace("{tmp}", str(tmp_path)), secret.environment, secret.command)
    with pytest.raises(ControllerError) as refused:
        read_secret(secret, {})
    assert told in refused.value.message
    assert refused.value.hint


def test_a_secret_is_read_from_wherever_it_is(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b" pass word\r\n")
    path.chmod(0o640)
    assert read_secret(Secret(file=str(path))) == b" pass word"
    assert read_secret(Secret(environment="KEY"), {"KEY": "abc"}) == b"abc"
    assert read_secret(Secret(command=("printf", "%s\\n", "a b"))) == b"a b"
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ControllerError, match="not a regular file"):
        read_secret(Secret(file=str(tmp_path / "pipe")))
