"""Flow routes as others decode them: ExaBGP's classes, tshark."""

from __future__ import annotations

import json
import os
import struct
import subprocess
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemons import require
from vpnctl.flowspec import actions
from vpnctl.flowspec.flows import flows
from vpnctl.flowspec.nlri import flow_family, frame, make_key
from vpnctl.model import Family, RouteDistinguisher, RouteTarget
from vpnctl.model.access import Fragment, Match, Span, TcpFlags
from vpnctl.routing import update

RD = RouteDistinguisher.parse("10.0.0.1:100")
EVERYTHING = Match(
    versions=frozenset((4, 6)),
    destinations=(ip_network("10.1.0.0/16"), ip_network("2001:db8:1::/48")),
    sources=(ip_network("192.0.2.0/25"), ip_network("2001:db8:2::/64")),
    protocols=(Span(6, 6), Span(17, 17)),
    ports=(Span(22, 22),),
    destination_ports=(Span(80, 80), Span(8000, 8080)),
    source_ports=(Span(1024, 65535),),
    icmp_types=(Span(8, 8),),
    icmp_codes=(Span(0, 3),),
    tcp_flags=TcpFlags(0x02, 0x10),
    lengths=(Span(0, 128), Span(1500, 1500)),
    dscps=(Span(46, 46),),
    fragments=(Fragment.IS,),
)


def nlri(version: int, *, vpn: bool) -> tuple[Family, bytes]:
    (flow,) = flows(EVERYTHING, version)
    return flow_family(version, vpn=vpn), frame(make_key(RD if vpn else None, version, flow))


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("vpn", [False, True])
def test_exabgp_decodes_every_component(version: int, vpn: bool) -> None:
    from exabgp.bgp.message.action import Action
    from exabgp.bgp.message.update.nlri.flow import Flow
    from exabgp.protocol.family import AFI, SAFI

    family, octets = nlri(version, vpn=vpn)
    decoded, rest = Flow.unpack_nlri(
        AFI(family.afi), SAFI(family.safi), octets, Action.ANNOUNCE, None
    )
    assert rest == b""
    found = json.loads(decoded.json())
    found.pop("string")
    ends: dict[str, Any] = {
        "destination-ipv4": ["10.1.0.0/16"],
        "source-ipv4": ["192.0.2.0/25"],
        "protocol": ["=tcp", "=udp"],
    }
    if version == 6:
        ends = {
            "destination-ipv6": ["2001:db8:1::/48/0"],
            "source-ipv6": ["2001:db8:2::/64/0"],
            "next-header": ["=tcp", "=udp"],
        }
    assert found == {
        **ends,
        "port": ["=22"],
        "destination-port": ["=80", ">=8000&<=8080"],
        "source-port": [">=1024&<=65535"],
        "icmp-type": ["=echo-request"],
        "icmp-code": [">=0&<=3"],
        "tcp-flags": ["=syn&!ack"],
        "packet-length": [">=0&<=128", "=1500"],
        **({"dscp": ["=46"]} if version == 4 else {"traffic-class": ["=46"]}),
        "fragment": ["=is-fragment"],
        **({"rd": "10.0.0.1:100"} if vpn else {}),
    }


def capture(file: Path, octets: bytes) -> None:
    """One TCP segment to port 179 with these octets, as a pcap file."""
    tcp = struct.pack("!HHIIBBHHH", 40000, 179, 1, 1, 0x50, 0x18, 8192, 0, 0) + octets
    ends = bytes((10, 0, 0, 1, 10, 0, 0, 2))
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0) + ends
    frame_octets = bytes(12) + b"\x08\x00" + ip + tcp
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    size = len(frame_octets)
    file.write_bytes(head + struct.pack("<IIII", 0, 0, size, size) + frame_octets)


def tshark(file: Path) -> str:
    done = subprocess.run(
        ["tshark", "-r", str(file), "-V", "-O", "bgp"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "HOME": str(file.parent)},
    )
    return done.stdout


@pytest.mark.daemon
@pytest.mark.parametrize("vpn", [False, True])
def test_tshark_decodes_the_update(vpn: bool, tmp_path: Path) -> None:
    require("tshark")
    family, octets = nlri(4, vpn=vpn)
    communities = (
        RouteTarget.parse("65000:101").octets
        + actions.rate_bytes(1_250_000.0, 65000)
        + actions.mark(46)
        + actions.redirect(RouteTarget.parse("65000:9101"))
    )
    attributes = bytes((0xC0, 16, len(communities))) + communities
    message = update.announcing(family.octets, b"", octets, len(attributes)) + attributes
    capture(tmp_path / "bgp.pcap", message)
    found = tshark(tmp_path / "bgp.pcap")
    assert "Malformed" not in found
    filters = {
        " ".join(line.split())
        for line in found.splitlines()
        if line.lstrip().startswith("Filter: ") and "TCP flags" not in line
    }
    assert filters == {
        "Filter: Destination prefix filter (10.1.0.0/16)",
        "Filter: Source prefix filter (192.0.2.0/25)",
        "Filter: Protocol / Next Header filter (=6 || =17)",
        "Filter: Port filter (=22)",
        "Filter: Destination port filter (=80 || >=8000 && <=8080)",
        "Filter: Source port filter (>=1024 && <=65535)",
        "Filter: ICMP type filter (=8)",
        "Filter: ICMP code filter (>=0 && <=3)",
        "Filter: Packet Length filter (>=0 && <=128 || =1500)",
        "Filter: DSCP marking filter (=Expedited Forwarding)",
        "Filter: IP fragment filter (= IsF)",
    }
    for words in (
        "Route Target: 65000:101 ",
        "Flow spec traffic-rate: ASN 65000, 10.000 Mbps",
        "Flow spec traffic-remarking: Expedited Forwarding",
        "Flow spec redirect AS 2 bytes: RT 65000:9101",
    ):
        assert words in found
    assert ("Route Distinguisher" in found) is vpn
