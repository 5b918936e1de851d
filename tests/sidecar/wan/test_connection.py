"""What two sidecars say on a connection, and what neither may say."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sidecar.wan import rooms
from vpnctl.errors import SidecarProtocolError
from vpnctl.sidecar.wan import records
from vpnctl.sidecar.wan.connection import (
    ACK_ALONG,
    ACK_EVERY,
    TRANSITIONS,
    Arrived,
    Connection,
    ConnectionEvent,
    Input,
    PeerAborted,
    PeerGreeted,
    PeerLeft,
    State,
)
from vpnctl.sidecar.wan.greeting import Greeting, Role
from vpnctl.sidecar.wan.records import MAX_SEGMENT, PREFACE, Kind
from vpnctl.sidecar.wan.transfer import Transfer

SOURCE = Greeting("m1", Role.SOURCE, "0" * 16, {"stages": ["delta"]})
DESTINATION = Greeting("m1", Role.DESTINATION, "1" * 16, {})


def said(connection: Connection, limit: int = MAX_SEGMENT) -> bytes:
    """All that a connection has to say now."""
    return b"".join(iter(lambda: b"".join(connection.next_record(limit)), b""))


def hear(connection: Connection, octets: bytes) -> Iterator[ConnectionEvent]:
    """What a connection makes of ``octets``, as much of them at once as it has room for."""
    return rooms.fed(octets, connection.room, connection.receive)


def opened(ours: Transfer, theirs: Transfer) -> tuple[Connection, Connection]:
    """A source's and a destination's end of a new connection."""
    source, destination = Connection(), Connection()
    source.greet(SOURCE, ours.received)
    assert list(hear(destination, said(source))) == [PeerGreeted(SOURCE, ours.received)]
    destination.greet(DESTINATION, theirs.received)
    destination.open(theirs)
    (greeted,) = hear(source, said(destination))
    assert greeted == PeerGreeted(DESTINATION, theirs.received)
    source.open(ours)
    return source, destination


def reached(state: State) -> Connection:
    """A connection that its peer has brought to ``state``; nothing was sent to it but that."""
    connection = Connection()
    if state is State.MEETING:
        list(hear(connection, PREFACE))
        return connection
    list(hear(connection, PREFACE + records.encode(Kind.GREETING, 0, SOURCE.to_json())))
    if state is State.MET:
        return connection
    connection.open(Transfer(1000))
    if state is State.ENDED:
        list(hear(connection, records.encode(Kind.BYE, 0)))
    return connection


VALID = {
    Kind.GREETING: records.encode(Kind.GREETING, 0, SOURCE.to_json()),
    Kind.SEGMENT: records.encode(Kind.SEGMENT, 0, b"octets"),
    Kind.ACK: records.encode(Kind.ACK, 0),
    Kind.ALIVE: records.encode(Kind.ALIVE, 0),
    Kind.ABORT: records.encode(Kind.ABORT, 0, b"why"),
    Kind.BYE: records.encode(Kind.BYE, 0),
}


@pytest.mark.parametrize(("state", "kind"), list(itertools.product(State, Kind)))
def test_each_kind_of_record_is_taken_in_its_states_alone(state: State, kind: Kind) -> None:
    connection = reached(state)
    assert connection.state is state
    after = TRANSITIONS.get((state, kind))
    if after is None:
        with pytest.raises(SidecarProtocolError, match=f"{kind.name}, which makes no sense"):
            list(hear(connection, VALID[kind]))
    else:
        list(hear(connection, VALID[kind]))
        assert connection.state is after


def test_every_state_can_be_reached() -> None:
    assert {State.MEETING, *TRANSITIONS.values()} == set(State)
    assert (State.MET, Input.OPENED) in TRANSITIONS


@given(
    st.binary(max_size=3000),
    st.lists(st.tuples(st.integers(1, 700), st.integers(1, 200)), max_size=12),
)
def test_what_was_put_in_comes_out_however_often_it_is_cut(
    octets: bytes, connections: list[tuple[int, int]]
) -> None:
    ours, theirs = Transfer(10_000), Transfer(10_000)
    ours.put(octets)
    got = b""
    for passed, limit in [*connections, (10_000_000, 100)]:
        source, destination = opened(ours, theirs)
        arriving = said(source, limit)[:passed]
        for event in hear(destination, arriving):
            assert isinstance(event, Arrived)
            got += bytes(event.octets)
        # What the destination acknowledges may be lost with the connection, or not.
        if passed % 2:
            list(hear(source, said(destination)))
    assert got == octets


def test_both_directions_share_a_connection() -> None:
    ours, theirs = Transfer(1000), Transfer(1000)
    source, destination = opened(ours, theirs)
    ours.put(b"pages")
    theirs.put(b"return path")
    assert list(hear(destination, said(source))) == [Arrived(b"pages")]
    assert list(hear(source, said(destination))) == [Arrived(b"return path")]


def test_much_is_acknowledged_at_once_and_little_with_the_sign_of_life() -> None:
    ours, theirs = Transfer(10**6), Transfer(10**6)
    source, destination = opened(ours, theirs)
    ours.put(bytes(1000))
    list(hear(destination, said(source)))
    assert said(destination) == b""
    destination.alive()
    list(hear(source, said(destination)))
    assert ours.unacknowledged == 0
    ours.put(bytes(ACK_EVERY))
    list(hear(destination, said(source)))
    list(hear(source, said(destination)))
    assert ours.unacknowledged == 0


def test_what_goes_to_the_peer_anyway_takes_an_acknowledgement_along() -> None:
    ours, theirs = Transfer(10**6), Transfer(10**6)
    source, destination = opened(ours, theirs)
    for size, unacknowledged in ((ACK_ALONG - 1, ACK_ALONG - 1), (1, 0)):
        assert not source.wants_to_send
        ours.put(bytes(size))
        assert source.wants_to_send
        list(hear(destination, said(source)))
        theirs.put(b"given")
        assert list(hear(source, said(destination)))[-1] == Arrived(b"given")
        assert ours.unacknowledged == unacknowledged


def test_a_goodbye_acknowledges_everything() -> None:
    ours, theirs = Transfer(1000), Transfer(1000)
    source, destination = opened(ours, theirs)
    ours.put(b"the end")
    list(hear(destination, said(source)))
    destination.leave()
    assert list(hear(source, said(destination))) == [PeerLeft()]
    assert ours.unacknowledged == 0


def test_why_the_peer_gave_up_is_fit_for_a_terminal() -> None:
    source, destination = opened(Transfer(1000), Transfer(1000))
    destination.abort("\x1b[2Jdisk\nfull\x00" + "é" * 5000)
    (event,) = hear(source, said(destination))
    assert isinstance(event, PeerAborted)
    assert event.reason.startswith("[2Jdisk full")
    assert event.reason.isprintable()
    assert len(event.reason) <= records.MAX_REASON


def test_an_abort_overtakes_what_waits() -> None:
    ours = Transfer(10**6)
    source, destination = opened(ours, Transfer(1000))
    ours.put(bytes(500_000))
    source.abort("enough")
    assert list(hear(destination, *source.next_record(100))) == [PeerAborted("enough")]


@pytest.mark.parametrize("offset", [1, 5, 2**63])
def test_a_peer_that_has_what_was_never_sent_is_refused(offset: int) -> None:
    connection = Connection()
    greeting = PREFACE + records.encode(Kind.GREETING, offset, SOURCE.to_json())
    list(hear(connection, greeting))
    with pytest.raises(SidecarProtocolError, match="acknowledges"):
        connection.open(Transfer(1000))


@pytest.mark.parametrize(
    "record",
    [
        records.encode(Kind.SEGMENT, 6, b"a hole before it"),
        records.encode(Kind.SEGMENT, 0, b"replayed"),
        records.encode(Kind.SEGMENT, 5, b""),
        records.encode(Kind.ACK, 1),
        records.encode(Kind.BYE, 1),
    ],
)
def test_a_hole_a_replay_and_a_false_acknowledgement_are_refused(record: bytes) -> None:
    connection = reached(State.OPEN)
    list(hear(connection, records.encode(Kind.SEGMENT, 0, b"12345")))
    with pytest.raises(SidecarProtocolError):
        list(hear(connection, record))


@given(
    st.sampled_from(State),
    st.lists(st.one_of(st.binary(max_size=60), st.sampled_from(list(VALID.values())))),
)
def test_no_peer_makes_a_connection_do_anything_but_end(state: State, parts: list[bytes]) -> None:
    connection = reached(state)
    events: list[ConnectionEvent] = []
    with suppress(SidecarProtocolError):
        for part in parts:
            events += hear(connection, part)
            if connection.state is State.MET:
                connection.open(Transfer(1000))
    assert all(isinstance(event, ConnectionEvent) for event in events)
