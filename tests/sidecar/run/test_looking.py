"""How a running sidecar is asked, limited and measured."""

from __future__ import annotations

import asyncio
import json
import socket
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from vpnctl.errors import NotFoundError, SidecarError, UsageError
from vpnctl.sidecar.elimination import Statistics
from vpnctl.sidecar.run.control import ask, check_rate, controlled
from vpnctl.sidecar.run.metrics import scraped
from vpnctl.sidecar.run.progress import Phase, Progress, RateMeter, StageProgress, stages_of
from vpnctl.sidecar.wan.address import Address

NOW = Progress(
    migration="web1",
    role="source",
    phase=Phase.MOVING,
    guest=1000,
    wire=250,
    limit=12_500_000.0,
    cuts=2,
    stages={"delta": StageProgress(tried=9, hits=5, saved=600)},
)


class Recorder:
    """A sidecar that stands still."""

    def __init__(self) -> None:
        self.rates: list[int | None] = []
        self.far: list[bool] = []
        self.mode = 0

    def progress(self) -> Progress:
        return NOW

    def set_rate(self, bits_per_s: int | None) -> None:
        self.rates.append(bits_per_s)

    def pause_is_far(self, far: bool) -> None:
        self.far.append(far)


def answers(path: Path, *requests: dict[str, Any]) -> tuple[list[Any], Recorder]:
    """What a sidecar at ``path`` answers, one request per connection."""
    sidecar = Recorder()

    async def story() -> list[Any]:
        async with controlled(sidecar, path):
            sidecar.mode = await asyncio.to_thread(lambda: path.stat().st_mode)
            return [
                (await asyncio.gather(asyncio.to_thread(ask, path, one), return_exceptions=True))[0]
                for one in requests
            ]

    return asyncio.run(story()), sidecar


def test_a_sidecar_tells_how_far_it_is(tmp_path: Path) -> None:
    ((answer,), sidecar) = answers(tmp_path / "c", {"command": "status"})
    assert sidecar.mode & 0o077 == 0
    assert answer == {"progress": NOW.to_plain()}
    assert json.loads(json.dumps(answer))["progress"]["phase"] == "moving"
    assert not (tmp_path / "c").exists()


def test_a_limit_is_set_and_lifted(tmp_path: Path) -> None:
    _, sidecar = answers(
        tmp_path / "c",
        {"command": "limit", "rate": 100_000_000},
        {"command": "limit", "rate": None},
    )
    assert sidecar.rates == [100_000_000, None]


def test_it_is_told_how_far_the_pause_is(tmp_path: Path) -> None:
    _, sidecar = answers(
        tmp_path / "c", {"command": "pause", "far": True}, {"command": "pause", "far": False}
    )
    assert sidecar.far == [True, False]


@pytest.mark.parametrize(
    "request_",
    [
        {"command": "stop"},
        {"command": "limit"},
        {"command": "limit", "rate": 1},
        {"command": "limit", "rate": "fast"},
        {"command": "limit", "rate": True},
        {"command": "limit", "rate": -5},
        {"command": "pause"},
        {"command": "pause", "far": 1},
        {},
    ],
)
def test_a_senseless_request_is_refused(tmp_path: Path, request_: dict[str, Any]) -> None:
    ((answer,), sidecar) = answers(tmp_path / "c", request_)
    assert isinstance(answer, UsageError)
    assert answer.hint
    assert sidecar.rates == []
    assert sidecar.far == []


@pytest.mark.parametrize("octets", [b"nonsense\n", b"[" * 4000 + b"\n", b"\xff\n", b"x" * 100_000])
def test_a_visitor_that_speaks_something_else_does_no_harm(tmp_path: Path, octets: bytes) -> None:
    async def story() -> None:
        async with controlled(Recorder(), tmp_path / "c"):
            reader, writer = await asyncio.open_unix_connection(tmp_path / "c")
            writer.write(octets)
            writer.write_eof()
            said = await reader.read()
            assert not said or "error" in json.loads(said)
            writer.close()
            answer = await asyncio.to_thread(ask, tmp_path / "c", {"command": "status"})
            assert answer == {"progress": NOW.to_plain()}

    asyncio.run(story())


def test_nobody_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no sidecar answers at"):
        ask(tmp_path / "none", {"command": "status"})


def test_something_else_that_answers_is_told_apart(tmp_path: Path) -> None:
    async def story() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            writer.write(b"550 what?\n")
            writer.close()

        async with await asyncio.start_unix_server(answer, tmp_path / "c"):
            with pytest.raises(SidecarError, match="is no sidecar"):
                await asyncio.to_thread(ask, tmp_path / "c", {"command": "status"})

    asyncio.run(story())


@pytest.mark.parametrize("rate", [None, 64_000, 10**9])
def test_rates_that_make_sense(rate: int | None) -> None:
    assert check_rate(rate) == rate


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def test_metrics_are_served_on_loopback() -> None:
    address = Address("127.0.0.1", free_port())
    with scraped(lambda: NOW, address):
        with urllib.request.urlopen(f"http://{address}/metrics") as answer:
            text = answer.read().decode()
        with pytest.raises(UsageError, match="cannot be served on"), scraped(lambda: NOW, address):
            pass
    labels = '{migration="web1",role="source"}'
    assert f"vpnctl_sidecar_guest_octets_total{labels} 1000.0" in text
    assert f"vpnctl_sidecar_cuts_total{labels} 2.0" in text
    assert 'vpnctl_sidecar_phase{migration="web1",phase="moving",role="source"} 1.0' in text
    assert 'vpnctl_sidecar_stage_saved_total{migration="web1",role="source",stage="delta"}' in text


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.net"])
def test_metrics_are_served_nowhere_else(host: str) -> None:
    with (
        pytest.raises(UsageError, match="they are not encrypted"),
        scraped(lambda: NOW, Address(host, 1)),
    ):
        pass


def test_rates_are_of_late() -> None:
    meter = RateMeter()
    assert meter.rate(0, 10.0) == 0.0
    assert meter.rate(1000, 11.0) == 1000.0
    assert meter.rate(1000, 11.0) == 1000.0
    for step in range(1, 20):
        meter.rate(1000 + step * 50, 11.0 + step / 4)
    assert meter.rate(2000, 16.0) == pytest.approx(200.0)


def test_stages_that_did_nothing_are_not_told() -> None:
    statistics = Statistics()
    statistics.delta.tried, statistics.delta.hits = 9, 5
    statistics.delta.octets_in, statistics.delta.octets_out = 700, 100
    assert stages_of(statistics) == {"delta": StageProgress(9, 5, 600)}
