"""A stream of octets becomes messages; the first faulty header says which NOTIFICATION to send."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.rawbgp import update
from vpnctl.bgp.messages import KEEPALIVE, MARKER, length_at, message, notification, split

REFRESH = message(5, struct.pack("!HBB", 25, 0, 70))
STREAM = st.lists(
    st.sampled_from([update(1), update(2, size=400), KEEPALIVE, REFRESH, notification(6, 2)])
)


def raw(length: int, kind: int, marker: bytes = MARKER) -> bytes:
    return marker + struct.pack("!HB", length, kind) + bytes(max(0, length - 19))


@given(STREAM, st.integers(0, 2000))
def test_whole_messages_come_in_order_and_the_rest_stays(messages: list[bytes], cut: int) -> None:
    stream = b"".join(messages)[:cut]
    found, used, fault = split(stream, 4096)
    assert fault is None
    assert b"".join(octets for _, octets in found) == stream[:used]
    again, rest = [], stream[used:]
    for one in messages:
        if len(b"".join(again)) + len(one) > used:
            assert rest == one[: len(rest)]
            break
        again.append(one)
    assert b"".join(again) == stream[:used]


def test_neighbouring_updates_stay_one_piece() -> None:
    one, two, three = update(1), update(2), update(3)
    found = split(one + two + KEEPALIVE + three + REFRESH + one[:30], 4096)
    assert found.messages == [(2, one + two), (4, KEEPALIVE), (2, three), (5, REFRESH)]
    assert found.fault is None


@pytest.mark.parametrize(
    ("octets", "size", "expected"),
    [
        (raw(19, 4, b"\xfe" * 16), 4096, (1, 1, b"")),
        (raw(23, 2, bytes(16)), 4096, (1, 1, b"")),
        (raw(18, 2), 4096, (1, 2, b"\x00\x12")),
        (raw(22, 2), 4096, (1, 2, b"\x00\x16")),
        (raw(4097, 2), 4096, (1, 2, b"\x10\x01")),
        (raw(0, 2), 65535, (1, 2, b"\x00\x00")),
        (raw(20, 4), 4096, (1, 2, b"\x00\x14")),
        (raw(28, 1), 4096, (1, 2, b"\x00\x1c")),
        (raw(4097, 1), 65535, (1, 2, b"\x10\x01")),
        (raw(20, 3), 4096, (1, 2, b"\x00\x14")),
        (raw(22, 5), 4096, (1, 2, b"\x00\x16")),
        (raw(19, 0), 4096, (1, 3, b"\x00")),
        (raw(19, 6), 4096, (1, 3, b"\x06")),
        (raw(19, 255), 4096, (1, 3, b"\xff")),
    ],
)
def test_a_faulty_header_is_answered_as_rfc_4271_section_6_1_says(
    octets: bytes, size: int, expected: tuple[int, int, bytes]
) -> None:
    before = update(1)
    found = split(before + octets, size)
    assert found.messages == [(2, before)]
    assert found.used == len(before)
    assert found.fault is not None
    assert found.fault[:3] == expected
    assert found.fault.words


def test_a_faulty_header_is_found_before_its_body_has_come() -> None:
    assert split(raw(5000, 2)[:19], 4096).fault is not None


def test_extended_messages_are_taken_where_agreed() -> None:
    long = update(1, size=65535)
    assert split(long, 65535).messages == [(2, long)]
    assert split(long, 4096).fault is not None


def test_a_notification_is_cut_to_what_a_message_may_be() -> None:
    octets = notification(1, 2, bytes(9000))
    assert len(octets) == 4096 == length_at(octets, 0)


@pytest.mark.parametrize("octets", [b"", MARKER, raw(18, 2)])
def test_no_message_has_no_length(octets: bytes) -> None:
    with pytest.raises(ValueError, match=r"octets"):
        length_at(octets, 0)
