"""Progress is shown to somebody who may not read it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import sys
from dataclasses import replace

import pytest

from vpnctl.cli.sidecar import report
from vpnctl.cli.sidecar.report import JsonLines
from vpnctl.sidecar.run.progress import Phase, Progress

#: Far more than a pipe holds of them.
LINES = 500


def some_progress() -> Progress:
    return Progress(
        migration="1",
        role="source",
        phase=Phase.MOVING,
        guest=0,
        wire=0,
        resent=0,
        guest_rate=0.0,
        wire_rate=0.0,
        limit=None,
        cuts=0,
        cut_s=0.0,
        elapsed_s=0.0,
    )


def test_a_reader_that_stops_does_not_stop_the_sidecar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "_LINES_S", 0.0)
    here, there = os.pipe()
    fcntl.fcntl(there, fcntl.F_SETPIPE_SZ, 4096)
    now = some_progress()
    looked = 0

    def progress() -> Progress:
        nonlocal looked
        looked += 1
        return replace(now, guest=looked)

    async def main() -> bytes:
        showing = asyncio.create_task(JsonLines().show(progress))
        before = -1
        while looked > before:
            # Until the pipe is full and nothing more is asked for; the loop goes on.
            before = looked
            await asyncio.sleep(0.2)
        assert 5 < looked < LINES
        reading = asyncio.create_task(asyncio.to_thread(read_all, here))
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)
        sys.stdout.close()
        return await reading

    with os.fdopen(there, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        text = asyncio.run(main())
    shown = [json.loads(line)["guest"] for line in text.splitlines()]
    assert shown == list(range(1, looked + 1))


def read_all(pipe: int) -> bytes:
    with os.fdopen(pipe, "rb") as file:
        return file.read()
