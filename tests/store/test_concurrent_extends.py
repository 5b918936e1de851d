"""Extends at the same time never give one number to two, whoever comes first."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from tests.store.commits import commit
from vpnctl.errors import StaleError
from vpnctl.ruleset import load
from vpnctl.store import Store

SITES = [f"s{number}" for number in range(6)]
NETWORK = (
    "controller: {asn: 65000, router_id: 10.0.0.100, listen: 10.0.0.100,"
    " pools: {vlans: 100-103, outer_vlans: 4001-4001}}\n"
    "sites:\n" + "".join(f"  {site}: {{kind: cloud, pes: pe-{site}}}\n" for site in SITES) +
    "pes:\n"
    + "".join(
        f"  pe-{site}: {{address: 10.0.0.{index + 1}, port: ge-0/0/1}}\n"
        for index, site in enumerate(SITES)
    )
)  # fmt: skip
VPNS = [f"V{number}" for number in range(6)]


def policy(sites: dict[str, list[str]]) -> dict[str, bytes]:
    files = {"network.yaml": NETWORK.encode()}
    for vpn, members in sites.items():
        files[f"{vpn}.yaml"] = (
            f"vpn: {vpn}\nservice: vpls\nsites: [{', '.join(members)}]\n".encode()
        )
    return files


def read(store: Store) -> tuple[int, dict[str, list[str]]]:
    """The latest revision, and each VPN's sites there."""
    latest = store.latest()
    assert latest is not None
    sites = {}
    for path, content in store.files(latest.number).items():
        if path != "network.yaml":
            members = content.decode().splitlines()[2]
            sites[path.removesuffix(".yaml")] = members[len("sites: [") : -1].split(", ")
    return latest.number, sites


def change(
    store: Store, vpn: str, site: str, *, extend: bool = True, together: Barrier | None = None
) -> int:
    """Extend a VPN to a site or retract it, as often as another one comes first; gives the tries.

    Nothing is taken under a lock: what was computed from a state that has passed is refused.
    With ``together``, the first try waits until everybody has numbers to commit.
    """
    for tries in range(1, 1000):
        base, sites = read(store)
        members = [*sites[vpn], site] if extend else [one for one in sites[vpn] if one != site]
        wanted = policy({**sites, vpn: members})
        compiled = load(wanted, store.allocations())
        if together is not None and tries == 1:
            together.wait()
        try:
            commit(store, base, {f"{vpn}.yaml": wanted[f"{vpn}.yaml"]}, compiled.allocations)
        except StaleError:
            continue
        return tries
    raise AssertionError("others always came first")


def test_extends_at_the_same_time_get_different_numbers(store: Store) -> None:
    first = policy({vpn: ["s0"] for vpn in VPNS})
    commit(store, None, dict(first), load(first).allocations)
    together = Barrier(len(VPNS))

    def extend(vpn: str) -> int:
        first, *others = SITES[1:]
        return change(store, vpn, first, together=together) + sum(
            change(store, vpn, site) for site in others
        )

    with ThreadPoolExecutor(len(VPNS)) as pool:
        tries = list(pool.map(extend, VPNS))
    # They did meet: all but one had to begin again at least once.
    assert sum(tries) >= len(VPNS) * len(SITES[1:]) + len(VPNS) - 1
    numbers = Counter((one.pool, one.number) for one in store.allocations())
    assert set(numbers.values()) == {1}
    _, sites = read(store)
    ruleset = load(policy(sites), store.allocations()).ruleset
    for vpn in ruleset.vpns.values():
        assert sorted(endpoint.ve_id or 0 for endpoint in vpn.endpoints) == [1, 2, 3, 4, 5, 6]
    for site in SITES:
        tags = {(one.vlan, one.inner_vlan) for one in ruleset.endpoints() if one.site == site}
        # Four single VLANs, then two tags.
        assert tags == {*((vlan, None) for vlan in range(100, 104)), (4001, 1), (4001, 2)}


def test_a_retract_gives_back_and_another_vpn_may_have_it(store: Store) -> None:
    first = policy({"V0": ["s0", "s1"], "V1": ["s0"]})
    commit(store, None, dict(first), load(first).allocations)

    def held(owner: str) -> dict[str, int]:
        return {
            one.pool: one.number
            for one in store.allocations()
            if one.owner.startswith(owner) and not one.released
        }

    had = held("V0/s1")
    assert sorted(had) == ["rd/pe-s1", "route-target", "ve-id/V0", "vlan/pe-s1/ge-0/0/1"]
    change(store, "V0", "s1", extend=False)
    assert held("V0/s1") == {}
    # Extended again, it has its old numbers: the routers need not change.
    change(store, "V0", "s1")
    assert held("V0/s1") == had
