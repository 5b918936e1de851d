"""What a record looks like, and what is none."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sidecar.wan import rooms
from vpnctl.errors import SidecarProtocolError
from vpnctl.sidecar.wan import records
from vpnctl.sidecar.wan.records import LIMITS, PREFACE, Kind, Record, RecordReader

RECORDS = st.lists(
    st.one_of(
        st.builds(
            Record,
            st.sampled_from([Kind.GREETING, Kind.SEGMENT, Kind.ABORT]),
            st.integers(0, 2**64 - 1),
            st.binary(max_size=200),
        ),
        st.builds(
            Record,
            st.sampled_from([Kind.ACK, Kind.ALIVE, Kind.BYE]),
            st.integers(0, 2**64 - 1),
            st.just(b""),
        ),
    )
)


def wire(sent: list[Record]) -> bytes:
    return PREFACE + b"".join(records.encode(one.kind, one.offset, one.payload) for one in sent)


def fed(reader: RecordReader, octets: bytes) -> Iterator[Record]:
    """What a reader makes of ``octets``, as much of them at once as it has room for."""
    return rooms.fed(octets, reader.room, reader.filled)


def read(octets: bytes, cuts: list[int]) -> list[Record]:
    reader, found, begin = RecordReader(), [], 0
    for end in [*sorted(cut % (len(octets) + 1) for cut in cuts), len(octets)]:
        found += fed(reader, octets[begin:end])
        begin = end
    return found


@given(RECORDS, st.lists(st.integers(0, 10_000)))
def test_records_arrive_however_the_stream_is_cut(sent: list[Record], cuts: list[int]) -> None:
    assert read(wire(sent), cuts) == sent


@given(RECORDS.filter(bool), st.integers(0), st.integers(0, 7))
def test_a_flipped_bit_is_never_taken_for_a_record(
    sent: list[Record], where: int, bit: int
) -> None:
    octets = bytearray(wire(sent))
    octets[where % len(octets)] ^= 1 << bit
    try:
        found = read(bytes(octets), [])
    except SidecarProtocolError:
        return
    # A longer length waits for octets that never come.
    assert found == sent[: len(found)]
    assert len(found) < len(sent)


@pytest.mark.parametrize("kind", Kind)
def test_a_long_record_is_refused_before_its_payload(kind: Kind) -> None:
    octets = PREFACE + records.HEADER.pack(kind, LIMITS[kind] + 1, 0, 0)
    with pytest.raises(SidecarProtocolError, match="the limit is"):
        read(octets, [])
    with pytest.raises(ValueError, match="longer than"):
        records.encode(kind, 0, bytes(LIMITS[kind] + 1))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(SidecarProtocolError, match="unknown kind 77"):
        read(PREFACE + records.HEADER.pack(77, 0, 0, 0), [])


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (b"SSH-2.0-OpenSSH_9.2", "no sidecar"),
        (b"GET / HTTP/1.1\r\n", "no sidecar"),
        (PREFACE[:-1] + b"\x01", "speaks version 1 of the sidecars' protocol, this is 4"),
    ],
)
def test_something_else_that_answers_is_told_apart(octets: bytes, said: str) -> None:
    with pytest.raises(SidecarProtocolError, match=said):
        read(octets, [])


@given(st.binary(max_size=2000), st.lists(st.integers(0, 2000)))
def test_any_octets_end_in_records_or_in_an_error(octets: bytes, cuts: list[int]) -> None:
    with suppress(SidecarProtocolError):
        assert all(isinstance(one, Record) for one in read(PREFACE + octets, cuts))


def test_what_is_held_of_an_unfinished_record_is_no_more_than_twice_what_was_fed() -> None:
    reader = RecordReader()
    header = struct.pack("!BIQI", Kind.GREETING, records.MAX_GREETING, 0, 0)
    assert list(fed(reader, PREFACE + header)) == []
    given, usual = len(header), len(reader._buffer)
    assert usual < records.MAX_GREETING
    for _ in range(1000):
        assert list(fed(reader, bytes(1000))) == []
        given += 1000
        assert reader._have == given
        assert len(reader._buffer) <= max(2 * given, usual)


def test_a_long_record_is_completed_where_it_begins() -> None:
    """And those who have views of it are not disturbed by what comes next."""
    payloads = [bytes([number]) * records.MAX_SEGMENT for number in range(4)]
    sent = [Record(Kind.SEGMENT, 0, payload) for payload in payloads]
    reader, octets, found = RecordReader(), wire(sent), []
    for begin in range(0, len(octets), 100_000):
        found += fed(reader, octets[begin : begin + 100_000])
        # Once one has come that was so long, there is room for the next.
        if found and reader._have >= records.HEADER.size:
            assert len(reader.room()) == records.HEADER.size + records.MAX_SEGMENT - reader._have
    assert found == sent
    # Short ones that follow do not each take as much.
    assert list(fed(reader, records.encode(Kind.ALIVE))) == [Record(Kind.ALIVE, 0, b"")]
    assert len(reader._buffer) < records.MAX_SEGMENT / 2


def test_a_record_in_parts_is_the_same_and_copies_none_of_them() -> None:
    parts = [bytes(100), b"", b"some", memoryview(b"more")]
    found = records.in_parts(Kind.SEGMENT, 7, *parts)
    assert all(one is other for one, other in zip(found[1:], parts, strict=True))
    assert b"".join(found) == records.encode(Kind.SEGMENT, 7, b"".join(parts))
