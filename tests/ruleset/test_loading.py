"""What a policy means: endpoints, numbers, links."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ruleset.policies import NETWORK, compiled, policy
from vpnctl.model import Endpoint, Family, Frr, Listen, Netconf, Place, Service, Timeouts, Vpn
from vpnctl.ruleset import load


def only(vpn: Vpn, site: str, pe: str = "") -> Endpoint:
    (endpoint,) = [
        endpoint for endpoint in vpn.endpoints if endpoint.site == site and pe in endpoint.pe
    ]
    return endpoint


def heard(*vpns: Vpn) -> set[str]:
    """Links as ``E1/hq > E1/cloud1``."""
    return {f"{speaker} > {hearer}" for vpn in vpns for speaker, hearer in vpn.links}


def targets(endpoint: Endpoint) -> tuple[str, str]:
    return (
        " ".join(map(str, endpoint.export_targets)),
        " ".join(map(str, endpoint.import_targets)),
    )


def test_the_smallest_file_gets_every_number_it_needs() -> None:
    vpn = compiled(e1="vpn: E1\nservice: vpls\nsites: [hq, cloud2]\n").ruleset.vpns["E1"]
    assert (vpn.service, vpn.topology, vpn.sites) == (Service.VPLS, "full-mesh", ("hq", "cloud2"))
    assert vpn.place == Place("p/e1.yaml", 1, 6)
    assert [
        (e.site, e.pe, str(e.rd), *targets(e), e.ve_id, e.vlan, e.vni, str(e.place))
        for e in vpn.endpoints
    ] == [
        ("hq", "pe-e", "10.0.0.1:1", "65000:100", "65000:100", 1, None, None, "p/e1.yaml:3"),
        ("cloud2", "pe-c2a", "10.0.0.3:1", "65000:101", "65000:101", 2, 100, None, "p/e1.yaml:3"),
        ("cloud2", "pe-c2b", "10.0.0.4:1", "65000:101", "65000:101", 3, 100, None, "p/e1.yaml:3"),
    ]


def test_explicit_numbers_win() -> None:
    vpn = compiled(
        e1="""\
        vpn: E1
        service: vpls
        sites:
          - {site: hq, vlan: 107, rd: 4200000000:9, ve_id: 9, targets: 65000:2214}
          - site: cloud2
            vlan: 108
            rd: {pe-c2b: 65000:77}
            ve_id: {pe-c2a: 7}
            targets: {export: [65000:1, 65000:2], import: 65000:3}
        """
    ).ruleset.vpns["E1"]
    hq = only(vpn, "hq")
    assert (hq.vlan, str(hq.rd), hq.ve_id) == (107, "4200000000:9", 9)
    assert targets(hq) == ("65000:2214", "65000:2214")
    a, b = only(vpn, "cloud2", "pe-c2a"), only(vpn, "cloud2", "pe-c2b")
    assert targets(a) == targets(b) == ("65000:1 65000:2", "65000:3")
    assert (a.vlan, str(a.rd), a.ve_id) == (108, "10.0.0.3:1", 7)
    assert (b.vlan, str(b.rd), b.ve_id) == (108, "65000:77", 1)


@pytest.mark.parametrize(
    ("whole", "own", "meant"),
    [
        ("65000:1", None, ("65000:1", "65000:1")),
        ("[65000:1, 65000:2]", None, ("65000:1 65000:2", "65000:1 65000:2")),
        ("{export: 65000:1}", None, ("65000:1", "65000:1")),
        ("{import: [65000:1, 65000:1]}", None, ("65000:1", "65000:1")),
        ("65000:1", "65000:2", ("65000:2", "65000:2")),
        ("65000:1", "{export: 65000:2}", ("65000:2", "65000:1")),
        ("{export: 65000:1, import: 65000:2}", "{import: 65000:3}", ("65000:1", "65000:3")),
    ],
)
def test_a_target_is_the_sites_or_the_vpns_or_the_other_direction(
    whole: str, own: str | None, meant: tuple[str, str]
) -> None:
    site = "hq" if own is None else f"{{site: hq, targets: {own}}}"
    files = f"vpn: E1\nservice: l3vpn\ntargets: {whole}\nsites: [{site}]\n"
    assert targets(only(compiled(e1=files).ruleset.vpns["E1"], "hq")) == meant


def test_an_evpn_has_one_vni_and_no_ve_id() -> None:
    vpns = compiled(
        e1="vpn: E1\nservice: evpn\nsites: [hq, cloud2]\n",
        e2="vpn: E2\nservice: evpn\nvni: 10000\nsites: [hq]\n",
        e3="vpn: E3\nservice: evpn\nsites: [{site: hq, vni: 77}, cloud1]\n",
    ).ruleset.vpns
    assert {e.vni for e in vpns["E1"].endpoints} == {10001}
    assert {e.vni for e in vpns["E2"].endpoints} == {10000}
    assert {e.vni for e in vpns["E3"].endpoints} == {77}
    assert {e.ve_id for vpn in vpns.values() for e in vpn.endpoints} == {None}


def test_an_ipv6_pe_gets_its_rd_from_the_controllers_as() -> None:
    vpn = compiled(e1="vpn: E1\nservice: l3vpn\nsites: [six]\n").ruleset.vpns["E1"]
    assert str(only(vpn, "six").rd) == "65000:1"


def test_the_network_is_read_with_its_defaults() -> None:
    network = compiled(
        """\
