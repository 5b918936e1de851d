"""Other people's routers read our flow routes as the rules that the operator wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.peers.flows import E1, RULES, Flows, running
from tests.support.daemons import require, wait_until
from vpnctl.errors import VpnctlError

pytestmark = pytest.mark.daemon


@pytest.fixture(scope="module")
def flows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flows]:
    require("gobgpd", "gobgp", "vtysh")
    with running(tmp_path_factory.mktemp("flows")) as found:
        yield found


def of_gobgp(flows: Flows, family: str) -> dict[str, list[dict[str, Any]]]:
    """GoBGP's words for each flow -> its extended communities, but for targets."""
    found = {}
    for words, (path,) in flows.gobgp.rib(family).items():
        (communities,) = (each["value"] for each in path["attrs"] if each["type"] == 16)
        targets = [each["value"] for each in communities if each.get("subtype") == 2]
        assert targets == ["65000:1101"]
        found[words] = [each for each in communities if each.get("subtype") != 2]
    return found


DROP = [{"type": 128, "subtype": 6, "as": 65000, "rate": 0}]
HQ, HQ6 = (
    "[rd: 65000:11][destination: 10.1.0.0/16]",
    "[rd: 65000:11][destination: 2001:db8:1::/48/0]",
)


def test_gobgp_reads_them_for_ipv4(flows: Flows) -> None:
    wait_until(lambda: len(of_gobgp(flows, "ipv4-l3vpn-flowspec")) == 7, "seven flows")
    found = of_gobgp(flows, "ipv4-l3vpn-flowspec")
    web = found.pop(
        "[rd: 65000:11][destination: 10.1.0.5/32][source: 10.2.0.0/16][protocol: ==tcp]"
        "[destination-port: ==80 >=8000&<=8080]"
    )
    assert web == [
        {"type": 128, "subtype": 6, "as": 65000, "rate": 1250000},
        {"type": 128, "subtype": 9, "value": 46},
    ]
    # GoBGP does not know rates of packets (RFC 8955 section 7.2) and passes them on.
    assert found.pop(
        f"{HQ}[protocol: ==icmp][icmp-type: ==8][icmp-code: ==0][packet-length: >=28&<=128]"
    )
    (redirect,) = found.pop(f"{HQ}[protocol: ==udp][fragment: !is-fragment+first-fragment]")
    assert redirect["value"] == "65000:9101"
    assert found == {
        f"{HQ}[protocol: ==tcp][port: ==22]": DROP,
        f"{HQ}[protocol: ==tcp][tcp-flags: =S&!A]": DROP,
        f"{HQ}[fragment: =is-fragment =last-fragment]": DROP,
        f"{HQ}[dscp: ==8 >=10&<=12]": DROP,
    }


def test_gobgp_reads_them_for_ipv6(flows: Flows) -> None:
    wait_until(lambda: len(of_gobgp(flows, "ipv6-l3vpn-flowspec")) == 5, "five flows")
    assert {words: does for words, does in of_gobgp(flows, "ipv6-l3vpn-flowspec").items()
            if does == DROP}.keys() == {
        f"{HQ6}[protocol: ==tcp][port: ==22]",
        f"{HQ6}[protocol: ==tcp][tcp-flags: =S&!A]",
        f"{HQ6}[fragment: =is-fragment =last-fragment]",
        f"{HQ6}[dscp: ==8 >=10&<=12]",
    }  # fmt: skip


def of_exabgp(flows: Flows) -> dict[str, list[str]]:
    """ExaBGP's words for each flow that it was told and not told to forget -> communities."""
    held: dict[str, list[str]] = {}
    for event in flows.exabgp.events():
        update = event.get("neighbor", {}).get("message", {}).get("update", {})
        for nlri in update.get("withdraw", {}).get("ipv4 flow-vpn", ()):
            held.pop(nlri["string"], None)
        for nlris in update.get("announce", {}).get("ipv4 flow-vpn", {}).values():
            words = [each["string"] for each in update["attribute"]["extended-community"]]
            held.update((nlri["string"], words) for nlri in nlris)
    return held


LAB = "  - deny: {at: lab, from: 10.1.0.0/16, protocol: 47}\n"
LAB_FLOW = "flow destination-ipv4 0.0.0.0/0 source-ipv4 10.1.0.0/16 protocol =gre rd 65000:12"


def test_exabgp_hears_of_its_own_site_only_and_of_changes(flows: Flows) -> None:
    flows.apply("e1.yaml", E1 + RULES + LAB)
    drop = ["target:65000:1102", "rate-limit:0"]
    wait_until(lambda: of_exabgp(flows) == {LAB_FLOW: drop}, "one flow")
    shaped = LAB.replace("deny", "accept") + "    rate: 8 kb/s\n"
    flows.apply("e1.yaml", E1 + RULES + shaped)
    limited = ["target:65000:1102", "rate-limit:1000"]
    wait_until(lambda: of_exabgp(flows) == {LAB_FLOW: limited}, "another rate")
    flows.apply("e1.yaml", E1 + RULES)
    wait_until(lambda: of_exabgp(flows) == {}, "no flow")


