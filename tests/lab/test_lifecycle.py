"""Up, down, and everything that may come between: nothing is left on the machine."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.small import NAME, POLICY, small
from tests.lab.traces import Traces, traces
from tests.support.daemons import wait_until
from tests.support.lab import ROOT, require_lab, write_lab
from vpnctl.lab import state

pytestmark = pytest.mark.daemon


class Machine:
    """A topology file, the command line, and what the machine looked like before."""

    def __init__(self, directory: Path, base: Path) -> None:
        source, _ = write_lab(directory, small(), POLICY)
        self.file = directory / source.file
        self.base = base
        self.before: Traces = traces(base)

    def vpnctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "vpnctl", *words],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def popen(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def left(self) -> list[str]:
        return traces(self.base).beyond(self.before)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    require_lab()
    base = Path(tempfile.mkdtemp(prefix="vl-"))
    monkeypatch.setenv("VPNCTL_LAB_DIR", str(base))
    found = Machine(tmp_path, base)
    try:
        yield found
    finally:
        found.vpnctl("lab", "down", NAME)
        shutil.rmtree(base)


def test_up_exec_inspect_wan_down(machine: Machine) -> None:
    up = machine.vpnctl("lab", "up", str(machine.file))
    assert up.returncode == 0, up.stderr
    assert "small is up after" in up.stderr

    again = machine.vpnctl("lab", "up", str(machine.file))
    assert again.returncode == 20
    assert "the lab 'small' is up already" in again.stderr
    assert "vpnctl lab down small" in again.stderr

    shown = machine.vpnctl("lab", "exec", "pe-c1", "--", "vtysh", "-c", "show bgp summary")
    assert "10.0.0.100" in shown.stdout
    assert machine.vpnctl("lab", "exec", "vm1", "--", "sh", "-c", "exit 7").returncode == 7
    assert machine.vpnctl("lab", "exec", "nobody", "--", "true").returncode == 4

    told = json.loads(machine.vpnctl("lab", "inspect", "-o", "json").stdout)["lab"]
    pe = next(node for node in told["nodes"] if node["name"] == "pe-c1")
    assert [program["name"] for program in pe["programs"]] == ["zebra", "staticd", "bgpd"]
    assert all(program["running"] for program in pe["programs"])
    assert [session["state"] for session in pe["sessions"]] == ["established"]
    assert pe["addresses"] == ["eth1 10.0.0.3/24"]
    assert pe["memory_kib"] > 0
    (link,) = [link for link in told["links"] if link["wan"]]
    assert (link["wan"], link["delay"], link["cut"]) == ("cloud2", 0.002, False)
    assert link["forwarded"] > 0
    assert told["problems"] == []

    table = machine.vpnctl("lab", "inspect").stdout
    assert "bgpd" in table
    assert "established" in table
    assert "cloud2" in table

    slower = machine.vpnctl("lab", "wan", "cloud2", "--rate", "10mbit", "--delay", "30ms")
    assert "10 Mb/s, 30 ms, open" in slower.stdout
    cut = machine.vpnctl("lab", "wan", "cloud2", "--cut", "0s")
    assert ", cut (" in cut.stdout
    assert ", open (" in machine.vpnctl("lab", "wan", "pe-c2", "--heal").stdout
    assert "no WAN link 'pe-c1'" in machine.vpnctl("lab", "wan", "pe-c1").stderr

    down = machine.vpnctl("lab", "down", str(machine.file))
    assert down.returncode == 0, down.stderr
    assert machine.left() == []
    assert machine.vpnctl("lab", "down").returncode == 4


@pytest.mark.parametrize(
    ("step", "milliseconds"),
    [
        pytest.param(1, 0, id="before the first namespace"),
        pytest.param(3, 5, id="between namespaces"),
        pytest.param(9, 30, id="while the WAN link is made"),
        pytest.param(12, 0, id="as FRR begins"),
        pytest.param(12, 60, id="while zebra starts"),
        pytest.param(12, 400, id="while FRR is configured"),
        pytest.param(14, 10, id="among the exec lines"),
        pytest.param(19, 300, id="while sessions come up"),
    ],
)
def test_down_removes_what_a_killed_up_has_left(
    machine: Machine, step: int, milliseconds: int
) -> None:
    with machine.popen(
        "tests.lab.builder", str(machine.file), str(step), str(milliseconds)
    ) as builder:
        _, errors = builder.communicate()
    assert builder.returncode == -signal.SIGALRM, errors
    again = machine.vpnctl("lab", "up", str(machine.file))
    assert again.returncode == 20, again.stderr
    assert "vpnctl lab down small" in again.stderr
    down = machine.vpnctl("lab", "down")
    assert down.returncode == 0, down.stderr
    assert machine.left() == []


def test_ctrl_c_takes_down_what_was_built(machine: Machine) -> None:
    _never_up(machine)
    with machine.popen("vpnctl", "lab", "up", str(machine.file)) as up:
        layout = state.layout_of(NAME)
        wait_until(lambda: bool(state.started(layout)), "the first daemon to run")
        up.send_signal(signal.SIGINT)
        _, errors = up.communicate()
    assert up.returncode == 130, errors
    assert errors.strip().endswith("interrupted")
    assert machine.left() == []


def test_sigterm_takes_down_what_was_built(machine: Machine) -> None:
    _never_up(machine)
    with machine.popen("vpnctl", "lab", "up", str(machine.file)) as up:
        layout = state.layout_of(NAME)
        wait_until(lambda: bool(state.started(layout)), "the first daemon to run")
        up.send_signal(signal.SIGTERM)
        _, errors = up.communicate()
    assert up.returncode == 128 + signal.SIGTERM, errors
    assert machine.left() == []


def _never_up(machine: Machine) -> None:
    """However long it takes to signal who builds the lab, he is still at it."""
    text = machine.file.read_text().replace("ip link set br100 up", "sleep 1000", 1)
    machine.file.write_text(text)


def test_two_at_work_on_one_lab_are_kept_apart(machine: Machine) -> None:
    with machine.popen("vpnctl", "lab", "up", str(machine.file)) as up:
        layout = state.layout_of(NAME)
        wait_until(lambda: bool(state.started(layout)), "the first daemon to run")
        # However long the second one takes to start, the first is not done.
        up.send_signal(signal.SIGSTOP)
        second = machine.vpnctl("lab", "down", NAME)
        up.send_signal(signal.SIGCONT)
        assert second.returncode == 20
        assert f"process {up.pid} is building the lab" in second.stderr
        _, errors = up.communicate()
    assert up.returncode == 0, errors


def test_a_command_that_fails_takes_the_lab_down_and_is_named(machine: Machine) -> None:
    text = machine.file.read_text().replace("ip link set br100 up", "ip link set br999 up", 1)
    machine.file.write_text(text)
    up = machine.vpnctl("lab", "up", str(machine.file))
    assert up.returncode == 20
    assert "'ip link set br999 up' at pe-c1 ended with 1: Cannot find device" in up.stderr
    assert machine.left() == []


def test_a_router_that_does_not_understand_its_configuration_says_which_line(
    machine: Machine,
) -> None:
    configuration = machine.file.parent / "cloudnet" / "pe-c2" / "frr.conf"
    configuration.write_text(configuration.read_text() + "router nonsense\n")
    up = machine.vpnctl("lab", "up", str(machine.file))
    assert up.returncode == 20
    assert "vtysh at pe-c2 failed: " in up.stderr
    assert "router nonsense" in up.stderr
    assert machine.left() == []


def test_a_program_that_ends_leaves_the_lab_to_be_looked_at(machine: Machine) -> None:
    (machine.file.parent / "policies" / "e1.yaml").write_text("vpn: E1\nservice: nonsense\n")
    up = machine.vpnctl("lab", "up", str(machine.file))
    assert up.returncode == 20
    assert "cmd at controller ended" in up.stderr
    assert "nonsense" in up.stderr
    inspected = machine.vpnctl("lab", "inspect", "-o", "json")
    assert "cmd" in inspected.stdout
    assert machine.vpnctl("lab", "down").returncode == 0
    assert machine.left() == []


def test_processes_that_users_left_at_a_node_end_with_the_lab(machine: Machine) -> None:
    assert machine.vpnctl("lab", "up", str(machine.file)).returncode == 0
    with subprocess.Popen(
        [sys.executable, "-m", "vpnctl", "lab", "exec", "vm1", "--", "sleep", "1000"],
        stdin=subprocess.DEVNULL,
    ) as left_running:
        wait_until(
            lambda: any("sleep 1000" in one for one in traces(machine.base).processes),
            "the program to run",
        )
        assert machine.vpnctl("lab", "down").returncode == 0
        assert left_running.wait() == 128 + signal.SIGTERM
    assert machine.left() == []
