"""Octets go once and in order, whatever is acknowledged, cut and gone on with."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from vpnctl.errors import SidecarProtocolError
from vpnctl.sidecar.wan.transfer import Transfer


class OverManyConnections(RuleBasedStateMachine):
    """A sender and a receiver; what is under way at a cut is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.sender = Transfer(window=1000)
        self.receiver = Transfer(window=1000)
        self.put = b""
        self.got = b""
        self.under_way: list[tuple[int, bytes]] = []

    @rule(octets=st.binary(max_size=400))
    def queue(self, octets: bytes) -> None:
        self.sender.put(octets)
        self.put += octets

    @rule(limit=st.integers(1, 300))
    def send(self, limit: int) -> None:
        offset, parts = self.sender.take(limit)
        octets = b"".join(parts)
        assert len(octets) <= limit
        if octets:
            self.under_way.append((offset, octets))

    @precondition(lambda self: self.under_way)
    @rule()
    def arrive(self) -> None:
        offset, octets = self.under_way.pop(0)
        self.receiver.arrived(offset, len(octets))
        self.got += octets

    @rule()
    def acknowledge(self) -> None:
        self.sender.acknowledge(self.receiver.received)

    @rule()
    def cut_and_go_on(self) -> None:
        self.under_way.clear()
        self.sender.resume(self.receiver.received)

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        assert self.put.startswith(self.got)
        assert self.sender.unacknowledged == self.sender.queued - self.sender.acknowledged
        held = sum(map(len, self.sender._chunks)) - self.sender._gone
        assert held == self.sender.unacknowledged

    def teardown(self) -> None:
        self.cut_and_go_on()
        while self.sender.unsent:
            self.send(100)
        while self.under_way:
            self.arrive()
        assert self.got == self.put


TestOverManyConnections = OverManyConnections.TestCase


@pytest.fixture
def half_acknowledged() -> Transfer:
    """100 octets queued, 60 of them sent, 40 of these acknowledged."""
    transfer = Transfer(window=1000)
    transfer.put(bytes(100))
    transfer.take(60)
    transfer.acknowledge(40)
    return transfer


@pytest.mark.parametrize("offset", [0, 39, 61, 100, 2**64 - 1])
def test_a_peer_that_wants_what_it_cannot_want_is_refused(
    half_acknowledged: Transfer, offset: int
) -> None:
    with pytest.raises(SidecarProtocolError, match="acknowledges"):
        half_acknowledged.resume(offset)
    with pytest.raises(SidecarProtocolError, match="acknowledges"):
        half_acknowledged.acknowledge(offset)


def test_octets_sent_again_are_counted(half_acknowledged: Transfer) -> None:
    half_acknowledged.resume(45)
    assert half_acknowledged.resent == 15
    assert half_acknowledged.take(1000)[0] == 45


@pytest.mark.parametrize("offset", [0, 99, 101])
def test_a_segment_that_is_not_the_next_one_is_refused(offset: int) -> None:
    transfer = Transfer(window=1000)
    transfer.arrived(0, 100)
    with pytest.raises(SidecarProtocolError, match=f"from {offset} on, 100 was to come"):
        transfer.arrived(offset, 10)


def test_there_is_no_room_while_the_window_is_full() -> None:
    transfer = Transfer(window=100)
    transfer.put(bytes(100))
    assert not transfer.has_room
    transfer.take(100)
    transfer.acknowledge(1)
    assert transfer.has_room


def test_what_was_put_in_at_once_goes_together_if_that_leaves_no_segment_half_empty() -> None:
    transfer = Transfer(window=1000)
    for size in (60, 30, 30, 90, 200):
        transfer.put(b"h", bytes(size - 1))
    taken = []
    while transfer.unsent:
        taken.append(sum(map(len, transfer.take(100)[1])))
    # 60 and 30; 30 goes with what follows, as it would leave too much room; its rest is short, too.
    assert taken == [90, 100, 100, 100, 20]
    transfer.resume(90)
    transfer.acknowledge(90)
    assert sum(map(len, transfer.take(130)[1])) == 120