def of_frr(flows: Flows, version: int) -> set[str]:
    """FRR's entries, each in one line."""
    text = flows.frr.vtysh(f"show bgp ipv{version} flowspec detail")
    entries = text.split("BGP flowspec entry:")[1:]
    return {
        " ".join(
            " ".join(line.split())
            for line in entry.splitlines()[1:]
            if line.startswith("\t") and "received for" not in line and "PBR" not in line
        )
        for entry in entries
    }


def test_frr_reads_those_of_its_only_vpn(flows: Flows) -> None:
    wait_until(lambda: len(of_frr(flows, 6)) == 2, "FRR's flows")
    assert of_frr(flows, 4) == {
        "Destination Address 192.0.2.0/24 IP Protocol = 6 Destination Port = 23 FS:rate 0.000000",
        "Destination Address 192.0.2.0/24 IP Protocol = 17 Source Port = 53 FS:rate 125000.000000",
    }
    assert of_frr(flows, 6) == {
        "Destination Address 2001:db8:3::/48/off 0 IP Protocol = 6 Destination Port = 23"
        " FS:rate 0.000000",
        "Destination Address 2001:db8:3::/48/off 0 IP Protocol = 17 Source Port = 53"
        " FS:rate 125000.000000",
    }


def test_the_controller_tells_who_has_what(flows: Flows) -> None:
    assert len(flows.access("frr")) == 4
    assert flows.access("exabgp") == {}
    assert len(flows.access("gobgp")) == 12


def test_what_a_pe_announces_itself_is_refused_and_counted(flows: Flows) -> None:
    words = "match destination 10.1.0.0/16 then discard rd 65000:11 rt 65000:1101"
    flows.gobgp.cli("global", "rib", "add", "-a", "ipv4-l3vpn-flowspec", *words.split())

    def heard() -> dict[str, Any]:
        peers = flows.serve.client.get("peers")["peers"]
        return next(peer for peer in peers if peer["name"] == "gobgp")

    wait_until(lambda: heard()["refused_flows"] == 1, "the flow to be refused")
    (route,) = flows.serve.client.get("peers", "gobgp", "rib-in")["routes"]
    assert route["status"].startswith("refused: flow routes are made of access rules")
    assert of_exabgp(flows) == {}


def test_a_trusted_pe_has_the_others_drop_what_its_routes_lead_to(flows: Flows) -> None:
    """The flow of the test before, once GoBGP is trusted, while it announces the prefix."""
    network = (flows.policies / "network.yaml").read_text()
    trusted = network.replace("gobgp: {", "gobgp: {flow_routes: true, ")
    assert trusted != network
    flows.apply("network.yaml", trusted)
    (status,) = (
        route["status"]
        for route in flows.serve.client.get("peers", "gobgp", "rib-in")["routes"]
        if route["family"] == "ipv4 flow-vpn"
    )
    assert status.endswith("no unicast route leads to its destination (b)")
    route = ["-a", "vpnv4", "10.1.0.0/16", "label", "100", "rd", "65000:11", "rt", "65000:1101"]
    heard = {"flow destination-ipv4 10.1.0.0/16 rd 65000:11": ["target:65000:1102", "rate-limit:0"]}
    for _ in range(2):
        flows.gobgp.cli("global", "rib", "add", *route)
        wait_until(lambda: of_exabgp(flows) == heard, "the flow at the other site")
        flows.gobgp.cli("global", "rib", "del", *route)
        wait_until(lambda: of_exabgp(flows) == {}, "the flow to go with the route")
    flows.gobgp.cli("global", "rib", "add", *route)
    wait_until(lambda: of_exabgp(flows) == heard, "the flow at the other site")
    flows.apply("network.yaml", network)
    wait_until(lambda: of_exabgp(flows) == {}, "the flow to go with the trust")


def test_a_plan_that_would_mislead_is_refused(flows: Flows) -> None:
    (flows.policies / "e1.yaml").write_text(E1 + RULES + "  - accept: {to: 10.1.0.9/32, at: hq}\n")
    with pytest.raises(VpnctlError) as refused:
        flows.serve.client.post("plan", {})
    said = json.dumps([problem.message for problem in refused.value.mistakes])  # type: ignore[attr-defined]
    assert "RFC 8955 section 5.1" in said
    (flows.policies / "e1.yaml").write_text(E1 + RULES)


def test_the_rules_go_with_their_vpn(flows: Flows) -> None:
    (flows.policies / "plain.yaml").unlink()
    flows.serve.client.post("apply", {"author": "test"}, wait_s=10)
    wait_until(lambda: of_frr(flows, 4) == of_frr(flows, 6) == set(), "FRR to forget them")
