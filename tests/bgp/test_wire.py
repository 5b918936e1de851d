"""Frames and values survive the way between the two processes, however the stream is cut."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bgp.recorder import listen, neighbor
from vpnctl.bgp.wire import (
    MAX_PAYLOAD,
    Configure,
    Configured,
    FrameError,
    FrameReader,
    JsonValue,
    NeighborConfig,
    NeighborState,
    Problem,
    Ready,
    SessionClosed,
    SessionOpened,
    encode,
    frame_header,
)

FRAMES = st.lists(
    st.tuples(st.integers(0, 255), st.integers(0, 0xFFFFFFFF), st.binary(max_size=200)), max_size=20
)


@given(FRAMES, st.lists(st.integers(1, 60), min_size=1))
def test_frames_are_the_same_however_the_stream_is_cut(
    frames: list[tuple[int, int, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(encode(*frame) for frame in frames)
    reader, found, position, turn = FrameReader(), [], 0, 0
    while position < len(stream):
        step = cuts[turn % len(cuts)]
        found += reader.feed(stream[position : position + step])
        position, turn = position + step, turn + 1
    assert found == frames


def test_a_frame_of_many_pieces_comes_whole() -> None:
    payload = bytes(range(256)) * 4096
    reader = FrameReader()
    stream = encode(7, 1, payload) + encode(8, 2)
    found = [
        frame for at in range(0, len(stream), 1000) for frame in reader.feed(stream[at : at + 1000])
    ]
    assert found == [(7, 1, payload), (8, 2, b"")]


def test_a_payload_above_the_limit_is_refused_by_both_ends() -> None:
    with pytest.raises(FrameError, match="11 octets"):
        list(FrameReader(max_payload=10).feed(encode(1, 1, bytes(11))))
    with pytest.raises(ValueError, match="longer than"):
        frame_header(1, 1, MAX_PAYLOAD + 1)


OPENED = SessionOpened(
    neighbor="pe-1",
    families=((1, 128), (25, 70)),
    asn4=True,
    message_size=65535,
    local_asn=65000,
    peer_asn=4200000001,
    peer_router_id=ip_address("10.0.0.1"),
    hold_time=90,
    refresh="enhanced",
    local_address=ip_address("2001:db8::1"),
    local_port=179,
    peer_address=ip_address("2001:db8::2"),
    peer_port=40000,
)
VALUES = [
    neighbor("pe-1", "127.0.0.2", "127.0.0.1", 1790),
    neighbor("pe-2", "::1", "::1", 179, passive=False, hold_time=0),
    Configure(
        3,
        (neighbor("pe-1", "127.0.0.2", "127.0.0.1", 1790),),
        (listen("127.0.0.1", 1790), listen("::1", 179)),
    ),
    Configured(3, (listen("::1", 179),), (Problem("listen [::1]:179", "no", "do this"),)),
    Ready("5.0.15", 42),
    NeighborState("pe-1", "idle", "nothing there"),
    OPENED,
    SessionClosed("pe-1", "why", sent=(6, 2)),
    SessionClosed("pe-1", "why", received=(4, 0)),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_survive_json(value: JsonValue) -> None:
    assert type(value).from_json(value.to_json()) == value


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"name": 1}', b"\xff", b"null"])
def test_other_json_is_no_value(text: bytes) -> None:
    with pytest.raises(FrameError, match="no NeighborConfig"):
        NeighborConfig.from_json(text)
