"""Streams of real guests, through parser, encoder and decoder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sidecar.elimination.guests import MIB, decoded, encoded
from tests.sidecar.stream.samples import SAMPLES, sample
from vpnctl.errors import SidecarProtocolError
from vpnctl.sidecar.elimination import Decoder, Options, SiteCache
from vpnctl.sidecar.stream.events import Event
from vpnctl.sidecar.stream.parser import StreamParser

SMALL = Options(site=False, cache_size=4 * MIB, window_log=20)


def parsed(stream: bytes, piece: int = 1 << 16) -> list[Event]:
    parser = StreamParser()
    return [
        event
        for begin in range(0, len(stream), piece)
        for event in parser.feed(stream[begin : begin + piece])
    ]


@pytest.mark.parametrize("name", SAMPLES)
@settings(max_examples=5)
@given(piece=st.integers(5000, 1 << 20), sub_blocks=st.sampled_from([1, 4, 16]))
def test_real_streams_come_out_as_they_went_in(name: str, piece: int, sub_blocks: int) -> None:
    stream, chosen = sample(name), replace(SMALL, sub_blocks=sub_blocks)
    assert decoded(encoded(parsed(stream, piece), chosen, flush_every=3), chosen) == stream


def test_a_second_guest_costs_less_once_the_site_knows_the_first(tmp_path: Path) -> None:
    chosen = replace(SMALL, site=True)
    sizes = []
    for name in ("q35-7.2", "pc-i440fx-5.2", "q35-7.2"):
        stream = sample(name)
        here, there = (SiteCache(tmp_path / side, 64 * MIB).offer(1024) for side in "ab")
        with here.agree(there.names) as one, there.agree(here.names) as other:
            payloads = encoded(parsed(stream), chosen, one)
            assert decoded(payloads, chosen, other) == stream
        sizes.append(sum(map(len, payloads)) / len(stream))
    assert sizes[2] < sizes[0] / 2


@settings(max_examples=40)
@given(
    name=st.sampled_from(SAMPLES),
    compress=st.booleans(),
    seed=st.integers(0, 2**32),
    count=st.integers(1, 20),
)
def test_damaged_payloads_of_real_streams_are_refused_or_stay_small(
    name: str, compress: bool, seed: int, count: int
) -> None:
    chosen = replace(SMALL, compress=compress)
    random = np.random.default_rng(seed)
    decoder = Decoder(chosen)
    produced = 0
    try:
        for payload in _payloads(name, chosen):
            damaged = bytearray(payload)
            # In the first thousands of octets are all columns that are not contents.
            for place in random.integers(0, min(len(damaged), 4000), count).tolist():
                damaged[place] ^= 1 << int(random.integers(8))
            produced += len(decoder.decode(bytes(damaged)))
    except SidecarProtocolError:
        pass
    assert produced <= 2 * len(sample(name)) + MIB


_MADE: dict[tuple[str, Options], list[bytes]] = {}


def _payloads(name: str, chosen: Options) -> list[bytes]:
    """Of a sample; made once."""
    if (name, chosen) not in _MADE:
        _MADE[name, chosen] = encoded(parsed(sample(name)), chosen, flush_every=2)
    return _MADE[name, chosen]
