"""Streams that cannot pass are refused by name; damaged ones end in an error and nothing else."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.sidecar.stream.samples import SAMPLES, sample
from tests.sidecar.stream.strategies import BLOCKS, cut
from tests.support import streams
from tests.support.streams import PAGE, counted, page
from vpnctl.errors import StreamRefusedError
from vpnctl.sidecar.stream.parser import StreamParser
from vpnctl.sidecar.stream.preamble import MAX_ITEM
from vpnctl.sidecar.stream.writer import octets_of

BEGIN = streams.magic() + streams.machine()
HEAD = BEGIN + streams.setup(BLOCKS)


def capabilities(*names: bytes) -> bytes:
    listed = struct.pack(">I", len(names)) + b"".join(counted(name) for name in names)
    return BEGIN + streams.subsection(b"configuration/capabilities", listed)


def record(flags: int) -> bytes:
    return HEAD + b"\x02" + struct.pack(">IQ", streams.RAM_ID, flags)


def entry(size: int, name: bytes = b"pc.ram", total: int = 8 * PAGE) -> bytes:
    listed = struct.pack(">Q", total | streams.MEM_SIZE) + counted(name) + struct.pack(">Q", size)
    return BEGIN + streams.start() + listed


def feed_all(parser: StreamParser, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        parser.feed(piece)


REFUSED = {
    "no stream": (b"\x7fELF\x02\x01\x01\x00", "no migration stream"),
    "file format 2": (b"QEVM\x00\x00\x00\x02", "no migration stream"),
    "long machine name": (streams.magic() + b"\x07" + struct.pack(">I", 256), "256 octets"),
    "multifd": (capabilities(b"multifd"), "multifd"),
    "x-ignore-shared": (capabilities(b"x-ignore-shared"), "x-ignore-shared"),
    "mapped-ram": (capabilities(b"validate-uuid", b"mapped-ram"), "mapped-ram"),
    "many capabilities": (
        BEGIN + streams.subsection(b"configuration/capabilities", struct.pack(">I", 1 << 31)),
        "capabilities",
    ),
    "pages of 64 KiB": (
        BEGIN + streams.subsection(b"configuration/target-page-bits", struct.pack(">I", 16)),
        r"pages of 2\^16",
    ),
    "unknown subsection": (
        BEGIN + streams.subsection(b"configuration/new", b""),
        "'configuration/new'",
    ),
    "postcopy": (BEGIN + streams.command(3, bytes(16)), "postcopy-ram"),
    "bitmaps": (BEGIN + streams.command(3), "dirty-bitmaps"),
    "packaged": (HEAD + streams.command(7, bytes(4)), "postcopy-ram"),
    "colo": (HEAD + streams.command(8), "x-colo"),
    "block": (BEGIN + streams.start(b"block", 1), "'block'"),
    "dirty-bitmap": (BEGIN + streams.start(b"dirty-bitmap", 1), "'dirty-bitmap'"),
    "vfio": (BEGIN + streams.start(b"0000:00:04.0/vfio", 1), "vfio"),
    "version 3 of ram": (BEGIN + streams.start(version=3), "version 3"),
    "two sections of ram": (HEAD + streams.start(), "starts twice"),
    "a part of nothing": (BEGIN + streams.part([]), "never started"),
    "another section's part": (HEAD + streams.part([], section=9), "never started"),
    "unknown section": (HEAD + b"\x55", "0x55"),
    "no footer": (HEAD[:-5] + streams.part([]), "without its footer"),
    "another section's footer": (HEAD[:-1] + b"\x09", "without its footer"),
    "xbzrle": (record(0x40 | streams.CONTINUE), "xbzrle"),
    "rdma": (record(0x80), "rdma"),
    "compress": (record(0x100), "compress"),
    "multifd flush": (record(0x200), "multifd"),
    "page and zero at once": (record(streams.FULL | streams.ZERO), "unknown flags"),
    "end of section with an address": (record(PAGE | streams.EOS), "unknown flags"),
    "blocks listed in a part": (record(PAGE | streams.MEM_SIZE), "unknown flags"),
    "page before any name": (HEAD + streams.part([page(0, b"\0")]), "before any RAM block"),
    "unknown block": (HEAD + streams.part([page(0, b"\0", b"vga.vram")]), "'vga.vram'"),
    "named page behind the end": (
        HEAD + streams.part([page(4 * PAGE, b"\0", b"pc.bios")]),
        "behind the end",
    ),
    "page behind the end": (
        HEAD + streams.part([page(0, b"\0", b"pc.bios"), page(1 << 60, b"a" * PAGE)]),
        "behind the end",
    ),
    "block without a name": (entry(PAGE, b""), "''"),
    "block of odd size": (entry(PAGE + 1), "4097 octets"),
    "block larger than all": (entry(9 * PAGE), "larger than the RAM"),
    "block listed twice": (
        entry(PAGE) + counted(b"pc.ram") + struct.pack(">Q", PAGE),
        "listed twice",
    ),
}


@pytest.mark.parametrize(("octets", "says"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_by_name(octets: bytes, says: str) -> None:
    with pytest.raises(StreamRefusedError, match=says):
        StreamParser().feed(octets)


@pytest.mark.parametrize(("octets", "says"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_when_it_comes_octet_by_octet(octets: bytes, says: str) -> None:
    parser = StreamParser()
    with pytest.raises(StreamRefusedError, match=says):
        feed_all(parser, (bytes([octet]) for octet in octets))
    with pytest.raises(StreamRefusedError, match=says):
        parser.feed(b"more")
    with pytest.raises(StreamRefusedError, match=says):
        parser.finish()


def test_the_message_says_where() -> None:
    with pytest.raises(StreamRefusedError) as refused:
        StreamParser().feed(HEAD + b"\x55")
    assert refused.value.message == (
        f"a section of the unknown kind 0x55 ({len(HEAD)} octets into the stream)"
    )


def test_endless_blocks_are_refused() -> None:
    parser = StreamParser()
    parser.feed(BEGIN + streams.start() + struct.pack(">Q", (1 << 62) | streams.MEM_SIZE))
    entries = (counted(str(number).encode()) + bytes(8) for number in range(5000))
    with pytest.raises(StreamRefusedError, match="more than 4096 RAM blocks"):
        feed_all(parser, entries)


mutations = st.lists(
    st.tuples(
        st.sampled_from(["flip", "drop", "double", "insert"]),
        st.integers(0, 1 << 20),
        st.integers(1, 5000),
        st.binary(min_size=1, max_size=16),
    ),
    min_size=1,
    max_size=6,
)


def mutated(octets: bytes, steps: list[tuple[str, int, int, bytes]]) -> bytes:
    for kind, place, length, value in steps:
        # Most of what decides is in front of the pages and at their headers.
        at = place % min(len(octets), 1 << (place % 5 * 4 + 4))
        before, after = octets[:at], octets[at:]
        match kind:
            case "flip":
                after = bytes([after[0] ^ value[0]]) + after[1:] if after else after
            case "drop":
                after = after[length:]
            case "double":
                after = after[:length] + after
            case "insert":
                after = value + after
        octets = before + after
        if not octets:
            break
    return octets


@pytest.mark.parametrize("name", SAMPLES)
@given(steps=mutations, places=st.lists(st.integers(0, 1 << 20), max_size=8))
@example(steps=[("drop", 0, 1, b"x")], places=[])
def test_a_damaged_real_stream_passes_unchanged_or_is_refused(
    name: str, steps: list[tuple[str, int, int, bytes]], places: list[int]
) -> None:
    damaged = mutated(sample(name), steps)
    parser = StreamParser()
    out = []
    try:
        for piece in cut(damaged, places):
            out += [bytes(octets_of(event)) for event in parser.feed(piece)]
        parser.finish()
    except StreamRefusedError:
        assert damaged.startswith(b"".join(out))
    else:
        assert b"".join(out) == damaged


def test_what_is_kept_does_not_grow_with_the_stream() -> None:
    parser = StreamParser()
    parser.feed(HEAD + b"\x02" + struct.pack(">I", streams.RAM_ID))
    parser.feed(page(0, b"\0", b"pc.ram"))
    # Whole pages and 100 octets more, so that the end of each piece is kept.
    piece = page(PAGE, b"a" * PAGE) * 50
    turned = piece[100:] + piece[:100]
    parser.feed(piece[:100])
    tracemalloc.start()
    try:
        parser.feed(turned)
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(200):
            parser.feed(turned)
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after - before < MAX_ITEM
