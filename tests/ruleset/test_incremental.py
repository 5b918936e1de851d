"""A load on top of the previous one: equal to a load from scratch, and only what changed is new."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ruleset.policies import NETWORK, policy
from vpnctl.errors import PolicyError
from vpnctl.model import Allocation
from vpnctl.ruleset import Compiled, load
from vpnctl.ruleset import loading as loading_module
from vpnctl.yamltree.tree import Genre, Mapping

SITES = ["hq", "branch", "cloud1", "cloud2"]
VPNS = ["A", "B", "C", "D"]


@st.composite
def vpn_file(draw: st.DrawFn, name: str) -> bytes:
    """A file of VPN ``name``, now and then with a number or an extranet that fits nobody."""
    sites = draw(st.lists(st.sampled_from(SITES), min_size=1, unique=True))
    lines = [f"vpn: {name}", f"service: {draw(st.sampled_from(['vpls', 'vpls', 'evpn']))}"]
    lines.append("sites:")
    for site in sites:
        lines.append(f"  - site: {site}")
        if draw(st.booleans()):
            lines.append(f"    targets: 65000:{draw(st.integers(98, 108))}")
        if draw(st.integers(0, 3)) == 0:
            lines.append(f"    vlan: {draw(st.integers(100, 103))}")
        if site != "cloud2" and draw(st.integers(0, 3)) == 0:
            lines.append(f"    rd: 10.0.0.{draw(st.integers(1, 2))}:{draw(st.integers(1, 4))}")
    if draw(st.integers(0, 3)) == 0:
        other = draw(st.sampled_from([other for other in VPNS if other != name]))
        direction = draw(st.sampled_from(["both", "to", "from"]))
        lines.append(f"extranet: [{{to: {other}, direction: {direction}}}]")
    return ("\n".join(lines) + "\n").encode()


@st.composite
def change(draw: st.DrawFn) -> tuple[str, bytes | None]:
    """A file and its new content, `None` to take it away."""
    name = draw(st.sampled_from(VPNS))
    return f"p/{name}.yaml", draw(st.one_of(st.none(), vpn_file(name), vpn_file(name)))


def attempt(
    files: dict[str, bytes], allocations: frozenset[Allocation], previous: Compiled | None
) -> Compiled | None:
    try:
        return load(files, allocations, previous)
    except PolicyError:
        return None


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(change(), min_size=1, max_size=2), min_size=1, max_size=8))
def test_an_incremental_load_equals_one_from_scratch(
    steps: list[list[tuple[str, bytes | None]]],
) -> None:
    files = policy()
    current = load(files)
    for step in steps:
        candidate = dict(files)
        for path, content in step:
            if content is None:
                candidate.pop(path, None)
            else:
                candidate[path] = content
        before = current.ruleset.vpns.copy(), current.allocations
        incremental = attempt(candidate, current.allocations, current)
        scratch = attempt(candidate, current.allocations, None)
        assert incremental == scratch
        # The previous one is a value still, whatever became of the attempt.
        assert (current.ruleset.vpns, current.allocations) == before
        if incremental is None:
            continue
        for name, vpn in incremental.ruleset.vpns.items():
            if vpn == current.ruleset.vpns.get(name):
                assert vpn is current.ruleset.vpns[name]
        assert_no_number_twice(incremental)
        # These pools never run out, so nobody's number went to somebody else.
        assert not forgotten(current, incremental)
        files, current = candidate, incremental


def assert_no_number_twice(compiled: Compiled) -> None:
    """Neither in a pool nor, whatever the pool, at an endpoint."""
    numbers = [(a.pool, a.number) for a in compiled.allocations]
    assert len(numbers) == len(set(numbers))
    owners = [(a.pool, a.owner) for a in compiled.allocations]
    assert len(owners) == len(set(owners))
    endpoints = list(compiled.ruleset.endpoints())
    assert len({e.rd for e in endpoints}) == len(endpoints)
    vlans = [(e.pe, e.vlan) for e in endpoints if e.vlan is not None]
    assert len(vlans) == len(set(vlans))
    ve_ids = [(e.vpn, e.ve_id) for e in endpoints if e.ve_id is not None]
    assert len(ve_ids) == len(set(ve_ids))
    owner_of: dict[object, str] = {}
    for endpoint in endpoints:
        for target in (*endpoint.export_targets, *endpoint.import_targets):
            assert owner_of.setdefault(target, endpoint.vpn) == endpoint.vpn


def forgotten(before: Compiled, after: Compiled) -> set[tuple[str, str]]:
    """Owners that lost their entry altogether."""
    return {(a.pool, a.owner) for a in before.allocations} - {
        (a.pool, a.owner) for a in after.allocations
    }


def test_files_with_the_same_bytes_are_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    files = policy(
        a="vpn: A\nservice: vpls\nsites: [hq, cloud1]\n",
        b="vpn: B\nservice: vpls\nsites: [hq, cloud1]\n",
    )
    first = load(files)
    parsed: list[str] = []
    original = loading_module.parse

    def recording(file: str, content: bytes, genre: Genre) -> Mapping:
        parsed.append(file)
        return original(file, content, genre)

    monkeypatch.setattr(loading_module, "parse", recording)
    # Equal bytes in other objects, and one file changed.
    changed = {path: bytes(bytearray(content)) for path, content in files.items()}
    changed["p/b.yaml"] += b"description: changed\n"
    second = load(changed, list(first.allocations), first)
    assert parsed == ["p/b.yaml"]
    assert second.ruleset.vpns["A"] is first.ruleset.vpns["A"]
    assert second.ruleset.vpns["B"] is first.ruleset.vpns["B"]
    assert second.allocations is first.allocations


def test_a_partner_keeps_its_endpoints_until_a_number_of_theirs_moves() -> None:
    a = "vpn: A\nservice: vpls\nsites: [hq, cloud1]\n"
    b = "vpn: B\nservice: vpls\nsites: [branch]\n"
    first = load(policy(a=a, b=b))
    joined = policy(a=a, b=b + "extranet: [{to: A}]\n")
    second = load(joined, previous=first)
    before, after = first.ruleset.vpns["A"], second.ruleset.vpns["A"]
    assert after.extranets == {"B"}
    assert after.endpoints is before.endpoints
    # A third file takes the target that was allocated to A.
    (target,) = before.endpoints[0].export_targets
    taken = f"vpn: C\nservice: vpls\nsites: [{{site: cloud2, targets: {target}}}]\n"
    third = load({**joined, **policy(c=taken)}, previous=second)
    moved = third.ruleset.vpns["A"].endpoints
    assert moved[0].export_targets != (target,)
    assert moved[1:] == before.endpoints[1:]


def test_without_allocations_those_of_the_previous_load_are_kept() -> None:
    first = load(policy(a="vpn: A\nservice: vpls\nsites: [hq]\n"))
    second = load(policy(b="vpn: B\nservice: vpls\nsites: [hq]\n"), previous=first)
    assert second == load(policy(b="vpn: B\nservice: vpls\nsites: [hq]\n"), first.allocations)
    assert str(second.ruleset.vpns["B"].endpoints[0].rd) == "10.0.0.1:2"


def test_a_changed_network_keeps_the_vpns_it_does_not_touch() -> None:
    vpns = {
        "a": "vpn: A\nservice: vpls\nsites: [hq]\n",
        "b": "vpn: B\nservice: vpls\nsites: [cloud1]\n",
    }
    first = load(policy(**vpns))
    moved = NETWORK.replace("vlans: 100-109", "vlans: 105-109")
    second = load(policy(moved, **vpns), first.allocations, first)
    assert second.ruleset.vpns["A"] is first.ruleset.vpns["A"]
    assert second.ruleset.vpns["B"] != first.ruleset.vpns["B"]
    assert second == load(policy(moved, **vpns), first.allocations)


def test_of_two_files_that_want_one_number_the_changed_one_is_to_blame() -> None:
    wants = "vpn: {}\nservice: vpls\nsites: [{{site: cloud1, vlan: 105}}]\n"
    first = load(policy(b=wants.format("B")))
    files = policy(a=wants.format("A"), b=wants.format("B"))
    for previous, blamed in ((first, "p/a.yaml"), (None, "p/b.yaml")):
        with pytest.raises(PolicyError) as caught:
            load(files, first.allocations, previous)
        (mistake,) = caught.value.mistakes
        assert str(mistake).startswith(f"{blamed}:3:30  sites[0].vlan: 105 is taken at pe-c1")


def test_an_extranet_is_missed_when_its_vpn_goes() -> None:
    files = policy(
        a="vpn: A\nservice: vpls\nsites: [hq]\nextranet: [{to: B}]\n",
        b="vpn: B\nservice: vpls\nsites: [cloud1]\n",
    )
    first = load(files)
    del files["p/b.yaml"]
    with pytest.raises(PolicyError) as caught:
        load(files, previous=first)
    assert [str(mistake).splitlines()[0] for mistake in caught.value.mistakes] == [
        "p/a.yaml:4:17  extranet[0].to: no VPN is called 'B'"
    ]
