"""One session's timers, back-pressure and ends, with a clock of the test's own."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from tests.support.rawbgp import split_messages, update
from vpnctl.bgp.messages import KEEPALIVE, message, notification
from vpnctl.bgp.session import CREDIT, ConnectionLost, MustNotify, PeerNotified, Session
from vpnctl.bgp.wire import Kind


class Link:
    """A session at one end of a socket, the test at the other."""

    def __init__(self, hold_time: float = 9.0, message_size: int = 4096) -> None:
        ours, self.peer = socket.socketpair()
        ours.setblocking(False)
        self.ours = ours
        self.frames: list[tuple[int, bytes]] = []
        self.session = Session(
            1,
            ours,
            message_size=message_size,
            hold_time=hold_time,
            emit=lambda kind, payload: self.frames.append((kind, payload)),
            now=0.0,
        )

    def received(self, octets: bytes, now: float = 0.0) -> list[tuple[int, bytes]]:
        self.frames.clear()
        self.peer.sendall(octets)
        self.session.read(now)
        return self.frames

    def written(self, now: float) -> list[bytes]:
        self.session.check_timers(now)
        self.session.write(now)
        self.peer.setblocking(False)
        try:
            return split_messages(self.peer.recv(1 << 20))
        except BlockingIOError:
            return []


@pytest.fixture
def link() -> Iterator[Link]:
    link = Link()
    with link.ours, link.peer:
        yield link


def test_updates_are_forwarded_as_they_came(link: Link) -> None:
    one, two, three = update(1), update(2), update(3)
    assert link.received(one + two + KEEPALIVE + three[:30]) == [(Kind.UPDATES, one + two)]
    assert link.received(three[30:]) == [(Kind.UPDATES, three)]


def test_a_route_refresh_goes_to_the_controller(link: Link) -> None:
    body = struct.pack("!HBB", 25, 0, 70)
    assert link.received(message(5, body)) == [(Kind.REFRESH, body)]


def test_what_came_before_a_mistake_is_still_forwarded(link: Link) -> None:
    with pytest.raises(MustNotify) as caught:
        link.received(update(1) + b"\xff" * 16 + b"\x00\x05\x02")
    assert link.frames == [(Kind.UPDATES, update(1))]
    assert caught.value.message == notification(1, 2, b"\x00\x05")


def test_an_open_in_the_middle_is_an_error_of_the_state_machine(link: Link) -> None:
    with pytest.raises(MustNotify) as caught:
        link.received(message(1, bytes(10)))
    assert (caught.value.code, caught.value.subcode) == (5, 3)


def test_a_refresh_of_a_wrong_length_is_answered_as_rfc_7313_says(link: Link) -> None:
    wrong = message(5, struct.pack("!HBB", 25, 1, 70) + b"x")
    with pytest.raises(MustNotify) as caught:
        link.received(wrong)
    assert caught.value.message == notification(7, 1, wrong)


def test_a_notification_ends_the_session(link: Link) -> None:
    with pytest.raises(PeerNotified) as caught:
        link.received(update(1) + notification(6, 4, b"xy"))
    assert caught.value.args == (6, 4, b"xy")
    assert link.frames == [(Kind.UPDATES, update(1))]


def test_the_end_of_the_connection_ends_the_session(link: Link) -> None:
    link.peer.close()
    with pytest.raises(ConnectionLost, match="closed the connection"):
        link.session.read(0.0)


def test_keepalives_go_out_every_third_of_the_hold_time(link: Link) -> None:
    link.received(KEEPALIVE, 2.0)
    assert link.written(2.9) == []
    assert link.written(3.0) == [KEEPALIVE]
    assert link.written(5.9) == []
    assert link.written(6.1) == [KEEPALIVE]


def test_keepalives_go_between_messages_that_wait(link: Link) -> None:
    many = [update(i, size=4096) for i in range(2000)]
    link.session.outbox.append(b"".join(many))
    link.session.write(0.0)
    assert link.session.outbox.blocked
    link.received(KEEPALIVE, 2.0)
    link.session.check_timers(3.0)
    octets = b""
    while link.session.outbox:
        octets += link.peer.recv(1 << 20)
        link.session.write(3.0)
    link.peer.setblocking(False)
    try:
        while chunk := link.peer.recv(1 << 20):
            octets += chunk
    except BlockingIOError:
        pass
    received = split_messages(octets)
    at = received.index(KEEPALIVE)
    assert 0 < at < len(many)
    assert received[:at] + received[at + 1 :] == many


def test_without_a_hold_time_nothing_expires() -> None:
    link = Link(hold_time=0)
    with link.ours, link.peer:
        assert link.written(100000.0) == []


def test_the_hold_timer_expires_when_nothing_comes(link: Link) -> None:
    link.received(KEEPALIVE, 5.0)
    link.session.check_timers(13.9)
    with pytest.raises(MustNotify) as caught:
        link.session.check_timers(14.0)
    assert (caught.value.code, caught.value.subcode) == (4, 0)


def test_updates_count_as_signs_of_life(link: Link) -> None:
    link.received(update(1), 8.0)
    link.session.check_timers(16.0)


def test_what_lies_unread_counts_before_the_hold_timer_expires(link: Link) -> None:
    link.peer.sendall(KEEPALIVE)
    link.session.check_timers(1000.0)
    link.session.check_timers(1008.9)


def test_the_hold_timer_waits_while_the_controller_does_not_read(link: Link) -> None:
    link.session.held = True
    link.session.check_timers(1000.0)
    link.session.held = False
    link.session.check_timers(1008.9)
    with pytest.raises(MustNotify):
        link.session.check_timers(1009.1)


def test_too_much_unprocessed_stops_reading_until_there_is_credit(link: Link) -> None:
    one = update(1, size=4096)
    link.peer.setblocking(True)
    forwarded = 0
    while link.session.reading:
        forwarded += sum(len(payload) for _, payload in link.received(one * 16))
    assert CREDIT < forwarded <= CREDIT + 16 * 4096
    link.session.check_timers(1000.0)  # the hold timer waits
    link.session.consumed(forwarded // 4)
    assert not link.session.reading
    link.session.consumed(forwarded)
    assert link.session.reading


def test_a_peer_that_takes_nothing_for_minutes_is_given_up(link: Link) -> None:
    link.session.outbox.append(update(1, size=4096) * 2000)
    link.session.write(0.0)
    link.session.held = True  # it may well send
    link.session.check_timers(479.0)
    with pytest.raises(MustNotify) as caught:
        link.session.check_timers(481.0)
    assert (caught.value.code, caught.value.subcode) == (8, 0)
