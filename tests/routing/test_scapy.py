"""What goes out, read by another implementation: scapy's BGP dissector."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

import pytest
from scapy.contrib import bgp

from tests.routing import wire
from tests.routing.test_engine import PE0, PE1, PE2, House
from vpnctl.model import VPLS, VPNV4, VPNV6, Family

bgp.bgp_module_conf.use_2_bytes_asn = False

_RICH = (
    wire.attribute(0x80, 4, b"\0\0\0\7")
    + wire.attribute(0xC0, 7, struct.pack("!I", 70000) + b"\x0a\0\0\1")
    + wire.attribute(0xC0, 8, struct.pack("!HH", 64512, 7))
    + wire.attribute(0xC0, 99, b"unknown")
)
_TARGETS = {VPNV4: "65000:1001", VPNV6: "65000:1001", VPLS: "65000:2001"}


def _nlris(family: Family, count: int) -> list[bytes]:
    if family == VPLS:
        return [wire.vpls(20, item) for item in range(count)]
    return [wire.vpnv4(10, bytes((10, item))) for item in range(count)]


@pytest.mark.parametrize("family", [VPNV4, VPNV6, VPLS])
@pytest.mark.parametrize("rich", [False, True])
@pytest.mark.parametrize("count", [1, 7, 200])
def test_updates_as_scapy_reads_them(family: Family, rich: bool, count: int) -> None:
    house = House()
    nlris = _nlris(family, count)
    path = wire.attribute(0x40, 2, wire.as_path(64512))
    targets = wire.targets(_TARGETS[family], others=bytes.fromhex("030c000000000008"))
    attributes = wire.ORIGIN + path + wire.LOCAL_PREF + (_RICH if rich else b"") + targets
    for nlri in nlris:
        house.say(PE0, wire.update(wire.reach(family, nlri), attributes))
    house.engine.refresh(PE1, family)
    for number in (PE1, PE2):
        external = number == PE2
        for kind, octets in house.output.take(number):
            packet = bgp.BGPHeader(wire.message(octets, kind))
            update = packet[bgp.BGPUpdate]
            assert update.withdrawn_routes_len == 0
            found = {attribute.type_code: attribute.attribute for attribute in update.path_attr}
            reach = found[14]
            assert (reach.afi, reach.safi) == (family.afi, family.safi)
            segments = [(s.segment_type, s.segment_value) for s in found[2].segments]
            assert segments == [(2, [wire.LOCAL_ASN, 64512] if external else [64512])]
            communities = found[16].extended_communities
            assert [bytes(c) for c in communities][-1] == bytes.fromhex("030c000000000008")
            assert len(communities) == 2
            assert (5 in found, 9 in found, 10 in found) == (not external,) * 3
            if not external:
                assert found[9].originator_id == "10.0.0.1"
                assert found[10].cluster_list == [int(IPv4Address("10.0.0.100"))]
            assert (99 in found) is rich
            assert 4 not in found or not external
