"""How far zstd looks back, and what it is spared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import zstandard

from vpnctl.errors import SidecarProtocolError
from vpnctl.sidecar.elimination import MAX_BATCH, Decoder, Options
from vpnctl.sidecar.elimination.compression import (
    HEADER,
    SPELLED,
    Batch,
    Compressor,
    Decompressor,
    Form,
    is_plain,
)

NEAR = 1 << 18
SHORT, LONG = 1000, 600_000
BEHIND_BLOCKS = Options(site=False)


@pytest.mark.parametrize(
    ("options", "window"),
    [
        # Blocks that lie further back were found before zstd sees anything.
        (Options(site=False), NEAR),
        (Options(site=False, window_log=17), 1 << 17),
        (Options(site=False, content=False), 1 << 27),
        (Options.zstd_long(), 1 << 27),
        # Who asks for a higher level asks for few octets.
        (Options(site=False, level=4), 1 << 27),
    ],
)
def test_the_window_is_no_larger_than_it_has_to_be(options: Options, window: int) -> None:
    payload = b"".join(Compressor(options).parts(Batch(Form.BATCH_ZSTD, [b"pages"])))
    frame = zstandard.get_frame_parameters(payload[HEADER.size :])
    assert frame.window_size == window
    assert window <= 1 << options.window_log


@pytest.mark.parametrize("form", set(Form) - {Form.BATCH_ALONE, Form.TEXT_ALONE})
def test_what_was_compressed_is_seen_from_outside(form: Form) -> None:
    payload = b"".join(Compressor(replace(Options(), site=False)).parts(Batch(form, [b"octets"])))
    assert is_plain(payload) is not form.compressed


def test_nothing_is_no_plain_payload() -> None:
    assert not is_plain(b"")


def prose(size: int, seed: int) -> bytes:
    """Octets that compress to about a third."""
    words = np.array([b"route ", b"target", b"memory", b"page\n ", b"\0\0\1\2\3\4"])
    drawn = np.random.default_rng(seed).choice(words, size // 6 + 1)
    return b"".join(drawn.tolist())[:size]


def form_of(payload: bytes) -> Form:
    return Form(HEADER.unpack_from(payload)[0])


def test_long_batches_stand_alone_and_short_ones_continue() -> None:
    batches = [prose(size, seed) for seed, size in enumerate((SHORT, LONG, SHORT, LONG, SHORT))]
    compressor = Compressor(BEHIND_BLOCKS)
    payloads = [
        b"".join(compressor.parts(Batch(Form.BATCH_ZSTD, [octets[:50], octets[50:]])))
        for octets in batches
    ]
    alone, continued = Form.BATCH_ALONE, Form.BATCH_ZSTD
    assert list(map(form_of, payloads)) == [continued, alone, continued, alone, continued]
    assert not any(map(is_plain, payloads))
    assert sum(map(len, payloads)) < sum(map(len, batches)) / 2
    decompressor = Decompressor(BEHIND_BLOCKS)
    found = [decompressor.batch(payload) for payload in payloads]
    assert [bytes(*batch.parts) for batch in found] == batches
    # One that stands alone needs none of the others.
    (octets,) = Decompressor(BEHIND_BLOCKS).batch(payloads[3]).parts
    assert bytes(octets) == batches[3]


@pytest.mark.parametrize("options", [replace(BEHIND_BLOCKS, level=4), Options.zstd_long()])
def test_where_the_window_is_wide_every_batch_continues(options: Options) -> None:
    payload = b"".join(Compressor(options).parts(Batch(Form.BATCH_ZSTD, [prose(LONG, 1)])))
    assert form_of(payload) is Form.BATCH_ZSTD


def frame(octets: bytes, *, tells_size: bool = True) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=tells_size).compress(octets)


@pytest.mark.parametrize(
    ("claimed", "body", "told"),
    [
        # Small on the wire, and more memory than a batch may take.
        (100, frame(bytes(4 * MAX_BATCH)), f"claims 100 octets and its frame {4 * MAX_BATCH}"),
        (101, frame(bytes(100)), "claims 101 octets and its frame 100"),
        (100, frame(bytes(100), tells_size=False), "claims 100 octets and its frame -1"),
        (100, frame(bytes(100))[:-1], "compressed octets are damaged"),
        (100, frame(bytes(100)) + b"\0", "compressed octets are damaged"),
        (100, frame(bytes(100)) * 2, "compressed octets are damaged"),
        (100, b"", "compressed octets are damaged"),
        (100, bytes(100), "compressed octets are damaged"),
    ],
)
def test_a_frame_that_is_not_what_its_payload_says_is_refused(
    claimed: int, body: bytes, told: str
) -> None:
    payload = HEADER.pack(Form.BATCH_ALONE, claimed) + body
    with pytest.raises(SidecarProtocolError, match=told):
        Decompressor(BEHIND_BLOCKS).batch(payload)


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (HEADER.pack(Form.TEXT, 5) + b"abc", "no room for its text"),
        (HEADER.pack(Form.TEXT_ZSTD, 0) + SPELLED.pack(5) + b"abcde", "for 0"),
        (HEADER.pack(Form.TEXT, 100) + SPELLED.pack(2**32 - 1) + b"abc", "the limit is"),
        (HEADER.pack(Form.TEXT, 100) + SPELLED.pack(2) + b"abc", "claims 2 octets and has 3"),
        (HEADER.pack(Form.TEXT_ALONE, 100) + SPELLED.pack(9) + frame(bytes(10)), "its frame 10"),
        (HEADER.pack(Form.TEXT_ZSTD, 100) + SPELLED.pack(9) + bytes(10), "are damaged"),
        (HEADER.pack(Form.TEXT, MAX_BATCH + 1) + SPELLED.pack(3) + b"abc", "claims to stand for"),
    ],
)
def test_spelled_text_is_as_long_as_its_payload_says(payload: bytes, told: str) -> None:
    with pytest.raises(SidecarProtocolError, match=told):
        Decompressor(BEHIND_BLOCKS).batch(payload)


def test_a_stage_that_was_not_agreed_on_is_refused() -> None:
    payload = HEADER.pack(Form.TEXT, 3) + SPELLED.pack(3) + b"abc"
    with pytest.raises(SidecarProtocolError, match="form TEXT was not agreed on"):
        Decoder(replace(BEHIND_BLOCKS, text=False)).decompress(payload)
