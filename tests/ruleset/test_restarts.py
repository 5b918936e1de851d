"""What ``network.yaml`` says of PEs that are away (RFC 4724, RFC 9494)."""

from __future__ import annotations

import pytest

from vpnctl.errors import PolicyError
from vpnctl.model import Pe
from vpnctl.ruleset import load

NETWORK = """\
controller: {asn: 65000, router_id: 10.0.0.100, listen: 10.0.0.100}
sites: {}
pes:
  pe-a:
    address: 10.0.0.1
    %s
"""


def pe_a(text: str) -> Pe:
    network = load({"network.yaml": (NETWORK % text).encode()}, ()).ruleset.network
    return network.pes["pe-a"]


def test_each_time_stands_for_itself() -> None:
    pe = pe_a("long_lived_graceful_restart: 86400")
    assert (pe.graceful_restart, pe.long_lived_graceful_restart) == (0, 86400)
    assert pe_a("graceful_restart: 60").long_lived_graceful_restart == 0


def test_an_internal_pe_may_be_sent_stale_routes_and_an_external_one_not() -> None:
    assert pe_a("stale_routes: true").stale_routes
    assert pe_a("stale_routes: true\n    asn: 65000").stale_routes
    with pytest.raises(PolicyError) as found:
        pe_a("stale_routes: true\n    asn: 65001")
    [mistake] = found.value.mistakes
    assert (mistake.place.line, mistake.path) == (6, "pes.pe-a.stale_routes")
    assert "AS 65001" in mistake.message
    assert mistake.hint


def test_more_seconds_than_the_capability_has_room_for_are_a_mistake() -> None:
    assert pe_a("long_lived_graceful_restart: 16777215").long_lived_graceful_restart
    with pytest.raises(PolicyError) as found:
        pe_a("long_lived_graceful_restart: 16777216")
    [mistake] = found.value.mistakes
    assert mistake.path == "pes.pe-a.long_lived_graceful_restart"
