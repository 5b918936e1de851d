"""Whatever pieces the kernel takes, the peer reads whole messages in order."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.rawbgp import split_messages, update
from vpnctl.bgp.messages import KEEPALIVE, notification
from vpnctl.bgp.outbox import Outbox


class Kernel:
    """A socket that takes ``room`` octets."""

    def __init__(self) -> None:
        self.room = 0
        self.taken = b""

    def sendmsg(self, buffers: list[memoryview]) -> int:
        if not self.room:
            raise BlockingIOError
        octets = b"".join(buffers)[: self.room]
        self.room -= len(octets)
        self.taken += octets
        return len(octets)


def write(outbox: Outbox, kernel: Kernel, room: int) -> int:
    kernel.room = room
    return outbox.write(kernel, 1 << 20)  # type: ignore[arg-type]


STEP = st.one_of(
    st.tuples(st.just("send"), st.integers(1, 5)),
    st.tuples(st.just("write"), st.integers(1, 300)),
    st.tuples(st.just("keepalive"), st.just(0)),
)


@given(st.lists(STEP, max_size=40), st.booleans())
def test_messages_stay_whole_and_in_order(steps: list[tuple[str, int]], end: bool) -> None:
    outbox, kernel, sent = Outbox(), Kernel(), []
    for step, number in steps:
        if step == "send":
            some = [update(len(sent) + i) for i in range(number)]
            sent += some
            outbox.append(b"".join(some))
        elif step == "write":
            write(outbox, kernel, number)
        else:
            outbox.keepalive()
        assert outbox.written + outbox.pending == sum(map(len, sent))
    last = notification(6, 2)
    if end:
        outbox.finish_with(last)
    write(outbox, kernel, 1 << 20)
    assert not outbox
    assert outbox.pending == 0
    received = split_messages(kernel.taken)
    updates = [one for one in received if one[18] == 2]
    assert updates == sent[: len(updates)]
    assert outbox.written == sum(map(len, updates))
    if end:
        assert received[-1] == last
    else:
        assert updates == sent


def test_a_keepalive_goes_before_all_that_waits() -> None:
    outbox, kernel = Outbox(), Kernel()
    outbox.append(update(1) + update(2) + update(3))
    write(outbox, kernel, 10)
    outbox.keepalive()
    outbox.keepalive()
    write(outbox, kernel, 1 << 20)
    assert split_messages(kernel.taken) == [update(1), KEEPALIVE, update(2), update(3)]


def test_the_last_message_overtakes_what_waits() -> None:
    outbox, kernel = Outbox(), Kernel()
    outbox.append(update(1) + update(2))
    outbox.append(update(3))
    write(outbox, kernel, 10)
    outbox.finish_with(notification(6, 2))
    write(outbox, kernel, 1 << 20)
    assert split_messages(kernel.taken) == [update(1), notification(6, 2)]
    assert outbox.written == len(update(1))


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def test_a_full_socket_blocks_until_it_is_read(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    outbox = Outbox()
    data = b"".join(update(i, size=4000) for i in range(1000))
    outbox.append(data)
    received = b""
    while outbox:
        outbox.write(ours, 1 << 20)
        assert outbox.blocked == bool(outbox)
        received += theirs.recv(1 << 20)
    while len(received) < len(data):
        received += theirs.recv(1 << 20)
    assert received == data
