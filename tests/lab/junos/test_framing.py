"""Messages in a stream, however it is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnctl.lab.junos.framing import Framing, FramingError

MESSAGES = st.lists(st.binary(min_size=1).filter(lambda octets: b"]]>]]>" not in octets))


def cut(octets: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({min(place, len(octets)) for place in places} | {len(octets)})
    return [octets[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


def heard(framing: Framing, pieces: list[bytes]) -> list[bytes]:
    found = []
    for piece in pieces:
        while messages := framing.take(piece):
            found += messages
            piece = b""
    return found


@given(MESSAGES, st.lists(st.integers(0, 400)))
def test_chunks_however_they_come(messages: list[bytes], places: list[int]) -> None:
    framing = Framing()
    framing.chunked = True
    stream = b"".join(framing.wrap(message) for message in messages)
    assert heard(framing, cut(stream, places)) == messages


@given(st.lists(st.sampled_from([b"<a/>", b"<b>]]></b>"])), st.lists(st.integers(0, 80)))
def test_ends_of_messages_however_they_come(messages: list[bytes], places: list[int]) -> None:
    framing = Framing()
    stream = b"".join(framing.wrap(message) for message in messages)
    assert heard(framing, cut(stream, places)) == messages


@pytest.mark.parametrize(
    "octets", [b"<rpc/>", b"\n#0\n", b"\n#x\n12345678901", b"\n#99999999999\n"]
)
def test_what_is_no_chunk(octets: bytes) -> None:
    framing = Framing()
    framing.chunked = True
    with pytest.raises(FramingError):
        framing.take(octets + bytes(20))
