"""What the controller answers when it is asked."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.controller.stage import AT_FIRST, E1, Stage, until
from vpnctl.controller.requests import PlanRequest
from vpnctl.errors import NotFoundError, UsageError

pytestmark = [pytest.mark.anyio, pytest.mark.daemon]

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: bytes) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


async def test_metrics_say_what_the_tables_say(running: Stage) -> None:
    stage = running
    stage.pes["pe-b"].announce(21, ("10.9.9",), "65000:1201")
    await stage.settled()
    found = samples(stage.running.metrics())
    assert found["vpnctl_revision", ()] == 1
    assert found["vpnctl_last_change_timestamp_seconds", ()] == 0
    for peer in await stage.running.peers():
        label = ("peer", peer.name)
        assert found["vpnctl_session_up", (label,)] == (peer.state == "established")
        assert found["vpnctl_backlog_routes", (label,)] == peer.backlog
        assert found["vpnctl_malformed_updates_total", (label,)] == peer.malformed
        updates = {"heard": peer.updates_heard, "sent": peer.updates_sent}
        for direction, number in updates.items():
            key = "vpnctl_updates_total", (("direction", direction), label)
            assert found[key] == number
        for counts in peer.families:
            family = ("family", counts.family)
            assert found["vpnctl_routes_heard", (family, label)] == counts.heard
            assert (
                found["vpnctl_routes_sent", (family, label)]
                == counts.sent
                == len(stage.pes[peer.name].held)
            )
        refused = [
            value
            for (name, labels), value in found.items()
            if name == "vpnctl_refused_target_routes" and label in labels
        ]
        assert sum(refused) == peer.refused_targets
    assert (await stage.peer("pe-b")).refused_targets == 1
    await stage.extend()
    changed = samples(stage.running.metrics())
    assert changed["vpnctl_revision", ()] == 2
    assert changed["vpnctl_last_change_timestamp_seconds", ()] > 0


async def test_peers_before_and_after_their_sessions(stage: Stage) -> None:
    controller = await stage.start()
    peer = await stage.peer("pe-a")
    assert (peer.state, peer.since, peer.synced, peer.site) == (
        "active", None, False, ("e1-hq", "e2-hq"),
    )  # fmt: skip
    await stage.connect_all()
    peer = await stage.peer("pe-a")
    assert (peer.state, peer.kind, peer.asn, peer.synced) == (
        "established",
        "internal",
        65000,
        True,
    )
    assert peer.address == stage.at["pe-a"]
    assert [(f.family, f.heard, f.sent) for f in peer.families] == [("vpnv4", 3, 3)]
    stage.pes.pop("pe-a").raw.close()
    engine = controller._engine
    await until(lambda: "pe-a" not in engine.by_peer, "the end of the session")
    peer = await stage.peer("pe-a")
    assert peer.state != "established"
    assert peer.last_error
    assert [(f.family, f.heard, f.sent) for f in peer.families] == [("vpnv4", 0, 0)]
    await stage.settled()
    assert stage.held() == {
        "pe-b": {},
        "pe-c": {},
    }


async def test_explain_names_the_rule_and_its_place(running: Stage) -> None:
    ask = running.running.explain
    sent = await ask("65000:11:10.1.1.0/24", "pe-b")
    assert sent.sent
    assert any("e1-hq" in line and "e1.yaml:5" in line for line in sent.lines)
    assert any("65000:1102" in line for line in sent.lines)
    kept = await ask("65000:11:10.1.1.0/24", "pe-c")
    assert not kept.sent
    assert kept.lines
    await running.extend()
    assert (await ask("65000:11:10.1.1.0/24", "pe-c")).sent
    with pytest.raises(UsageError, match="is no NLRI"):
        await ask("nonsense", "pe-b")
    with pytest.raises(NotFoundError, match="no PE is called 'pe-x'"):
        await ask("65000:11:10.1.1.0/24", "pe-x")


async def test_ribs_are_what_was_said_and_told(running: Stage) -> None:
    controller = running.running
    for name, held in AT_FIRST.items():
        out = await controller.rib_out(name, family=None, vpn=None, limit=100)
        assert {route.nlri: route.targets for route in out} == held
    heard = await controller.rib_in("pe-a", family="vpnv4", vpn="E1", limit=100)
    assert {route.nlri for route in heard} == {"65000:11:10.1.1.0/24", "65000:11:10.1.2.0/24"}
    assert {route.status for route in heard} == {"accepted"}
    assert len(await controller.rib_in("pe-a", family=None, vpn=None, limit=2)) == 2
    for arguments in ({"family": "ipv4", "vpn": None}, {"family": None, "vpn": "E7"}):
        with pytest.raises((UsageError, NotFoundError)):
            await controller.rib_in("pe-a", limit=1, **arguments)


async def test_sites_vpns_and_targets(running: Stage) -> None:
    controller = running.running
    sites = {site.name: site for site in await controller.sites()}
    assert (sites["e1-hq"].pes, sites["e1-hq"].vpns) == (("pe-a",), ("E1",))
    vpns = {vpn.name: vpn for vpn in await controller.vpns()}
    assert vpns["E1"].sites == ("e1-hq", "cloud1")
    assert [endpoint.hears for endpoint in vpns["E1"].endpoints] == [("cloud1",), ("e1-hq",)]
    running.pes["pe-b"].announce(21, ("10.9.9",), "65000:7", "65000:1201")
    await running.settled()
    targets = {target.target: target for target in await controller.targets()}
    assert (targets["65000:7"].owner, targets["65000:7"].refused) == ("", {"pe-b": 1})
    assert (targets["65000:1201"].owner, targets["65000:1201"].refused) == ("E2", {"pe-b": 1})
    assert targets["65000:1101"].routes == 2


async def test_every_step_is_recorded_and_can_be_read_again(running: Stage) -> None:
    applied = await running.extend()
    names = [step.name for step in applied.timeline]
    assert names == [
        "policy checked",
        "allocated",
        "stored",
        "routes rewritten",
        "first UPDATE out",
        "last peer's last UPDATE out",
    ]
    steps = {step.name: step for step in applied.timeline}
    assert "route-target 100" in steps["allocated"].detail
    assert steps["routes rewritten"].detail == "1 peer"
    for step in applied.timeline:
        assert 0 <= step.start_ms <= step.end_ms
    assert steps["stored"].end_ms <= steps["first UPDATE out"].start_ms
    revision, recorded = await running.running.revision(2)
    assert revision == applied.revision
    assert recorded == applied.timeline
    assert (await running.running.revision(1))[1] == ()
    await running.restart()
    assert await running.running.revision(2) == (revision, recorded)


async def test_history_and_diff(running: Stage) -> None:
    controller = running.running
    await running.extend(author="ada")
    await running.retract(author="bob")
    history = await controller.history()
    assert [(r.number, r.kind, r.author, r.summary) for r in history] == [
        (3, "retract", "bob", "retract E1 from cloud2"),
        (2, "extend", "ada", "extend E1 to cloud2"),
        (1, "start", "vpnctl", "first policy"),
    ]
    assert [r.number for r in await controller.history(1, 3)] == [2]
    (change,) = await controller.diff(1, 2)
    assert change.file == str(running.path("e1.yaml"))
    assert "+  - cloud2" in change.diff.splitlines()
    assert await controller.diff(1, 3) == ()
    with pytest.raises(NotFoundError, match="revision 9"):
        await controller.diff(1, 9)


async def test_events_tell_sessions_and_revisions(stage: Stage) -> None:
    controller = await stage.start()
    events = controller.events()
    heard = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    pe = await stage.connect("pe-a")
    event = await heard
    assert (event.kind, event.subject) == ("session", "pe-a")
    assert event.message == "established (vpnv4)"
    pe.raw.close()
    event = await anext(events)
    assert (event.kind, event.subject) == ("session", "pe-a")
    assert event.message.startswith("down")
    await stage.extend()
    event = await anext(events)
    assert (event.kind, event.subject, event.message) == ("revision", "2", "extend E1 to cloud2")


async def test_a_plan_shows_files_numbers_sessions_and_vpns(running: Stage) -> None:
    running.write("e1.yaml", E1.replace("  # cloud2 comes later", "  - cloud2"))
    plan = await running.running.plan(PlanRequest("apply"))
    assert (plan.base, plan.vpns, plan.sessions, plan.empty) == (1, ("E1",), (), False)
    (file,) = plan.files
    assert "+  - cloud2" in file.diff.splitlines()
    taken = {(change.pool, change.owner, change.action) for change in plan.allocations}
    assert ("route-target", "E1/cloud2", "take") in taken
    assert [(p.peer, p.added, p.changed, p.removed) for p in plan.peers] == [("pe-c", 3, 0, 0)]
    # A plan takes no numbers and is the same again.
    assert await running.running.plan(PlanRequest("apply")) == plan
    running.write("e1.yaml", E1)
    assert (await running.running.plan(PlanRequest("apply"))).empty
