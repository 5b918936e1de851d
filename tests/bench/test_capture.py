"""The capture tool makes streams that are what it says they are."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.guest_image import MissingError, kernel
from tests.support.qemu import find_qemu
from vpnctl.sidecar.stream.parser import Phase, StreamParser

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.daemon
def test_two_guests_are_captured(tmp_path: Path) -> None:
    try:
        kernel()
        find_qemu()
    except MissingError as missing:
        pytest.skip(str(missing))
    done = subprocess.run(
        [sys.executable, "-m", "lab.bench.capture", str(tmp_path), "--quick"],
        cwd=ROOT,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    described = json.loads((tmp_path / "capture.json").read_text())
    assert json.loads(done.stdout) == described
    assert set(described["streams"]) == {"first.stream", "second.stream"}
    for name, stream in described["streams"].items():
        octets = (tmp_path / name).read_bytes()
        assert hashlib.sha256(octets).hexdigest() == stream["sha256"]
        parser = StreamParser()
        parser.feed(octets)
        parser.finish()
        assert parser.phase is Phase.DEVICES
        # Two passes: every page went once, and those that changed went again.
        ram = sum(parser.blocks.values()) // 4096
        assert stream["full_pages"] + stream["filled_pages"] - stream["sent_again"] == ram
        assert stream["sent_again"] > 0
