"""What the octets of a transfer mean, and what they may not mean."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnctl.errors import SidecarProtocolError
from vpnctl.sidecar.wan import messages
from vpnctl.sidecar.wan.messages import (
    DESTINATION_SAYS,
    HEADER,
    SOURCE_SAYS,
    Check,
    End,
    Given,
    Kind,
    Message,
    MessageReader,
    Outcome,
    Payload,
    Return,
    ReturnEnd,
    Verdict,
    encode,
)

LIMIT = 300
FROM_SOURCE = st.one_of(
    st.builds(Payload, st.binary(max_size=LIMIT)),
    st.builds(Check, st.integers(0, 2**64 - 1), st.binary(min_size=16, max_size=16)),
)
FROM_DESTINATION = st.one_of(
    st.builds(Return, st.binary(max_size=LIMIT)),
    st.builds(Given, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)),
    st.just(ReturnEnd()),
)
CONVERSATIONS = st.one_of(
    st.tuples(st.just(SOURCE_SAYS), st.lists(FROM_SOURCE), st.just(End())),
    st.tuples(
        st.just(DESTINATION_SAYS),
        st.lists(FROM_DESTINATION),
        st.builds(Verdict, st.sampled_from(Outcome)),
    ),
)


def read(expected: frozenset[Kind], octets: bytes, cuts: list[int]) -> list[Message]:
    reader, found, begin = MessageReader(expected, LIMIT), [], 0
    for end in [*sorted(cut % (len(octets) + 1) for cut in cuts), len(octets)]:
        found += reader.feed(octets[begin:end])
        begin = end
    return found


def wire(*said: Message) -> bytes:
    return b"".join(part for one in said for part in encode(one))


@given(CONVERSATIONS, st.lists(st.integers(0, 5000)))
def test_messages_arrive_however_the_stream_is_cut(
    conversation: tuple[frozenset[Kind], list[Message], Message], cuts: list[int]
) -> None:
    expected, said, last = conversation
    assert read(expected, wire(*said, last), cuts) == [*said, last]


@pytest.mark.parametrize(
    ("expected", "octets", "said"),
    [
        (SOURCE_SAYS, wire(Return(b"x")), "unknown kind 16"),
        (DESTINATION_SAYS, wire(Payload(b"x")), "unknown kind 1"),
        (SOURCE_SAYS, HEADER.pack(99, 0), "unknown kind 99"),
        (SOURCE_SAYS, HEADER.pack(Kind.PAYLOAD, LIMIT + 1), "301 octets, the limit is 300"),
        (SOURCE_SAYS, HEADER.pack(Kind.PAYLOAD, 2**32 - 1), "the limit is 300"),
        (SOURCE_SAYS, HEADER.pack(Kind.END, 1), "the limit is 0"),
        (SOURCE_SAYS, HEADER.pack(Kind.CHECK, 3) + bytes(3), "no meaning"),
        (DESTINATION_SAYS, HEADER.pack(Kind.VERDICT, 1) + b"\x07", "no meaning"),
        (DESTINATION_SAYS, HEADER.pack(Kind.RETURN, messages.MAX_RETURN + 1), "the limit is"),
        (SOURCE_SAYS, wire(End(), Payload(b"more")), "went on after its last message"),
    ],
)
def test_what_a_peer_may_not_say_is_refused(
    expected: frozenset[Kind], octets: bytes, said: str
) -> None:
    with pytest.raises(SidecarProtocolError, match=said):
        read(expected, octets, [])


@given(st.sampled_from([SOURCE_SAYS, DESTINATION_SAYS]), st.binary(max_size=2000))
def test_any_octets_end_in_messages_or_in_an_error(
    expected: frozenset[Kind], octets: bytes
) -> None:
    with suppress(SidecarProtocolError):
        assert {one.kind for one in read(expected, octets, [])} <= expected


def test_a_message_that_trickles_in_takes_no_more_than_its_octets() -> None:
    """A peer may send each octet in a segment of its own."""
    reader, octets = MessageReader(SOURCE_SAYS, 1 << 20), wire(Payload(bytes(100_000)))
    tracemalloc.start()
    try:
        found = [
            message
            for begin in range(len(octets))
            for message in reader.feed(memoryview(octets)[begin : begin + 1])
        ]
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == [Payload(bytes(100_000))]
    assert most < 500_000


@given(st.lists(st.binary(max_size=LIMIT // 4), min_size=1, max_size=4))
def test_a_payload_in_parts_arrives_in_one_piece(parts: list[bytes]) -> None:
    sent = Payload(parts[0], tuple(parts[1:]))
    whole = Payload(b"".join(parts))
    assert sent.size == whole.size == len(whole.octets)
    assert read(SOURCE_SAYS, wire(sent), []) == [whole]
