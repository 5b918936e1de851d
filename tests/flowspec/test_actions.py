"""What becomes of a packet, as extended communities (RFC 8955 section 7)."""

from __future__ import annotations

import pytest

from vpnctl.flowspec import actions
from vpnctl.model import RouteTarget


@pytest.mark.parametrize(
    ("community", "octets", "text"),
    [
        (actions.rate_bytes(0.0, 65000), "8006fde800000000", "drop"),
        (actions.rate_bytes(1_250_000.0), "8006000049989680", "at most 10 Mb/s"),
        (actions.rate_bytes(10.0), "8006000041200000", "at most 80 b/s"),
        (actions.rate_bytes(125.0), "8006000042fa0000", "at most 1 kb/s"),
        (actions.rate_bytes(1.25e9), "800600004e9502f9", "at most 10 Gb/s"),
        (actions.rate_packets(100.0, 65000), "800cfde842c80000", "at most 100 packets/s"),
        (actions.mark(46), "800900000000002e", "mark DSCP 46"),
        (
            actions.redirect(RouteTarget.parse("65000:101")),
            "8008fde800000065",
            "redirect to 65000:101",
        ),
        (
            actions.redirect(RouteTarget.parse("10.0.0.1:7")),
            "81080a0000010007",
            "redirect to 10.0.0.1:7",
        ),
        (
            actions.redirect(RouteTarget.parse("4200000000:7")),
            "8208fa56ea000007",
            "redirect to 4200000000:7",
        ),
    ],
)
def test_actions(community: bytes, octets: str, text: str) -> None:
    assert community.hex() == octets
    assert list(actions.action_texts(community)) == [text]


def test_an_as_number_of_four_octets_does_not_fit_a_rate() -> None:
    assert actions.rate_bytes(0.0, 4_200_000_000)[2:4] == b"\0\0"


def test_what_is_no_action_is_not_told() -> None:
    assert list(actions.action_texts(actions.NO_ACTION + RouteTarget.parse("1:1").octets)) == []
