"""Both ends digest the same octets, whatever pieces these come in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnctl.errors import SidecarProtocolError
from vpnctl.sidecar.wan.digest import ReceivedDigest, SentDigest
from vpnctl.sidecar.wan.messages import Check


@given(st.lists(st.tuples(st.binary(max_size=50), st.integers(0, 60))), st.lists(st.integers(0)))
def test_both_ends_come_to_the_same(steps: list[tuple[bytes, int]], cuts: list[int]) -> None:
    sent, given_octets, taken, handed_on = SentDigest(), b"", 0, b""
    for octets, wanted in steps:
        sent.feed(octets)
        given_octets += octets
        take = min(wanted, len(given_octets) - taken)
        handed_on += b"".join(sent.taken(take))
        taken += take
    assert handed_on == given_octets[:taken]
    received, begin = ReceivedDigest(), 0
    for end in [*sorted(cut % (taken + 1) for cut in cuts), taken]:
        received.feed(given_octets[begin:end])
        begin = end
    received.verify(sent.check())


@pytest.mark.parametrize("octets", [b"", b"abc", b"abcX", b"abcde"])
def test_other_octets_are_noticed(octets: bytes) -> None:
    sent, received = SentDigest(), ReceivedDigest()
    sent.feed(b"abcd")
    sent.taken(4)
    received.feed(octets)
    with pytest.raises(SidecarProtocolError, match="is not what its QEMU wrote"):
        received.verify(sent.check())


def test_a_check_of_nothing_holds_at_the_begin() -> None:
    received = ReceivedDigest()
    received.verify(SentDigest().check())
    with pytest.raises(SidecarProtocolError):
        received.verify(Check(0, bytes(16)))
