"""The units under docs/systemd start what the program has, and keep what it needs."""

from __future__ import annotations

import configparser
import shlex
from pathlib import Path
from typing import Any

import pytest

UNITS = Path(__file__).parents[2] / "docs" / "systemd"


def service(name: str) -> dict[str, str]:
    parser = configparser.RawConfigParser(strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    parser.read_string((UNITS / name).read_text())
    return dict(parser["Service"])


@pytest.mark.parametrize("name", ["vpnctl.service", "vpnctl-agent.service"])
def test_every_option_is_one_of_the_program(name: str, vpnctl: Any) -> None:
    program, *words = shlex.split(service(name)["ExecStart"])
    assert program == "/usr/bin/vpnctl"
    commands = [word for word in words[:2] if word in ("serve", "agent")]
    told = vpnctl(*commands, "--help").stdout
    for word in words:
        if word.startswith("--"):
            assert word in told


def test_a_restart_leaves_the_session_process_and_its_socket() -> None:
    told = service("vpnctl.service")
    assert (told["KillMode"], told["RestartKillSignal"]) == ("process", "SIGUSR1")
    assert told["RuntimeDirectoryPreserve"] == "restart"
    assert f"VPNCTL_SOCKET=/run/{told['RuntimeDirectory']}/" in told["Environment"]


def test_machines_outlive_their_agent() -> None:
    assert service("vpnctl-agent.service")["KillMode"] == "process"
