"""Lines as ExaBGP 5.0.15 wrote them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vpnctl.lab.vplspe.events import (
    Announced,
    EndOfRib,
    SessionDown,
    SessionUp,
    Withdrawn,
    read_event,
)
from vpnctl.lab.vplspe.labels import LabelBlock
from vpnctl.lab.vplspe.values import Layer2Info, NlriKey
from vpnctl.model import RouteTarget

NEIGHBOR = {
    "address": {"local": "127.0.0.5", "peer": "127.0.0.1"},
    "asn": {"local": 65000, "peer": 65000},
    "router-id": "10.0.0.1",
}


def line(kind: str, **more: Any) -> str:
    return json.dumps({"exabgp": "5.0.0", "type": kind, "neighbor": {**NEIGHBOR, **more}})


def update(**said: Any) -> str:
    return line("update", direction="receive", message={"update": said})


NLRI = {"rd": "10.0.0.2:1", "endpoint": 2, "base": 2000, "offset": 1, "size": 8}


def test_sessions_come_and_go() -> None:
    assert read_event(line("state", state="connected")) == []
    assert read_event(line("state", state="up")) == [SessionUp("127.0.0.1")]
    down = line("state", state="down", reason="closing connection")
    assert read_event(down) == [SessionDown("127.0.0.1", "closing connection")]


@pytest.mark.parametrize(("subcode", "for_good"), [(9, True), (4, False), (90, False)])
def test_a_hard_reset_is_told_from_other_ends(subcode: int, for_good: bool) -> None:
    reason = f"peer reset, message (notification received (6,{subcode})) error(Cease)"
    assert read_event(line("state", state="down", reason=reason)) == [
        SessionDown("127.0.0.1", reason, for_good)
    ]


def test_an_end_of_rib_names_its_family() -> None:
    end = line("update", message={"eor": {"afi": "l2vpn", "safi": "vpls"}})
    assert read_event(end) == [EndOfRib("127.0.0.1", "l2vpn vpls")]


@pytest.mark.parametrize(("community", "stale"), [([65535, 6], True), ([65000, 6], False)])
def test_a_route_says_that_its_pe_has_been_away_for_long(community: list[int], stale: bool) -> None:
    (event,) = read_event(
        update(
            attribute={"community": [[65000, 1], community]},
            announce={"l2vpn vpls": {"10.0.0.2": [NLRI]}},
        )
    )
    assert isinstance(event, Announced)
    assert event.route.long_lived_stale is stale


def test_an_announcement_has_block_targets_and_layer_2_info() -> None:
    (event,) = read_event(
        update(
            attribute={
                "origin": "igp",
                "local-preference": 200,
                "extended-community": [
                    {"value": 842122827661413, "string": "target:65000:101"},
                    {"value": 0x0102_0A00_0001_0066, "string": "target:10.0.0.1:102"},
                    {"value": 0x0003_FDE8_0000_0001, "string": "origin:65000:1"},
                    {"value": 9226207677434560512, "string": "l2info:19:0:1400:0"},
                ],
            },
            announce={"l2vpn vpls": {"10.0.0.2": [NLRI]}},
        )
    )
    assert isinstance(event, Announced)
    assert event.neighbor == "127.0.0.1"
    route = event.route
    assert route.key == NlriKey("10.0.0.2:1", 2, 1)
    assert str(route.key) == "10.0.0.2:1:ve2@1"
    assert (route.block, route.next_hop) == (LabelBlock(2000, 1, 8), "10.0.0.2")
    wanted = {RouteTarget.parse("65000:101"), RouteTarget.parse("10.0.0.1:102")}
    assert route.targets == wanted
    assert (route.local_preference, route.layer2) == (200, Layer2Info(19, 1400))


def test_a_route_without_attributes_has_no_targets() -> None:
    (event,) = read_event(update(announce={"l2vpn vpls": {"10.0.0.2": [NLRI]}}))
    assert isinstance(event, Announced)
    assert (event.route.targets, event.route.local_preference) == (frozenset(), 100)


def test_a_withdrawal_names_the_route() -> None:
    assert read_event(update(withdraw={"l2vpn vpls": [NLRI]})) == [
        Withdrawn("127.0.0.1", NlriKey("10.0.0.2:1", 2, 1))
    ]


@pytest.mark.parametrize(
    "other",
    [
        '{"exabgp": "5.0.0", "type": "notification", "notification": "shutdown"}',
        update(announce={"ipv4 unicast": {"10.0.0.2": [{"nlri": "10.0.0.0/8"}]}}),
        line("keepalive"),
    ],
)
def test_what_does_not_matter_is_passed_over(other: str) -> None:
    assert read_event(other) == []


@pytest.mark.parametrize(
    "nonsense",
    ["", "done", "[]", '{"neighbor": {}}', line("state"), update(withdraw={"l2vpn vpls": [{}]})],
)
def test_what_exabgp_does_not_write_is_refused(nonsense: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- of json or ours
        read_event(nonsense)
