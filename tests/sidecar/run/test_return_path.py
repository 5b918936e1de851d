"""What the destination's QEMU says about the guest, heard in passing."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnctl.sidecar.run.return_path import ReturnPathReader
from vpnctl.sidecar.wan.messages import Outcome

SHUT, PONG, SWITCHOVER_ACK = 1, 2, 7
OTHERS = st.sampled_from(
    [
        struct.pack("!HHI", PONG, 4, 1),
        struct.pack("!HH", SWITCHOVER_ACK, 0),
        struct.pack("!HH", 3, 300) + bytes([0, SHUT, 0, 4]) * 75,
    ]
)


def outcome(octets: bytes, cuts: list[int]) -> Outcome:
    reader, begin = ReturnPathReader(), 0
    for end in [*sorted(cut % (len(octets) + 1) for cut in cuts), len(octets)]:
        reader.feed(octets[begin:end])
        begin = end
    return reader.outcome()


@given(st.lists(OTHERS), st.sampled_from([None, 0, 1, 2**32 - 1]), st.lists(st.integers(0, 2000)))
def test_the_last_word_counts_however_it_is_cut(
    before: list[bytes], value: int | None, cuts: list[int]
) -> None:
    octets = b"".join(before)
    if value is not None:
        octets += struct.pack("!HHI", SHUT, 4, value)
        expected = Outcome.LOADED if value == 0 else Outcome.FAILED
    else:
        expected = Outcome.FAILED if octets else Outcome.UNSAID
    assert outcome(octets, cuts) is expected


@pytest.mark.parametrize("octets", [b"\0", b"\0\1", b"\0\1\0\4", b"\0\1\0\4\0\0\0"])
def test_half_a_word_is_none(octets: bytes) -> None:
    assert outcome(octets, []) is Outcome.FAILED


@given(st.binary(max_size=500), st.lists(st.integers(0, 500)))
def test_any_octets_are_borne(octets: bytes, cuts: list[int]) -> None:
    assert outcome(octets, cuts) in Outcome