controller: {asn: 4200000000, router_id: 10.255.0.1, listen: [127.0.0.1:1790, "[::1]:1790", "::2"]}
sites:
  a: {kind: cloud, pes: x}
pes:
  x:
    address: 127.0.0.11
    asn: 65001
    platform: frr
    bgp_port: 1179
    passive: yes
    hold_time: 30
    netconf: {user: vpnctl, key: ~/.ssh/vpnctl}
  y: {address: "::3", local: "::2", families: vpls, vlans: 7}
"""
    ).ruleset.network
    assert network.controller.pools.route_targets == ("4200000000", 100, 9999)
    assert network.controller.pools.vlans == (100, 999)
    assert network.controller.pools.vnis == (10000, 19999)
    assert [str(listen) for listen in network.controller.listen] == [
        "127.0.0.1:1790",
        "[::1]:1790",
        "[::2]:179",
    ]
    x, y = network.pes["x"], network.pes["y"]
    assert (x.asn, x.platform, x.bgp_port, x.passive, x.hold_time, x.port, x.vlans) == (
        65001, "frr", 1179, True, 30, "", (100, 999),
    )  # fmt: skip
    assert x.families == {Family(1, 128, "vpnv4"), Family(2, 128, "vpnv6"), Family(25, 70, "evpn")}
    assert x.netconf == Netconf("vpnctl", "~/.ssh/vpnctl")
    assert x.listen == network.controller.listen[0]
    assert (y.asn, y.platform, y.passive, y.hold_time, y.bgp_port, y.vlans) == (
        4200000000, "generic", False, 90, 179, (7, 7),
    )  # fmt: skip
    assert y.listen == Listen(y.listen.address, 179)
    assert str(y.listen) == "[::2]:179"
    assert network.sites["a"].pes == ("x",)


def test_a_managed_pe_says_how_to_log_in() -> None:
    pes = compiled(
        """\
controller: {asn: 65000, router_id: 10.255.0.1, listen: 10.255.0.1, pools: {outer_vlans: 4001}}
sites: {a: {kind: cloud, pes: [x, y, z]}}
pes:
  x:
    address: 10.0.0.1
    platform: acme
    families: evpn
    netconf:
      user: vpnctl
      address: 192.0.2.11
      port: 22
      host_key: ~/.ssh/routers
      timeouts: {connect: 5, commit: 300}
  y: {address: 10.0.0.2, platform: frr-evpn, frr: {netns: pe-y}, outer_vlans: 4002-4003}
  z: {address: 10.0.0.3}
