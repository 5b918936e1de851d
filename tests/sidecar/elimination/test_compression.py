"""How far zstd looks back, and what it is spared."""

from __future__ import annotations

from dataclasses import replace

import pytest
import zstandard

from vpnctl.sidecar.elimination import Options
from vpnctl.sidecar.elimination.compression import HEADER, Batch, Compressor, Form, is_plain

NEAR = 1 << 18


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
    payload = Compressor(options).payload(Batch(Form.BATCH_ZSTD, [b"pages"]))
    frame = zstandard.get_frame_parameters(payload[HEADER.size :])
    assert frame.window_size == window
    assert window <= 1 << options.window_log


@pytest.mark.parametrize("form", Form)
def test_what_was_compressed_is_seen_from_outside(form: Form) -> None:
    payload = Compressor(replace(Options(), site=False)).payload(Batch(form, [b"octets"]))
    assert is_plain(payload) is not form.compressed


def test_nothing_is_no_plain_payload() -> None:
    assert not is_plain(b"")
