"""A peer that lies is named as such; nothing crashes, hangs or grows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sidecar.elimination.guests import MIB, Guest, encoded, options, streams
from vpnctl.errors import SidecarProtocolError
from vpnctl.sidecar.elimination import MAX_BATCH, Decoder, Options, SiteCache
from vpnctl.sidecar.elimination.batch import COLUMNS, Columns, What, pack, unpack
from vpnctl.sidecar.elimination.compression import HEADER, Batch, Compressor, Decompressor, Form
from vpnctl.sidecar.stream.events import Event

PLAIN = Options(site=False, compress=False, cache_size=MIB, window_log=18)
ZSTD = replace(PLAIN, compress=True)


def decode_until_error(payloads: list[bytes], chosen: Options) -> int:
    """Octets that came out before the decoder refused, if it did."""
    decoder, total = Decoder(chosen), 0
    for payload in payloads:
        try:
            out = decoder.decode(payload)
        except SidecarProtocolError:
            break
        assert len(out) <= MAX_BATCH
        total += len(out)
    return total


@settings(max_examples=150)
@given(
    events=streams(most=5),
    chosen=options,
    harm=st.lists(
        st.tuples(
            st.sampled_from(["flip", "cut", "insert", "swap", "repeat", "drop"]),
            st.integers(0, 2**30),
            st.binary(min_size=1, max_size=9),
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_damaged_payloads_are_refused_or_stay_small(
    events: list[Event], chosen: Options, harm: list[tuple[str, int, bytes]]
) -> None:
    payloads = encoded(events, chosen, flush_every=1)
    for kind, where, what in harm:
        if not payloads:
            break
        at = where % len(payloads)
        payload = bytearray(payloads[at])
        # Most of a payload is literals; what can confuse a decoder stands in its first octets.
        place = where // 7 % (min(len(payload), 400) or 1)
        if kind == "flip":
            payload[place : place + 1] = what[:1]
        elif kind == "cut":
            del payload[place:]
        elif kind == "insert":
            payload[place:place] = what
        elif kind == "swap":
            payloads[at], payloads[0] = payloads[0], payloads[at]
            continue
        elif kind == "repeat":
            payloads.insert(at, payloads[at])
            continue
        else:
            del payloads[at]
            continue
        payloads[at] = bytes(payload)
    decode_until_error(payloads, chosen)


@settings(max_examples=200)
@given(payload=st.binary(max_size=300), chosen=options)
def test_noise_is_refused(payload: bytes, chosen: Options) -> None:
    decode_until_error([payload, payload], chosen)


def honest_columns() -> Columns:
    """Those of a batch with deltas, indexes and literals, when another batch has gone before."""
    return unpack(honest_payloads()[1][HEADER.size :], 0)


def honest_payloads() -> list[bytes]:
    guest = Guest()
    for page in range(8):
        guest.write(b"pc.ram", page, "random")
    first = guest.send(b"pc.ram", range(8), fills=[90], named=True)
    for page in range(4):
        guest.write(b"pc.ram", page, "update")
    guest.ram[(b"pc.ram", 9)] = np.roll(guest.ram[(b"pc.ram", 7)], 1024)
    guest.write(b"pc.ram", 10, "random")
    guest.write(b"pc.ram", 11, "part")
    second = guest.send(b"pc.ram", [0, 1, 2, 3, 9, 10, 11])
    return encoded([first, second], PLAIN, flush_every=1)


def refusal(columns: Columns, epoch: int = 0) -> str:
    """What a decoder says to this batch as the second one."""
    decoder = Decoder(PLAIN)
    decoder.decode(honest_payloads()[0])
    body = b"".join(pack(columns, epoch))
    with pytest.raises(SidecarProtocolError) as refused:
        decoder.decode(HEADER.pack(Form.BATCH, len(body)) + body)
    return refused.value.message


LIES = {
    "a page in an unknown way": ("how", 9, "known way"),
    "a block in an unknown way": ("what", 9, "known way"),
    "an index behind the ring": ("recent", 5000, "indexes are in the cache"),
    "more runs than there are": ("counts", 999, "deltas stay in their pages"),
    "a run out of its page": ("runs", 4095, "deltas stay in their pages"),
    "flags of more than 12 bits": ("flags", 0xF028, "flags"),
    "a shorter event": ("events", 2 * 3 + 1, "events have records"),
    "an event of no records": ("events", 1, "events have records"),
    "no name": ("names", 0, "names"),
}


@pytest.mark.parametrize("lie", LIES)
def test_each_lie_is_named(lie: str) -> None:
    column, value, said = LIES[lie]
    columns = honest_columns()
    array = getattr(columns, column).copy()
    assert len(array), "the honest batch has something to lie about"
    array[0] = value
    assert said in refusal(replace(columns, **{column: array}))


@pytest.mark.parametrize("column", COLUMNS)
def test_a_column_that_is_too_short_or_too_long_is_refused(column: str) -> None:
    columns = honest_columns()
    array = getattr(columns, column)
    longer = np.concatenate((array, array[-1:] if len(array) else np.ones(1, array.dtype)))
    refusal(replace(columns, **{column: longer}))
    if len(array):
        refusal(replace(columns, **{column: array[:-1]}))


def test_a_delta_to_a_page_that_never_went_is_refused() -> None:
    columns = honest_columns()
    steps = columns.steps.copy()
    steps[steps > 0] = 0
    moved = replace(columns, steps=steps, far=np.full(len(steps), 1 << 40, np.uint64))
    assert "deltas refer to pages that went before" in refusal(moved)


def test_another_epoch_is_refused() -> None:
    assert "epoch" in refusal(honest_columns(), epoch=7)


def test_a_number_beyond_the_site_cache_is_refused(tmp_path: Path) -> None:
    columns = honest_columns()
    what = columns.what.copy()
    what[what == What.RECENT] = What.SITE
    lie = replace(columns, what=what, site=columns.recent, recent=columns.site)
    assert "agreed on" in refusal(lie)
    chosen = replace(PLAIN, site=True)
    offer = SiteCache(tmp_path / "cache", MIB).offer(1024)
    with offer.agree([]) as view:
        decoder = Decoder(chosen, view)
        first = unpack(honest_payloads()[0][HEADER.size :], 0)
        for columns in (first, lie):
            body = b"".join(pack(columns, view.epoch))
            payload = HEADER.pack(Form.BATCH, len(body)) + body
            if columns is first:
                decoder.decode(payload)
            else:
                with pytest.raises(SidecarProtocolError, match="numbers are in the site's cache"):
                    decoder.decode(payload)


def test_a_small_payload_cannot_stand_for_a_large_stream() -> None:
    pages = 40_000
    columns = Columns(**{name: np.empty(0, kind) for name, kind in COLUMNS.items()})
    huge = replace(
        columns,
        events=np.array([2 * pages + 1], np.uint32),
        flags=np.full(pages, 0x28, np.uint16),
        steps=np.ones(pages, np.uint8),
        names=np.array([1, 65], np.uint8),
        how=np.zeros(pages, np.uint8),
        what=np.full(4 * pages, What.ZERO, np.uint8),
    )
    assert "a batch is small" in refusal(huge)


def test_a_batch_of_countless_events_is_refused() -> None:
    columns = honest_columns()
    many = np.zeros(1_000_000, np.uint32)
    assert "few events" in refusal(replace(columns, events=many))


def test_what_was_not_agreed_on_is_refused() -> None:
    body = b"".join(pack(honest_columns(), 0))
    payload = HEADER.pack(Form.BATCH, len(body)) + body
    with pytest.raises(SidecarProtocolError, match="not agreed on"):
        Decoder(Options.zstd_long()).decode(payload)
    alone = HEADER.pack(Form.BATCH_ALONE, len(body)) + zstandard.compress(body)
    for chosen in (PLAIN, Options.zstd_long()):
        with pytest.raises(SidecarProtocolError, match="not agreed on"):
            Decoder(chosen).decode(alone)


def compressed(body: bytes) -> bytes:
    return b"".join(Compressor(ZSTD).parts(Batch(Form.OCTETS_ZSTD, [body])))


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"", "is none"),
        (b"\x01\x00", "is none"),
        (HEADER.pack(9, 3) + b"abc", "form 9"),
        (HEADER.pack(Form.OCTETS, 4) + b"abc", "claims 4 octets and has 3"),
        (HEADER.pack(Form.OCTETS_ZSTD, MAX_BATCH + 1) + b"abc", "the limit is"),
        (compressed(b"abc" * 500)[:-4], "ends after|damaged"),
        (HEADER.pack(Form.OCTETS_ZSTD, 10) + b"no zstd at all", "damaged"),
        (HEADER.pack(Form.OCTETS_ZSTD, 9) + zstandard.compress(b"abc"), "ends after 3"),
        (
            HEADER.pack(Form.OCTETS_ZSTD, 100)
            + zstandard.ZstdCompressor(
                compression_params=zstandard.ZstdCompressionParameters(window_log=27)
            )
            .compressobj()
            .compress(b"a" * (1 << 20)),
            "damaged|ends after",
        ),
    ],
    ids=lambda value: None if isinstance(value, bytes) else value,
)
def test_what_is_no_payload_is_refused(payload: bytes, said: str) -> None:
    with pytest.raises(SidecarProtocolError, match=said):
        Decompressor(ZSTD).batch(payload)


def test_a_bomb_gives_what_it_claims_and_no_more() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 28))
    decompressor = Decompressor(replace(ZSTD, window_log=27))
    payload = HEADER.pack(Form.OCTETS_ZSTD, 1000) + bomb
    assert decompressor.batch(payload).size == 1000
    with pytest.raises(SidecarProtocolError, match="goes on behind"):
        decompressor.batch(payload)


def test_options_that_are_none_are_refused() -> None:
    plain = Options().to_plain()
    assert Options.from_plain(plain) == Options()
    for lie in (
        {},
        plain | {"more": 1},
        plain | {"delta": 1},
        plain | {"level": True},
        plain | {"sub_blocks": 3},
        plain | {"cache_size": 1 << 50},
        plain | {"window_log": 31},
    ):
        with pytest.raises(SidecarProtocolError):
            Options.from_plain(lie)
