"""Changes: what a plan shows is what goes out, and what is refused changes nothing."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.controller.stage import AT_FIRST, E1, EXTENDED, ROUTES, Stage, name_of
from tests.routing import wire
from tests.support.daemons import PATIENCE
from vpnctl.controller import candidate
from vpnctl.controller.requests import PlanRequest
from vpnctl.controller.views import Applied, Plan, RouteChange
from vpnctl.errors import NotFoundError, PolicyError, StaleError, UsageError, VpnctlError
from vpnctl.model import RouteTarget
from vpnctl.ruleset import Compiled, load

pytestmark = [pytest.mark.anyio, pytest.mark.daemon]

Change = tuple[str, str, str, tuple[str, ...]]

HUB = """\
vpn: E1
service: l3vpn
topology: {hub-and-spoke: {hubs: [e1-hq]}}
sites:
  - {site: e1-hq, targets: 65000:1101}
  - {site: cloud1, targets: 65000:1102}
  - {site: cloud2, targets: 65000:1103}
"""

#: E1 as it is first and the requests that change it, each on top of the one before.
STORIES = {
    "extend": PlanRequest("extend", "E1", "cloud2"),
    "another target": E1.replace("65000:1102", "65000:1777"),
    "other targets in and out": E1.replace(
        "targets: 65000:1102", "targets: {export: 65000:1102, import: 65000:1778}"
    ),
    "hub and spoke": HUB,
    "an extranet": E1 + "extranet: [{to: E2, direction: both}]\n",
    "a VPN less": None,
}


def shown(plan: Plan) -> list[Change]:
    return sorted((c.peer, c.action, c.nlri, c.new_targets) for c in plan.routes)


def gone_out(stage: Stage, before: dict[str, int]) -> list[Change]:
    """What the PEs were told after the first UPDATEs, in the words of a plan."""
    found: list[Change] = []
    for name, pe in stage.pes.items():
        held = AT_FIRST[name]
        for update in pe.since(before[name]):
            assert not update.end_of_rib
            if update.withdrawn_family is not None:
                family = update.withdrawn_family
                found += [(name, "-", name_of(family, nlri), ()) for nlri in update.withdrawn]
            if update.family is not None:
                targets = tuple(str(RouteTarget(each)) for each in sorted(update.targets))
                for nlri in update.announced:
                    text = name_of(update.family, nlri)
                    found.append((name, "~" if text in held else "+", text, targets))
    return sorted(found)


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
async def test_exactly_what_was_planned_goes_out(
    running: Stage, story: PlanRequest | str | None
) -> None:
    stage = running
    request = story if isinstance(story, PlanRequest) else PlanRequest("apply")
    if isinstance(story, str):
        stage.write("e1.yaml", story)
    elif story is None:
        stage.path("e1.yaml").unlink()
    before = {name: len(pe.raw.updates) for name, pe in stage.pes.items()}

    plan = await stage.running.plan(request)
    await stage.settled()
    assert {name: len(pe.raw.updates) for name, pe in stage.pes.items()} == before
    assert stage.held() == AT_FIRST

    applied = await stage.change(request, plan_id=plan.id, base=plan.base)
    await stage.settled()
    assert applied.plan == plan
    assert plan.routes
    assert gone_out(stage, before) == shown(plan)
    assert {(peer.peer, peer.added, peer.changed, peer.removed) for peer in plan.peers} == {
        (peer, *(sum(c[:2] == (peer, action) for c in shown(plan)) for action in "+~-"))
        for peer in {change.peer for change in plan.routes}
    }
    assert applied.complete
    assert applied.waiting == ()


async def test_every_number_of_routes_can_be_listed(running: Stage) -> None:
    request = PlanRequest("extend", "E1", "cloud2")
    whole = await running.running.plan(request)
    short = await running.running.plan(request, routes=1)
    assert short.routes == whole.routes[:1]
    assert short.peers == whole.peers
    assert whole.routes[0] == RouteChange(
        "pe-c", "vpnv4", "+", "65000:11:10.1.1.0/24", "pe-a", (), ("65000:100",)
    )


async def test_a_peer_that_is_not_there_is_not_in_the_plan(stage: Stage) -> None:
    await stage.start()
    await stage.connect("pe-a")
    await stage.settled()
    plan = await stage.running.plan(PlanRequest("extend", "E1", "cloud2"))
    assert plan.routes == ()
    assert plan.vpns == ("E1",)
    assert not plan.empty


async def test_extend_then_retract_then_extend_keeps_the_numbers(running: Stage) -> None:
    stage = running

    async def endpoint() -> object:
        vpns = {vpn.name: vpn for vpn in await stage.running.vpns()}
        return next((e for e in vpns["E1"].endpoints if e.site == "cloud2"), None)

    await stage.extend()
    await stage.settled()
    first = await endpoint()
    assert stage.held() == EXTENDED
    await stage.retract()
    await stage.settled()
    assert stage.held() == AT_FIRST
    assert stage.files()["e1.yaml"] == E1
    assert await endpoint() is None
    # Another VPN comes while the numbers are free: it gets others.
    stage.write("e9.yaml", "vpn: E9\nservice: l3vpn\nsites: [e1-hq, cloud2]\n")
    await stage.apply()
    await stage.extend()
    await stage.settled()
    assert await endpoint() == first
    assert stage.held() == EXTENDED


async def test_extend_edits_the_file_and_keeps_everything_else(running: Stage) -> None:
    await running.extend()
    text = running.files()["e1.yaml"]
    assert text == E1.replace("    targets: 65000:1102\n", "    targets: 65000:1102\n  - cloud2\n")
    assert not (await running.running.status()).policies_differ


async def test_extend_is_refused_while_the_file_has_other_edits(running: Stage) -> None:
    stage = running
    edited = E1.replace("# Customer E1.", "# Customer E1, of old.")
    stage.write("e1.yaml", edited)
    with pytest.raises(UsageError, match=r"e1\.yaml has edits that were not applied"):
        await stage.extend()
    assert stage.files()["e1.yaml"] == edited
    # Edits of another file are in nobody's way, and are not applied along with it.
    stage.write("e1.yaml", E1)
    stage.write("e2.yaml", "nonsense")
    await stage.extend()
    await stage.settled()
    assert stage.held() == EXTENDED
    assert stage.files()["e2.yaml"] == "nonsense"


@pytest.mark.parametrize(
    ("request_", "error", "says"),
    [
        (PlanRequest("extend", "E7", "cloud2"), NotFoundError, "no VPN is called 'E7'"),
        (PlanRequest("extend", "E1", "cloud9"), NotFoundError, "no site is called 'cloud9'"),
        (PlanRequest("extend", "E1", "cloud1"), UsageError, "at cloud1 already"),
        (PlanRequest("retract", "E1", "cloud2"), NotFoundError, "E1 is not at cloud2"),
        (PlanRequest("rollback"), NotFoundError, "the first revision"),
        (PlanRequest("rollback", revision=1), UsageError, "is the applied one"),
        (PlanRequest("rollback", revision=7), NotFoundError, "no revision 7"),
        (PlanRequest("explode"), UsageError, "no change is called 'explode'"),
    ],
)
async def test_requests_that_make_no_sense(
    stage: Stage, request_: PlanRequest, error: type[VpnctlError], says: str
) -> None:
    await stage.start()
    for ask in (stage.running.plan(request_), stage.change(request_)):
        with pytest.raises(error, match=says) as refused:
            await ask
        assert refused.value.hint
    assert (await stage.running.status()).revision == 1
    assert stage.files()["e1.yaml"] == E1


async def test_a_policy_with_mistakes_is_refused_and_nothing_is_applied(running: Stage) -> None:
    stage = running
    stage.write("e1.yaml", E1.replace("65000:1102", "65000:1777"))
    stage.write("e2.yaml", "vpn: E2\nservice: l3vpn\nsites: [nowhere]\n")
    for ask in (stage.apply(), stage.running.plan(PlanRequest("apply"))):
        with pytest.raises(PolicyError) as refused:
            await ask
        (mistake,) = refused.value.mistakes
        assert str(stage.path("e2.yaml")) in str(mistake)
    (problem,) = await stage.running.check()
    assert (problem.file, problem.line) == (str(stage.path("e2.yaml")), 3)
    assert "nowhere" in problem.message
    await stage.settled()
    assert stage.held() == AT_FIRST
    assert (await stage.running.status()).revision == 1


async def test_a_stale_plan_is_refused(running: Stage) -> None:
    stage = running
    request = PlanRequest("extend", "E1", "cloud2")
    plan = await stage.running.plan(request)
    stage.write("e2.yaml", stage.files()["e2.yaml"] + "# seen\n")
    await stage.apply()
    with pytest.raises(StaleError, match="made on revision 1, now it is 2"):
        await stage.change(request, plan_id=plan.id, base=plan.base)
    with pytest.raises(StaleError, match=plan.id):
        await stage.change(request, plan_id=plan.id, base=None)
    assert (await stage.running.status()).revision == 2


async def test_a_plan_of_files_that_changed_since_is_refused(running: Stage) -> None:
    stage = running
    stage.write("e1.yaml", E1.replace("65000:1102", "65000:1777"))
    plan = await stage.running.plan(PlanRequest("apply"))
    stage.write("e1.yaml", E1.replace("65000:1102", "65000:1666"))
    with pytest.raises(StaleError, match="would be applied now"):
        await stage.apply(plan_id=plan.id, base=plan.base)
    await stage.settled()
    assert stage.held() == AT_FIRST


async def test_two_at_once_are_made_one_after_the_other(running: Stage) -> None:
    stage = running
    request = PlanRequest("extend", "E1", "cloud2")
    plan = await stage.running.plan(request)
    both = [stage.change(request, plan_id=plan.id, base=plan.base) for _ in range(2)]
    first, second = await asyncio.gather(*both, return_exceptions=True)
    assert isinstance(first, Applied)
    assert isinstance(second, StaleError)
    await stage.settled()
    assert stage.held() == EXTENDED


async def test_rollback_and_rollback_of_the_rollback(running: Stage) -> None:
    stage = running
    await stage.extend()
    extended = stage.files()
    back = await stage.rollback()
    assert (back.revision.number, back.revision.kind, back.revision.restores) == (3, "rollback", 1)
    await stage.settled()
    assert stage.held() == AT_FIRST
    assert stage.files()["e1.yaml"] == E1
    forth = await stage.rollback()
    assert (forth.revision.number, forth.revision.restores) == (4, 2)
    await stage.settled()
    assert stage.held() == EXTENDED
    assert stage.files() == extended
    await stage.rollback(1)
    await stage.settled()
    assert stage.held() == AT_FIRST
    assert [revision.number for revision in await stage.running.history()] == [5, 4, 3, 2, 1]


async def test_rollback_brings_deleted_files_back_and_takes_new_ones_away(running: Stage) -> None:
    stage = running
    before = stage.files()
    stage.path("e1.yaml").unlink()
    stage.write("e9.yaml", "vpn: E9\nservice: l3vpn\nsites: [e1-hq, cloud2]\n")
    await stage.apply()
    await stage.rollback()
    assert stage.files() == before
    await stage.settled()
    assert stage.held() == AT_FIRST


async def test_rollback_leaves_a_file_with_new_edits_alone_and_says_so(running: Stage) -> None:
    stage = running
    await stage.extend()
    mine = stage.files()["e1.yaml"] + "# mine\n"
    stage.write("e1.yaml", mine)
    events = stage.running.events()
    heard = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    await stage.rollback()
    said = [await heard]
    while "left alone" not in said[-1].message:
        said.append(await anext(events))
    assert said[-1].subject == str(stage.path("e1.yaml"))
    assert stage.files()["e1.yaml"] == mine
    await stage.settled()
    assert stage.held() == AT_FIRST
    assert (await stage.running.status()).policies_differ


async def test_one_who_goes_away_does_not_stop_a_change_halfway(running: Stage) -> None:
    stage = running
    asking = asyncio.ensure_future(stage.extend())
    store = stage.running._store
    commit, begun, loop = store.commit, asyncio.Event(), asyncio.get_running_loop()

    def slowly(**more: object) -> object:
        loop.call_soon_threadsafe(begun.set)
        return commit(**more)  # type: ignore[arg-type]

    store.commit = slowly  # type: ignore[method-assign, assignment]
    await begun.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    # The next one finds the change complete.
    with pytest.raises(UsageError, match="at cloud2 already"):
        await stage.extend()
    await stage.settled()
    assert stage.held() == EXTENDED
    assert "- cloud2" in stage.files()["e1.yaml"]


async def test_one_who_goes_away_in_the_queue_has_asked_for_nothing(running: Stage) -> None:
    stage = running
    stage.write("e2.yaml", stage.files()["e2.yaml"] + "# seen\n")
    first = asyncio.ensure_future(stage.apply())
    second = asyncio.ensure_future(stage.extend())
    await asyncio.sleep(0)
    second.cancel()
    applied = await first
    assert applied.revision.number == 2
    with pytest.raises(asyncio.CancelledError):
        await second
    plan = await stage.running.plan(PlanRequest("apply"))
    assert (plan.base, plan.empty) == (2, True)
    assert stage.held() == AT_FIRST


# PEs


async def session_numbers(stage: Stage) -> dict[str, int]:
    engine = stage.running._engine
    return {name: session.opened.number for name, session in engine.by_peer.items()}


async def test_a_new_pe_does_not_disturb_the_others(running: Stage) -> None:
    stage = running
    before = await session_numbers(stage)
    network = stage.network("pe-a", "pe-b", "pe-c", "pe-d")
    stage.write("network.yaml", network.replace("pes: [pe-b]", "pes: [pe-b, pe-d]"))
    applied = await stage.apply()
    assert [(s.peer, s.action) for s in applied.plan.sessions] == [("pe-d", "+")]
    assert "sessions configured" in [step.name for step in applied.timeline]
    pe = await stage.connect("pe-d")
    await stage.settled()
    # Two PEs of one site hear each other, and the head office.
    assert pe.held == {
        "65000:11:10.1.1.0/24": ("65000:1102",),
        "65000:11:10.1.2.0/24": ("65000:1102",),
        "65000:21:10.2.1.0/24": ("65000:1102",),
    }
    after = await session_numbers(stage)
    assert {name: after[name] for name in before} == before


async def test_a_removed_pe_is_told_and_its_routes_go(running: Stage) -> None:
    stage = running
    before = await session_numbers(stage)
    network = stage.network("pe-a", "pe-b")
    stage.write("network.yaml", network.replace("  cloud2: {kind: cloud, pes: [pe-c]}\n", ""))
    stage.path("e2.yaml").unlink()
    applied = await stage.apply()
    assert [(s.peer, s.action) for s in applied.plan.sessions] == [("pe-c", "-")]
    gone = stage.pes.pop("pe-c")
    # Cease, peer de-configured (RFC 4486)
    assert await asyncio.to_thread(gone.raw.wait_closed) == (6, 3)
    await stage.settled()
    assert stage.held() == {
        "pe-a": {"65000:21:10.2.1.0/24": ("65000:1101",)},
        "pe-b": AT_FIRST["pe-b"],
    }
    assert [peer.name for peer in await stage.running.peers()] == ["pe-a", "pe-b"]
    assert await session_numbers(stage) == {name: before[name] for name in ("pe-a", "pe-b")}
    assert (await stage.running.status()).peers_established == 2


async def test_a_changed_pe_comes_back_and_the_others_stay(running: Stage) -> None:
    stage = running
    before = await session_numbers(stage)
    more = ", asn: 4200000001, guard: {first_as: no}"
    stage.write("network.yaml", stage.network(more=more))
    applied = await stage.apply()
    assert [(s.peer, s.action) for s in applied.plan.sessions] == [("pe-c", "~")]
    changed = stage.pes["pe-c"]
    assert await asyncio.to_thread(changed.raw.wait_closed) == (6, 6)
    await stage.connect("pe-c", asn=4200000001)
    await stage.settled()
    assert stage.held() == AT_FIRST
    after = await session_numbers(stage)
    assert {name for name in before if before[name] == after[name]} == {"pe-a", "pe-b"}
    # An external peer sees our AS in front (RFC 4271 section 5.1.2).
    (update,) = [u for u in stage.pes["pe-c"].since(0) if u.family is not None]
    assert update[2] == wire.as_path(65000)
    assert (await stage.peer("pe-c")).kind == "external"


async def test_a_renamed_pe_is_another_one_at_the_same_address(running: Stage) -> None:
    stage = running
    stage.at["pe-z"] = stage.at["pe-c"]
    text = stage.network("pe-a", "pe-b", "pe-z").replace("pes: [pe-c]", "pes: [pe-z]")
    stage.write("network.yaml", text)
    applied = await stage.apply()
    assert [(s.peer, s.action) for s in applied.plan.sessions] == [("pe-c", "-"), ("pe-z", "+")]
    old = stage.pes.pop("pe-c")
    assert await asyncio.to_thread(old.raw.wait_closed) == (6, 3)
    new = await stage.connect("pe-z")
    for rd, prefixes, target in ROUTES["pe-c"]:
        new.announce(rd, prefixes, target)
    await stage.settled()
    assert new.held == AT_FIRST["pe-c"]
    assert stage.pes["pe-a"].held == AT_FIRST["pe-a"]


async def test_another_listening_address_is_taken_up_without_a_restart(running: Stage) -> None:
    stage = running
    text = stage.network()
    stage.write(
        "network.yaml", text.replace(f'"{stage.listening}"', f'["{stage.listening}", 192.0.2.1]')
    )
    before = await session_numbers(stage)
    await stage.apply()
    status = await stage.running.status()
    assert status.listening == (stage.listening,)
    (problem,) = status.problems
    assert "192.0.2.1:179" in problem
    stage.write("network.yaml", text)
    await stage.apply()
    assert (await stage.running.status()).problems == ()
    assert await session_numbers(stage) == before


async def test_some_files_are_applied_and_other_edits_wait(running: Stage) -> None:
    stage = running
    e2 = stage.path("e2.yaml").read_text()
    stage.write("e1.yaml", stage.path("e1.yaml").read_text().replace("cloud1", "cloud2"))
    stage.write("e2.yaml", "half an ed")
    request = PlanRequest("apply", files=("e1.yaml",))
    planned = await stage.running.plan(request)
    assert [change.file for change in planned.files] == [str(stage.path("e1.yaml"))]
    applied = await stage.change(request, plan_id=planned.id)
    assert applied.plan == planned
    assert (await stage.running.status()).policies_differ
    assert stage.path("e2.yaml").read_text() == "half an ed"
    [e1] = [vpn for vpn in await stage.running.vpns() if vpn.name == "E1"]
    assert "cloud1" not in e1.sites

    stage.write("e2.yaml", e2)
    stage.path("e1.yaml").unlink()
    await stage.change(request)
    assert [vpn.name for vpn in await stage.running.vpns()] == ["E2"]
    with pytest.raises(NotFoundError, match="no policy file"):
        await stage.change(request)


@pytest.mark.parametrize("name", ["../e1.yaml", "/etc/passwd", ".hidden.yaml", "notes.txt", ""])
async def test_what_is_no_policy_file_is_not_read(running: Stage, name: str) -> None:
    with pytest.raises(UsageError, match="is not the name of a policy file"):
        await running.running.plan(PlanRequest("apply", files=(name,)))


async def test_a_link_to_elsewhere_is_not_followed(running: Stage, tmp_path: Path) -> None:
    secret = tmp_path / "secret.yaml"
    secret.write_text("vpn: E1\n")
    running.path("e9.yaml").symlink_to(secret)
    with pytest.raises(UsageError, match="symbolic link"):
        await running.running.plan(PlanRequest("apply", files=("e9.yaml",)))


async def test_routes_go_on_while_a_large_policy_is_checked(
    running: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = running
    for number in range(300):
        target = f"targets: 65000:{20000 + number}"
        stage.write(
            f"big{number}.yaml",
            f"vpn: big{number}\nservice: l3vpn\n{target}\nsites: [e1-hq, cloud1]\n",
        )
    loop, went_on = asyncio.get_running_loop(), threading.Event()

    def waiting_for_the_loop(*given: Any) -> Compiled:
        loop.call_soon_threadsafe(went_on.set)
        assert went_on.wait(PATIENCE), "the loop stood still while the policy was checked"
        return load(*given)

    monkeypatch.setattr(candidate, "load", waiting_for_the_loop)
    plan = await stage.running.plan(PlanRequest("apply"))

    assert len(plan.files) == 300
