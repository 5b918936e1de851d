"""BIRD, inside and outside, reads our flow routes as the rules that the operator wrote.

The session inside is guarded with an MD5 key (RFC 2385) and TTL security (RFC 5082).
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.peers.test_bird import WITHIN, Bird, bird, namespace
from tests.support.daemons import wait_until
from tests.support.serve import Serve

__all__ = ["namespace"]

pytestmark = pytest.mark.daemon

_NETWORK = """\
controller: {asn: 65000, router_id: 10.255.0.1, listen: 127.0.0.1:1790}
sites:
  west: {kind: enterprise, pes: inside}
  east: {kind: enterprise, pes: outside}
pes:
  inside:
    address: 127.0.0.2
    families: [vpnv4, ipv4 flow, ipv6 flow]
    passive: true
    guard: {md5: {file: "KEY"}, hops: 2}
  outside:
    {address: 127.0.0.3, asn: 4200000011, families: [vpnv4, ipv4 flow, ipv6 flow], passive: true}
"""
_OFFICE = """\
vpn: office
service: l3vpn
sites:
  - {site: west, prefixes: [10.7.0.0/16, "2001:db8:7::/48"]}
  - {site: east, prefixes: [10.8.0.0/16, "2001:db8:8::/48"]}
access:
  - deny: {to: west, protocol: tcp, to_port: [22, 8000-8080]}
  - accept: {to: east, protocol: [icmp, icmp6], length: 28-128}
    rate: 100 packets/s
  - deny: {to: [west, east], fragment: is-fragment}
"""
_CONFIGURATION = """\
router id {router_id};
flow4 table four;
flow6 table six;
protocol device {{ }}
protocol bgp reflector {{
  local {local} as {asn};
  neighbor 127.0.0.1 port 1790 as 65000;
  multihop 2;
  {guard}
  strict bind;
  connect retry time 1;
  connect delay time 1;
  flow4 {{ table four; import all; export none; }};
  flow6 {{ table six; import all; export none; }};
}}
"""


def held(daemon: Bird, table: str) -> dict[str, str]:
    """BIRD's words for each flow -> its extended communities."""
    found: dict[str, str] = {}
    name = ""
    for line in daemon.ask(f"show route table {table} protocol reflector all").splitlines():
        if line.startswith(table.replace("four", "flow4").replace("six", "flow6")):
            name = line[line.index("{") + 1 : line.index("}")].strip()
            found[name] = ""
        elif line.startswith("\tBGP.ext_community:"):
            found[name] = line.partition(":")[2].strip()
    return found


@pytest.mark.usefixtures("namespace")
def test_bird_reads_flow_routes(tmp_path: Path) -> None:
    policies = tmp_path / "policies"
    policies.mkdir()
    key = tmp_path / "key"
    key.touch(0o600)
    key.write_text("hunter2\n")
    (policies / "network.yaml").write_text(_NETWORK.replace("KEY", str(key)))
    (policies / "office.yaml").write_text(_OFFICE)
    with ExitStack() as stack:
        serve = stack.enter_context(
            Serve(policies, f"sqlite:///{tmp_path / 'store'}", tmp_path, WITHIN)
        )
        inside, outside = (
            stack.enter_context(
                bird(
                    tmp_path / name, _CONFIGURATION, router_id=f"10.255.1.{number}", asn=asn,
                    local=f"127.0.0.{number}", guard=guard,
                )
            )
            for name, number, asn, guard in (
                ("inside", 2, 65000, 'password "hunter2"; ttl security on;'),
                ("outside", 3, 4200000011, ""),
            )
        )  # fmt: skip

        def everywhere() -> bool:
            return all(
                len(held(one, table)) == 3 for one in (inside, outside) for table in ("four", "six")
            )

        try:
            wait_until(everywhere, "all flows at both BIRDs")
        except AssertionError as error:
            said = [
                each.ask(what)
                for each in (inside, outside)
                for what in ("show protocols all reflector", "show route all")
            ]
            raise AssertionError("\n".join([str(error), *said, serve.said()])) from error

        guarded = {one["name"]: one["protection"] for one in serve.client.get("peers")["peers"]}
        assert guarded == {"inside": ["md5", "hops 2"], "outside": []}
        drop = "(generic, 0x8006fde8, 0x0)"
        packets = "(generic, 0x800cfde8, 0x42c80000)"
        whole = {f"dst 10.{number}.0.0/16; fragment is_fragment;": drop for number in (7, 8)}
        assert held(inside, "four") == whole | {
            "dst 10.7.0.0/16; proto 6; dport 22,8000..8080;": drop,
        }
        assert held(outside, "four") == whole | {
            "dst 10.8.0.0/16; proto 1; length 28..128;": packets,
        }
        whole = {f"dst 2001:db8:{number}::/48; fragment is_fragment;": drop for number in (7, 8)}
        assert held(inside, "six") == whole | {
            "dst 2001:db8:7::/48; next header 6; dport 22,8000..8080;": drop,
        }
        assert held(outside, "six") == whole | {
            "dst 2001:db8:8::/48; next header 58; length 28..128;": packets,
        }
        (policies / "office.yaml").unlink()
        serve.client.post("apply", {"author": "test"}, wait_s=10)
        wait_until(lambda: not held(inside, "four"), "the flows to be withdrawn")
        wait_until(lambda: not held(outside, "six"), "the flows to be withdrawn")