"""
    ).ruleset.network.pes
    assert pes["x"].netconf == Netconf(
        "vpnctl", "", IPv4Address("192.0.2.11"), 22, "~/.ssh/routers", Timeouts(5, 30, 300)
    )
    assert pes["y"].frr == Frr(netns="pe-y")
    assert [pe.managed for pe in pes.values()] == [True, True, False]
    assert [pe.outer_vlans for pe in pes.values()] == [(4001, 4001), (4002, 4003), (4001, 4001)]


def test_vlans_with_two_tags_are_given_and_allocated() -> None:
    sites = "  - {site: cloud1, vlan: 4001/17}\n"
    network = NETWORK.replace("vlans: 100-109", "vlans: 100-100, outer_vlans: 4001")
    loaded = compiled(
        network,
        e1=f"vpn: E1\nservice: vpls\nsites:\n{sites}",
        e2="vpn: E2\nservice: vpls\nsites: [cloud1]\n",
        e3="vpn: E3\nservice: vpls\nsites: [cloud1]\n",
    )
    assert [(one.vlan, one.inner_vlan) for one in loaded.ruleset.endpoints()] == [
        (4001, 17), (100, None), (4001, 1),
    ]  # fmt: skip


def test_full_mesh() -> None:
    vpn = compiled(e1="vpn: E1\nservice: vpls\nsites: [hq, cloud1, cloud2]\n").ruleset.vpns["E1"]
    assert heard(vpn) == {
        f"E1/{a} > E1/{b}"
        for a in ("hq", "cloud1", "cloud2")
        for b in ("hq", "cloud1", "cloud2")
        if a != b
    }
    assert vpn.extranets == frozenset()


def test_hub_and_spoke() -> None:
    vpn = compiled(
        e1="""\
        vpn: E1
        service: vpls
        sites: [hq, branch, cloud1, cloud2]
        topology: {hub-and-spoke: {hubs: [hq, branch]}}
        """
    ).ruleset.vpns["E1"]
    assert vpn.topology == "hub-and-spoke"
    assert heard(vpn) == {
        *("E1/hq > E1/branch", "E1/branch > E1/hq"),
        *("E1/hq > E1/cloud1", "E1/cloud1 > E1/hq", "E1/hq > E1/cloud2", "E1/cloud2 > E1/hq"),
        *("E1/branch > E1/cloud1", "E1/cloud1 > E1/branch"),
        *("E1/branch > E1/cloud2", "E1/cloud2 > E1/branch"),
    }


def test_explicit_links() -> None:
    vpn = compiled(
        e1="""\
        vpn: E1
        service: vpls
        sites: [hq, cloud1, cloud2]
        topology:
          links:
            - {from: hq, to: cloud1}
            - {between: [cloud1, cloud2]}
        """
    ).ruleset.vpns["E1"]
    assert vpn.topology == "links"
    assert heard(vpn) == {"E1/hq > E1/cloud1", "E1/cloud1 > E1/cloud2", "E1/cloud2 > E1/cloud1"}


@pytest.mark.parametrize(
    ("direction", "links"),
    [
        ("to", {"E1/cloud1 > D/cloud2", "E1/cloud1 > D/hq"}),
        ("from", {"D/cloud2 > E1/cloud1", "D/hq > E1/cloud1"}),
        (
            "both",
            {
                *("E1/cloud1 > D/cloud2", "E1/cloud1 > D/hq"),
                *("D/cloud2 > E1/cloud1", "D/hq > E1/cloud1"),
            },
        ),
    ],
)
def test_an_extranet_adds_links_to_the_vpn_that_speaks(direction: str, links: set[str]) -> None:
    vpns = compiled(
        e1=f"""\
        vpn: E1
        service: evpn
        sites: [hq, cloud1]
        topology: {{links: [{{from: hq, to: cloud1}}]}}
        extranet: [{{to: D, sites: cloud1, direction: {direction}}}]
        """,
        d="""\
        vpn: D
        service: l3vpn
        sites: [cloud2, hq]
        topology: {links: [{from: hq, to: cloud2}]}
        """,
    ).ruleset.vpns
    own = {"E1/hq > E1/cloud1", "D/hq > D/cloud2"}
    assert heard(*vpns.values()) == links | own
    for name, vpn in vpns.items():
        assert {speaker.vpn for speaker, _ in vpn.links} <= {name}
    assert vpns["E1"].extranets == {"D"}
    assert vpns["D"].extranets == {"E1"}


def test_a_released_number_is_given_back_to_its_owner() -> None:
    both = compiled(
        e1="vpn: E1\nservice: vpls\nsites: [hq, cloud1]\n",
        e2="vpn: E2\nservice: vpls\nsites: [hq, cloud1]\n",
    )
    files = policy(e2="vpn: E2\nservice: vpls\nsites: [hq, cloud1]\n")
    without = load(files, both.allocations)
    assert without.ruleset.vpns == {"E2": both.ruleset.vpns["E2"]}
    assert {a.owner.split("/")[0] for a in without.allocations if a.released} == {"E1"}
    third = load(
        files | policy(e3="vpn: E3\nservice: vpls\nsites: [hq, cloud1]\n"), without.allocations
    )
    assert targets(only(third.ruleset.vpns["E3"], "hq"))[0] == "65000:104"
    again = load(
        files | policy(e1="vpn: E1\nservice: vpls\nsites: [hq, cloud1]\n"), third.allocations
    )
    assert again.ruleset.vpns == both.ruleset.vpns
    assert {a.owner.split("/")[0] for a in again.allocations if a.released} == {"E3"}


def test_a_released_number_goes_to_another_only_when_nothing_else_is_left() -> None:
    network = NETWORK.replace("vlans: 100-109", "vlans: 100-101")
    first = compiled(network, e1="vpn: E1\nservice: evpn\nsites: [cloud1]\n")
    second = load(
        policy(network, e2="vpn: E2\nservice: evpn\nsites: [cloud1]\n"), first.allocations
    )
    assert only(second.ruleset.vpns["E2"], "cloud1").vlan == 101
    third = load(
        policy(
            network,
            e2="vpn: E2\nservice: evpn\nsites: [cloud1]\n",
            e3="vpn: E3\nservice: evpn\nsites: [cloud1]\n",
        ),
        second.allocations,
    )
    assert only(third.ruleset.vpns["E3"], "cloud1").vlan == 100
    assert not [a for a in third.allocations if a.pool.startswith("vlan/") and a.released]


def test_an_allocated_number_moves_when_somebody_writes_it_down() -> None:
    first = compiled(e1="vpn: E1\nservice: vpls\nsites: [hq, cloud1]\n")
    second = load(
        policy(
            e1="vpn: E1\nservice: vpls\nsites: [hq, cloud1]\n",
            e2="vpn: E2\nservice: vpls\nsites: [{site: cloud1, vlan: 100, rd: 10.0.0.2:1,"
            " targets: 65000:101}]\n",
        ),
        first.allocations,
    )
    cloud1 = only(second.ruleset.vpns["E1"], "cloud1")
    assert (cloud1.vlan, str(cloud1.rd), targets(cloud1)[0]) == (101, "10.0.0.2:2", "65000:102")
    # What did not collide stayed.
    assert only(second.ruleset.vpns["E1"], "hq") == only(first.ruleset.vpns["E1"], "hq")


def test_a_number_outside_a_narrowed_pool_moves() -> None:
    first = compiled(e1="vpn: E1\nservice: evpn\nsites: [cloud1]\n")
    second = load(
        policy(
            NETWORK.replace("vlans: 100-109", "vlans: 105-109"),
            e1="vpn: E1\nservice: evpn\nsites: [cloud1]\n",
        ),
        first.allocations,
    )
    assert only(second.ruleset.vpns["E1"], "cloud1").vlan == 105


@given(st.permutations(["p/network.yaml", "p/a.yaml", "p/b.yaml", "p/c.yaml"]))
def test_the_order_of_the_files_does_not_matter(order: list[str]) -> None:
    files = policy(
        a="vpn: A\nservice: vpls\nsites: [hq, cloud1]\nextranet: [{to: C}]\n",
        b="vpn: B\nservice: vpls\nsites: [{site: cloud1, vlan: 100}, cloud2]\n",
        c="vpn: C\nservice: vpls\nsites: [cloud1, cloud2, hq]\n",
    )
    shuffled = load({path: files[path] for path in order})
    assert shuffled == load(files)
    assert list(shuffled.ruleset.vpns) == ["A", "B", "C"]
