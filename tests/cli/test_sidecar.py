"""``vpnctl sidecar`` as programs between two QEMUs that are made up."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.sidecar.run.qemus import Incoming, migrate, waiting
from tests.sidecar.stream.samples import SAMPLES, sample
from tests.support.sidecars import program
from vpnctl.cli.sidecar.quantities import (
    parse_rate,
    parse_size,
    show_rate,
    show_seconds,
    show_size,
)
from vpnctl.cli.sidecar.report import summary
from vpnctl.errors import UsageError
from vpnctl.sidecar.run.progress import Phase, Progress

PATIENCE_S = 60.0
OCTETS = sample(SAMPLES[0])


def story(told: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await told()

    asyncio.run(bounded())


def test_a_guest_moves_and_is_watched_and_limited(tmp_path: Path, vpnctl: Any) -> None:
    entry, incoming = tmp_path / "out", tmp_path / "in"
    control = tmp_path / "out.control"
    plain = ("--plain", "--keepalive", 0.5)
    qemu = Incoming(len(OCTETS))
    qemu.pause_at = 1

    async def told() -> None:
        async with (
            waiting(incoming, qemu),
            program(
                "destination", "--qemu", incoming, "--listen", "127.0.0.1:0", *plain
            ) as destination,
        ):
            where = (await destination.line(r"ready: listening on (\S+)"))[1]
            async with program(
                *("source", "--qemu", entry, "--connect", where, *plain),
                *("--migration", "web1", "--limit", "800k", "-o", "json"),
            ) as source:
                await source.line(f"ready: .* migrate to unix:{entry}; control at {control}")
                migrating = asyncio.create_task(migrate(entry, OCTETS))
                await qemu.begun.wait()
                status = await asyncio.to_thread(
                    vpnctl, "sidecar", "status", str(control), "-o", "json"
                )
                shown = json.loads(status.stdout)["progress"]
                assert (shown["migration"], shown["limit"]) == ("web1", 100_000.0)
                result = await asyncio.to_thread(vpnctl, "sidecar", "limit", str(control), "1G")
                assert (result.exit_code, result.stderr) == (0, "limited to 1Gb/s\n")
                table = await asyncio.to_thread(vpnctl, "sidecar", "status", str(control))
                assert "limit       1 Gb/s" in table.stdout
                result = await asyncio.to_thread(vpnctl, "sidecar", "limit", str(control), "none")
                assert (result.exit_code, result.stderr) == (0, "no limit\n")
                qemu.go_on.set()
                await migrating
                code, lines = await source.ended()
                assert code == 0, source.said
                assert (await destination.ended())[0] == 0, destination.said
                last = json.loads(lines.splitlines()[-1])
                assert (last["phase"], last["guest"]) == ("done", len(OCTETS))
                assert last["limit"] is None
                assert "done: " in destination.said
        assert qemu.got == OCTETS
        assert not control.exists()

    story(told)


def test_certificates_of_pki_are_all_it_takes(tmp_path: Path, vpnctl: Any) -> None:
    pki = tmp_path / "pki"
    assert vpnctl("pki", "init", str(pki)).exit_code == 0
    for name in ("localhost", "cloud1.test"):
        assert vpnctl("pki", "issue", name, "--dir", str(pki)).exit_code == 0

    def certificates(name: str) -> dict[str, str]:
        return {
            "VPNCTL_CERT": f"{pki}/{name}.pem",
            "VPNCTL_KEY": f"{pki}/{name}.key",
            "VPNCTL_CA": f"{pki}/ca.pem",
        }

    entry, incoming = tmp_path / "out", tmp_path / "in"
    qemu = Incoming(len(OCTETS))

    async def told() -> None:
        async with (
            waiting(incoming, qemu),
            program(
                *("destination", "--qemu", incoming, "--listen", "127.0.0.1:0"),
                *("--peer-name", "cloud1.test"),
                env=certificates("localhost"),
            ) as destination,
        ):
            port = (await destination.line(r"listening on 127\.0\.0\.1:(\d+)"))[1]
            async with program(
                *("source", "--qemu", entry, "--connect", f"localhost:{port}"),
                env=certificates("cloud1.test"),
            ) as source:
                await source.line("ready")
                await migrate(entry, OCTETS)
                assert (await source.ended())[0] == 0
                assert (await destination.ended())[0] == 0
                assert "done: " in source.said
        assert qemu.got == OCTETS

    story(told)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_both_and_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    incoming = tmp_path / "in"

    async def told() -> None:
        async with (
            waiting(incoming, Incoming(1)),
            program(
                "destination", "--qemu", incoming, "--listen", "127.0.0.1:0", "--plain"
            ) as destination,
        ):
            where = (await destination.line(r"listening on (\S+)"))[1]
            async with program(
                "source", "--qemu", tmp_path / "out", "--connect", where, "--plain"
            ) as source:
                await source.line("ready")
                source.process.send_signal(number)
                assert (await source.ended())[0] == 130
                assert source.said.endswith("interrupted\n")
                assert (await destination.ended())[0] == 12
                assert "error: the other site gave up: it was stopped" in destination.said
                assert "Traceback" not in source.said + destination.said

    story(told)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--connect", "192.0.2.1:1", "--plain"), "does not go to 192.0.2.1:1 without TLS"),
        (("--connect", "192.0.2.1:1"), "--cert, --key, --ca missing"),
        (("--connect", "nowhere", "--plain"), "--connect: 'nowhere' is no HOST:PORT"),
        (("--connect", "[::1]:1", "--plain", "--ca", "x"), "contradict each other"),
        (("--connect", "[::1]:1", "--plain", "--stages", "gzip"), "'gzip' is no stage"),
        (("--connect", "[::1]:1", "--plain", "--stages", "site"), "the stage site has no"),
        (("--connect", "[::1]:1", "--plain", "--limit", "fast"), "'fast' is no rate"),
        (("--connect", "[::1]:1", "--plain", "--limit", "1"), "1 bit/s is not"),
        (("--connect", "[::1]:1", "--plain", "--cache", "1X"), "--cache: '1X' is no size"),
        (("--connect", "[::1]:1", "--plain", "--level", "99"), "level is 99"),
        (("--connect", "[::1]:1", "--plain", "--resume", "0"), "--resume: 0 seconds"),
        (("--connect", "[::1]:1", "--plain", "--migration", "a b"), "'a b' is no name"),
        (("--connect", "[::1]:1", "--plain", "--qmp", "/none"), "no QEMU monitor answers"),
        (("--connect", "[::1]:1", "--plain", "--metrics", "0.0.0.0:1"), "not encrypted"),
    ],
)
def test_a_senseless_command_line_is_refused(
    vpnctl: Any, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    result = vpnctl("sidecar", "source", "--qemu", str(tmp_path / "out"), *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_everything_that_is_wrong_with_a_command_line_is_told_at_once(
    vpnctl: Any, tmp_path: Path
) -> None:
    words = ("--connect", "192.0.2.1:1", "--plain", "--limit", "fast", "--cache", "1X")
    more = ("--resume", "0", "--keepalive", "0", "--migration", "a b", "--metrics", "here")
    result = vpnctl("sidecar", "source", "--qemu", str(tmp_path / "out"), *words, *more)
    assert (result.exit_code, result.stdout) == (2, "")
    said = " ".join(result.stderr.split())
    for one in (
        "does not go to 192.0.2.1:1 without TLS",
        "'fast' is no rate",
        "'1X' is no size",
        "--resume: 0 seconds",
        "--keepalive: 0 seconds",
        "'a b' is no name",
        "'here' is no HOST:PORT",
    ):
        assert one in said
    for option, hint in (("--limit", "write bits per second"), ("--cache", "write e.g. 512k")):
        (line,) = [line for line in result.stderr.splitlines() if f"{option}: " in line]
        assert hint in line
    result = vpnctl("sidecar", "destination", "--qemu", "in", "--listen", "x", "--memory", "1X")
    assert "--listen: 'x' is no HOST:PORT" in result.stderr
    assert "--cert, --key, --ca missing" in result.stderr
    assert "--memory: '1X' is no size" in result.stderr


def test_a_destination_must_know_whom_it_expects(vpnctl: Any) -> None:
    words = ("--cert", "c", "--key", "k", "--ca", "a")
    result = vpnctl("sidecar", "destination", "--qemu", "in", "--listen", "[::]:1", *words)
    assert result.exit_code == 2
    assert "--peer-name is missing" in result.stderr


def test_no_sidecar_to_ask_is_said(vpnctl: Any, tmp_path: Path) -> None:
    for words in (("status",), ("limit",)):
        result = vpnctl(
            "sidecar", *words, str(tmp_path / "none"), *(["1M"] if "limit" in words else [])
        )
        assert result.exit_code == 4
        assert "no sidecar answers at" in result.stderr


@pytest.mark.parametrize(
    ("text", "rate"),
    [("none", None), ("64000", 64_000), ("500k", 500_000), ("2.5G", 2_500_000_000)],
)
def test_rates_are_read(text: str, rate: int | None) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "100m", "-1M", "1e9", "M", "٣M", "1 M", "none "])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no rate"):
        parse_rate(text)


def test_quantities_are_shown_short() -> None:
    assert parse_size("256M") == 256 << 20
    assert show_rate(12_500_000) == "100 Mb/s"
    assert show_rate(0) == "0 b/s"
    assert show_size(41_240_000) == "41.2 MB"
    assert show_size(2_500_000_000) == "2.5 GB"
    assert show_seconds(9.4) == "9 s"
    assert show_seconds(125) == "2 min 05 s"


def test_the_last_line_tells_of_cuts() -> None:
    done = Progress(
        "web1", "source", Phase.DONE, guest=184_000_000, wire=41_200_000, resent=150_000,
        cuts=3, cut_s=4.0, elapsed_s=9.0,
    )  # fmt: skip
    assert summary(done) == (
        "done: 184 MB of the guest's stream as 41.2 MB (22 %), in 9 s,"
        " cut 3 times, 4 s without connection, 150 kB sent again"
    )
    assert ", cut 1 time, " in summary(replace(done, cuts=1))
