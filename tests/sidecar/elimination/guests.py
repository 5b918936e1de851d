"""Guests made up for these tests: events as a parser gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.sidecar.elimination.prose import prose
from vpnctl.sidecar.elimination import Decoder, Encoder, Options, SiteView
from vpnctl.sidecar.stream.events import Event, Opaque, Pages
from vpnctl.sidecar.stream.format import PAGE_SIZE, RamFlag
from vpnctl.sidecar.stream.writer import octets_of

MIB = 1 << 20
BLOCKS = (b"pc.ram", b"vga.vram", b"/rom@etc/acpi/tables")


@dataclass
class Guest:
    """RAM that changes, and the events that sending it makes."""

    seed: int = 0
    ram: dict[tuple[bytes, int], np.ndarray[Any, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def write(self, block: bytes, page: int, kind: str) -> None:
        """Change a page in one of the ways that guests do."""
        place = (block, page)
        old = self.ram.get(place, np.zeros(PAGE_SIZE, np.uint8))
        new = old.copy()
        if kind == "update":
            for begin in self.random.integers(0, PAGE_SIZE - 8, 5).tolist():
                new[begin : begin + 8] = self.random.integers(0, 256, 8)
        elif kind == "random":
            new = self.random.integers(0, 256, PAGE_SIZE, np.uint8)
        elif kind == "text":
            new = np.resize(self.random.integers(97, 123, 700, np.uint8), PAGE_SIZE)
        elif kind == "prose":
            new = np.frombuffer(prose(self.random, PAGE_SIZE), np.uint8)
        elif kind == "copy" and self.ram:
            places = list(self.ram)
            other = self.ram[places[int(self.random.integers(len(places)))]]
            new = np.roll(other, 1024 * int(self.random.integers(4)))
        elif kind == "part":
            new[1024:2048] = 0
            new[2048:3072] = 7
        self.ram[place] = new

    def send(
        self, block: bytes, pages: Sequence[int], fills: Sequence[int] = (), named: bool = False
    ) -> Pages:
        """One run of records: ``pages`` as they are now, then filled ones at ``fills``."""
        places = [*pages, *fills]
        flags = [RamFlag.PAGE] * len(pages) + [RamFlag.ZERO] * len(fills)
        headers = np.array(
            [
                (page << 12) | flag | (0 if named and at == 0 else RamFlag.CONTINUE)
                for at, (page, flag) in enumerate(zip(places, flags, strict=True))
            ],
            np.uint64,
        )
        contents = [self.ram[(block, page)] for page in pages]
        return Pages(
            block,
            headers,
            bytes(fill % 3 for fill in fills),
            np.array(contents, np.uint8).reshape(-1, PAGE_SIZE),
        )


KINDS = ("text", "prose", "random", "update", "update", "same", "copy", "part")


@st.composite
def streams(draw: st.DrawFn, most: int = 12) -> list[Event]:
    """Any sequence of events: runs forth and back, pages sent twice at once, odd names, fills."""
    guest = Guest(draw(st.integers(0, 2**32)))
    events: list[Event] = []
    for _ in range(draw(st.integers(0, most))):
        if draw(st.integers(0, 3)) == 0:
            events.append(Opaque(draw(st.binary(max_size=300))))
            continue
        block = draw(st.sampled_from(BLOCKS))
        begin = draw(st.sampled_from([0, 0, 5, 300, 2**40 - 1, 2**51]))
        count = draw(st.sampled_from([0, 1, 2, 30, 270]))
        stride = draw(st.sampled_from([1, 1, 0, 3, 300]))
        kind = draw(st.sampled_from(KINDS))
        pages = [begin + stride * at for at in range(count)]
        for page in dict.fromkeys(pages):
            guest.write(block, page, kind)
        fills = draw(st.lists(st.integers(0, 2**30), max_size=5))
        if pages or fills:
            events.append(guest.send(block, pages, fills, named=draw(st.booleans())))
    return events


options = st.builds(
    Options,
    delta=st.booleans(),
    content=st.booleans(),
    site=st.just(False),
    text=st.booleans(),
    compress=st.booleans(),
    sub_blocks=st.sampled_from([1, 4, 16]),
    cache_size=st.just(MIB),
    delta_threshold=st.sampled_from([1, 40, 3072, 4096]),
    window_log=st.just(18),
    level=st.sampled_from([1, 3]),
)


def octets(events: Sequence[Event]) -> bytes:
    """The stream that ``events`` came from."""
    return b"".join(bytes(octets_of(event)) for event in events)


def encoded(
    events: Sequence[Event], options: Options, site: SiteView | None = None, flush_every: int = 0
) -> list[bytes]:
    """All payloads of a migration."""
    encoder = Encoder(options, site)
    payloads = []
    for at, event in enumerate(events):
        payloads += encoder.encode([event])
        if flush_every and at % flush_every == 0:
            payloads += encoder.flush()
    return payloads + encoder.finish()


def decoded(payloads: Sequence[bytes], options: Options, site: SiteView | None = None) -> bytes:
    """The stream that comes out at the other end."""
    decoder = Decoder(options, site)
    stream = b"".join(bytes(decoder.decode(payload)) for payload in payloads)
    decoder.finish()
    return stream
