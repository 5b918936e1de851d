"""Whatever a guest does and whichever stages run, the destination gets the very octets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sidecar.elimination.guests import (
    MIB,
    Guest,
    decoded,
    encoded,
    octets,
    options,
    streams,
)
from vpnctl.sidecar.elimination import Effort, Encoder, Options, SiteCache, SiteView, kernel
from vpnctl.sidecar.elimination.kernel import portable, text_portable
from vpnctl.sidecar.stream.events import Event, Opaque

SMALL = Options(site=False, cache_size=MIB, window_log=18)


@contextmanager
def agreed(source: Path, destination: Path, block_size: int) -> Iterator[tuple[SiteView, SiteView]]:
    """Both sites' views of what they have in common."""
    offers = [SiteCache(path, 64 * MIB).offer(block_size) for path in (source, destination)]
    with offers[0].agree(offers[1].names) as one, offers[1].agree(offers[0].names) as other:
        yield one, other


@settings(max_examples=60)
@given(events=streams(), options=options, flush_every=st.integers(0, 3))
def test_any_stream_comes_out_as_it_went_in(
    events: list[Event], options: Options, flush_every: int
) -> None:
    payloads = encoded(events, options, flush_every=flush_every)
    assert decoded(payloads, options) == octets(events)


@settings(max_examples=40)
@given(streams(), options, st.integers(1, 4))
def test_batches_may_wait_to_be_compressed(
    events: list[Event], options: Options, each: int
) -> None:
    """As they do between two threads: what comes after them does not change them."""
    encoder, batches = Encoder(options), []
    for begin in range(0, len(events), each):
        batches += encoder.eliminate(events[begin : begin + each])
        batches += encoder.eliminate_rest()
    payloads = [encoder.compress(batch) for batch in batches]
    assert decoded(payloads, options) == octets(events)


@settings(max_examples=25)
@given(first=streams(most=6), second=streams(most=6), options=options)
def test_two_migrations_share_a_site_cache(
    first: list[Event], second: list[Event], options: Options
) -> None:
    options = replace(options, site=True)
    with TemporaryDirectory() as directory:
        here, there = Path(directory, "here"), Path(directory, "there")
        for events in (first, second, first):
            with agreed(here, there, options.block_size) as (one, other):
                payloads = encoded(events, options, one, flush_every=2)
                assert decoded(payloads, options, other) == octets(events)


@settings(max_examples=25)
@given(events=streams(), options=options)
def test_the_compiled_kernel_changes_nothing_on_the_wire(
    events: list[Event], options: Options
) -> None:
    with_chosen = encoded(events, options)
    with pytest.MonkeyPatch.context() as patch:
        for name in set(kernel.__all__) - {"NAME"}:
            defined = portable if hasattr(portable, name) else text_portable
            patch.setattr(kernel, name, getattr(defined, name))
        assert encoded(events, options) == with_chosen
        assert decoded(with_chosen, options) == octets(events)


@pytest.mark.parametrize("bits", [0, 1, 4])
@settings(max_examples=15)
@given(events=streams())
def test_blocks_with_equal_fingerprints_are_not_taken_for_each_other(
    events: list[Event], bits: int
) -> None:
    strong = kernel.fingerprints

    def weak(
        blocks: np.ndarray[tuple[int, int], np.dtype[np.uint8]],
    ) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        return strong(blocks) & np.uint64((1 << bits) - 1)

    chosen = replace(SMALL, delta=False, site=True)
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as directory:
        patch.setattr(kernel, "fingerprints", weak)
        here, there = Path(directory, "here"), Path(directory, "there")
        for _ in range(2):
            with agreed(here, there, chosen.block_size) as (one, other):
                payloads = encoded(events, chosen, one)
                assert decoded(payloads, chosen, other) == octets(events)


@settings(max_examples=20)
@given(
    events=streams(),
    options=options,
    efforts=st.lists(st.sampled_from(Effort), min_size=1, max_size=12),
)
def test_effort_may_change_on_the_way(
    events: list[Event], options: Options, efforts: list[Effort]
) -> None:
    encoder, payloads = Encoder(options), []
    for at, event in enumerate(events):
        encoder.effort = efforts[at % len(efforts)]
        payloads += encoder.encode([event]) + encoder.flush()
    assert decoded(payloads + encoder.finish(), options) == octets(events)


