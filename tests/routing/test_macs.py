"""Which MAC addresses UPDATEs are about: announced, withdrawn, and nothing else."""

from __future__ import annotations

import pytest

from tests.routing import wire
from vpnctl.model import EVPN, VPLS
from vpnctl.routing.macs import macs_in

OURS, OTHER = b"\x52\x54\0\0\0\x01", b"\x52\x54\0\0\0\x02"


def told(*messages: bytes) -> list[tuple[bool, bytes]]:
    return list(macs_in(b"".join(messages), {OURS}))


def test_announced_and_withdrawn_in_the_order_of_the_messages() -> None:
    announced = wire.update(wire.reach(EVPN, wire.evpn_mac(1, OTHER), wire.evpn_mac(1, OURS)))
    withdrawn = wire.update(wire.unreach(EVPN, wire.evpn_mac(2, OURS)))
    assert told(announced, withdrawn, announced) == [(True, OURS), (False, OURS), (True, OURS)]


def test_with_an_ip_address_it_is_the_same_mac() -> None:
    route = wire.evpn_mac(1, OURS, address=b"\x0a\0\0\1")
    assert told(wire.update(wire.reach(EVPN, route))) == [(True, OURS)]


@pytest.mark.parametrize(
    "message",
    [
        wire.update(wire.reach(EVPN, wire.evpn_mac(1, OTHER))),
        # The same octets, but not as a MAC address.
        wire.update(wire.reach(EVPN, wire.evpn_segment(1, OURS + bytes(4), b"\x0a\0\0\1"))),
        wire.update(wire.reach(VPLS, wire.vpls(1, 2))),
        # An NLRI that ends before its time.
        wire.update(wire.reach(EVPN, wire.evpn_mac(1, OURS)[:-5])),
        b"",
    ],
)
def test_what_is_not_about_it(message: bytes) -> None:
    assert told(message) == []


def test_what_is_no_message_is_passed_over() -> None:
    assert list(macs_in(bytes(40), {OURS})) == []
