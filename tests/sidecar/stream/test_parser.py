"""What the parser makes of a stream."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sidecar.stream.strategies import BLOCKS, cut, whole_streams
from tests.support import streams
from tests.support.streams import PAGE, page
from vpnctl.errors import StreamRefusedError
from vpnctl.sidecar.stream.events import Opaque, Pages
from vpnctl.sidecar.stream.parser import Phase, StreamParser
from vpnctl.sidecar.stream.preamble import MAX_ITEM
from vpnctl.sidecar.stream.writer import octets_of

FULL_A, FULL_B = b"a" * PAGE, b"b" * PAGE
HEAD = streams.magic() + streams.machine() + streams.setup(BLOCKS)


def parsed(octets: bytes) -> list[Opaque | Pages]:
    parser = StreamParser()
    events = parser.feed(octets)
    parser.finish()
    return events


def pages_of(*records: bytes) -> list[Pages]:
    octets = HEAD + streams.part(records) + streams.last_part([]) + streams.devices()
    return [event for event in parsed(octets) if isinstance(event, Pages)]


def test_neighbouring_records_become_one_event() -> None:
    named, rest = pages_of(
        page(0, FULL_A, b"pc.ram"),
        page(PAGE, FULL_B),
        page(2 * PAGE, b"\0"),
        page(7 * PAGE, b"\x55"),
        page(3 * PAGE, FULL_A),
    )
    assert named.names_block
    assert named.contents.tobytes() == FULL_A
    assert not rest.names_block
    assert rest.block == b"pc.ram"
    assert rest.addresses.tolist() == [PAGE, 2 * PAGE, 7 * PAGE, 3 * PAGE]
    assert rest.is_full.tolist() == [True, False, False, True]
    assert rest.full_addresses.tolist() == [PAGE, 3 * PAGE]
    assert rest.zero_addresses.tolist() == [2 * PAGE, 7 * PAGE]
    assert rest.fills == b"\x00\x55"
    assert rest.contents.tobytes() == FULL_B + FULL_A


def test_a_record_without_a_name_belongs_to_the_block_named_last_even_in_a_part_before() -> None:
    octets = (
        HEAD
        + streams.part([page(0, b"\0", b"pc.ram"), page(0, FULL_A, b"pc.bios")])
        + streams.part([page(PAGE, FULL_B)])
        + streams.last_part([])
    )
    blocks = [event.block for event in parsed(octets) if isinstance(event, Pages)]
    assert blocks == [b"pc.ram", b"pc.bios", b"pc.bios"]


@pytest.mark.parametrize("count", [15, 16, 17, 79, 80, 81, 400])
def test_a_run_ends_where_it_ends(count: int) -> None:
    blocks = {b"pc.ram": 1024 * PAGE}
    records = [page(0, b"\0", b"pc.ram")]
    records += [page(n * PAGE, bytes([n % 251]) * PAGE) for n in range(1, count + 1)]
    octets = streams.magic() + streams.setup(blocks) + streams.part(records) + streams.last_part([])
    run = [event for event in parsed(octets) if isinstance(event, Pages)][1]
    assert run.addresses.tolist() == [n * PAGE for n in range(1, count + 1)]
    assert run.contents[:, 0].tolist() == [n % 251 for n in range(1, count + 1)]


def test_phases_and_blocks_are_told() -> None:
    parser = StreamParser()
    parser.feed(streams.magic() + streams.machine())
    assert (parser.phase, dict(parser.blocks)) == (Phase.SETUP, {})
    parser.feed(streams.setup(BLOCKS))
    assert (parser.phase, dict(parser.blocks)) == (Phase.MEMORY, BLOCKS)
    parser.feed(streams.last_part([]))
    assert parser.phase is Phase.DEVICES


def test_what_follows_the_ram_passes_whatever_it_is() -> None:
    octets = HEAD + streams.last_part([]) + b"\xff" * 5000
    assert b"".join(bytes(octets_of(event)) for event in parsed(octets)) == octets


def test_a_device_before_the_ram_makes_the_rest_opaque() -> None:
    octets = streams.magic() + streams.machine() + streams.devices() + HEAD
    assert [type(event) for event in parsed(octets)] == [Opaque]


def test_full_pages_are_not_copied() -> None:
    octets = HEAD + streams.part([page(0, FULL_A, b"pc.ram"), page(PAGE, FULL_B)])
    *_, last, _ = StreamParser().feed(octets)
    assert isinstance(last, Pages)
    assert np.shares_memory(last.contents, np.frombuffer(octets, np.uint8))


@given(whole_streams(), st.lists(st.integers(0, 1 << 20), max_size=40))
def test_the_octets_come_back_however_they_are_cut(stream: bytes, places: list[int]) -> None:
    parser = StreamParser()
    out = b""
    fed = 0
    for piece in cut(stream, places):
        events = parser.feed(piece)
        fed += len(piece)
        written = [bytes(octets_of(event)) for event in events]
        assert [len(octets) for octets in written] == [event.size for event in events]
        out += b"".join(written)
        assert fed - len(out) <= MAX_ITEM
        assert parser.offset == len(out)
    parser.finish()
    assert out == stream


@given(whole_streams(), st.lists(st.integers(0, 1 << 20), max_size=40))
def test_the_pages_are_the_same_however_they_are_cut(stream: bytes, places: list[int]) -> None:
    def records(pieces: list[bytes]) -> list[tuple[bytes, int, bytes]]:
        parser = StreamParser()
        found = []
        for piece in pieces:
            for event in parser.feed(piece):
                if isinstance(event, Pages):
                    full, filled = iter(event.contents), iter(event.fills)
                    found += [
                        (
                            event.block,
                            header,
                            next(full).tobytes() if is_full else bytes([next(filled)]),
                        )
                        for header, is_full in zip(
                            event.headers.tolist(), event.is_full.tolist(), strict=True
                        )
                    ]
        return found

    assert records(cut(stream, places)) == records([stream])


@given(whole_streams(), st.integers(0, 1 << 20))
def test_a_stream_that_ends_in_its_ram_is_not_whole(stream: bytes, place: int) -> None:
    ram = len(stream) - len(streams.devices())
    parser = StreamParser()
    parser.feed(stream[: place % ram])
    with pytest.raises(StreamRefusedError, match="the stream ends after"):
        parser.finish()


def test_the_last_part_of_the_memory_tells_that_the_guest_stands_still() -> None:
    parser = StreamParser()
    parser.feed(HEAD + streams.part([page(0, FULL_A, b"pc.ram")]))
    assert not parser.has_stopped
    octets = streams.last_part([page(PAGE, FULL_B, b"pc.ram")])
    parser.feed(octets[:10])
    assert parser.has_stopped
    parser.feed(octets[10:] + streams.devices())
    assert parser.has_stopped