@pytest.mark.parametrize("form", [Options.zstd_long(), Options.pass_through()])
def test_without_stages_that_look_at_pages_no_parser_is_needed(form: Options) -> None:
    stream = np.random.default_rng(1).integers(0, 4, 5 * MIB, np.uint8).tobytes()
    pieces: list[Event] = [Opaque(stream[at : at + 70_001]) for at in range(0, len(stream), 70_001)]
    assert not form.needs_pages
    assert decoded(encoded(pieces, form), form) == stream


def test_a_page_that_was_sent_before_goes_as_what_changed() -> None:
    guest = Guest()
    pages = range(64)
    for page in pages:
        guest.write(b"pc.ram", page, "random")
    first = guest.send(b"pc.ram", pages)
    for page in pages:
        guest.write(b"pc.ram", page, "update")
    encoder = Encoder(replace(SMALL, content=False))
    before = sum(map(len, encoder.encode([first]) + encoder.flush()))
    after = sum(map(len, encoder.encode([guest.send(b"pc.ram", pages)]) + encoder.finish()))
    assert before > 64 * 4096
    # Five changes of eight octets each, and a few for where they are.
    assert after < 64 * 5 * (8 + 6)
    assert encoder.statistics.delta.hits == 64


def test_content_seen_elsewhere_goes_as_an_index() -> None:
    guest = Guest()
    for page in range(64):
        guest.write(b"pc.ram", page, "random")
        guest.ram[(b"vga.vram", page)] = guest.ram[(b"pc.ram", page)]
    encoder = Encoder(replace(SMALL, delta=False))
    encoder.encode([guest.send(b"pc.ram", range(64))])
    encoder.flush()
    again = encoder.encode([guest.send(b"vga.vram", range(64))]) + encoder.finish()
    assert sum(map(len, again)) < 64 * 8
    assert encoder.statistics.content.hits == 64 * 4


def test_content_that_both_sites_have_on_disk_goes_as_an_index(tmp_path: Path) -> None:
    chosen = replace(SMALL, site=True)
    sizes = []
    for day in range(2):
        guest = Guest()
        for page in range(64):
            guest.write(b"pc.ram", page + 1000 * day, "random")
        events = [guest.send(b"pc.ram", [page + 1000 * day for page in range(64)])]
        with agreed(tmp_path / "here", tmp_path / "there", 1024) as (one, other):
            payloads = encoded(events, chosen, one)
            assert decoded(payloads, chosen, other) == octets(events)
        sizes.append(sum(map(len, payloads)))
    assert sizes[0] > 64 * 4096
    assert sizes[1] < 64 * 8


def test_what_a_guest_changes_on_the_way_is_not_kept_for_others(tmp_path: Path) -> None:
    chosen = replace(SMALL, site=True)
    guest = Guest()
    events = []
    for _ in range(3):
        for page in range(32):
            guest.write(b"pc.ram", page, "random")
        events.append(guest.send(b"pc.ram", range(32)))
    with agreed(tmp_path / "here", tmp_path / "there", 1024) as (one, other):
        payloads = encoded(events, chosen, one, flush_every=1)
        assert decoded(payloads, chosen, other) == octets(events)
    with agreed(tmp_path / "here", tmp_path / "there", 1024) as (one, _):
        assert one.count == 32 * 4


def test_the_tail_is_pushed_out_at_once() -> None:
    guest = Guest()
    guest.write(b"pc.ram", 1, "random")
    event = guest.send(b"pc.ram", [1])
    encoder = Encoder(SMALL)
    assert encoder.encode([event]) == []
    assert decoded(encoder.flush(), SMALL) == octets([event])
    assert encoder.flush() == []


def test_both_ends_count_the_same_stream() -> None:
    guest = Guest()
    for page in range(300):
        guest.write(b"pc.ram", page, "text")
    events = [Opaque(b"QEVM"), guest.send(b"pc.ram", range(300), fills=[7, 8])]
    encoder = Encoder(SMALL)
    payloads = encoder.encode(events) + encoder.finish()
    assert encoder.statistics.stream == len(octets(events))
    assert encoder.statistics.wire == sum(map(len, payloads))
    assert (encoder.statistics.pages, encoder.statistics.fills) == (300, 2)
