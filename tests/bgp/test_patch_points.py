"""Every place where ExaBGP is reached into, one test each; another version must not pass silently.

This test module imports the session process, and so ExaBGP, into the test's own process.
"""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
from types import SimpleNamespace

import exabgp.version
import pytest
from exabgp.bgp.fsm import FSM

from tests.bgp.recorder import listen, neighbor
from tests.support.loopback import free_port, loopback_address
from tests.support.rawbgp import ALL_FAMILIES
from vpnctl.bgp import exabgp_neighbor, exabgp_session
from vpnctl.bgp.channel import Channel
from vpnctl.bgp.compat import PatchPoint, check_patch_points
from vpnctl.bgp.wire import Kind, Problem
from vpnctl.errors import SessionProcessError

POINTS = exabgp_session.PATCH_POINTS


def test_the_installed_exabgp_is_the_one_we_know() -> None:
    exabgp_session.check_exabgp()


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exabgp.version, "release", "5.0.16")
    with pytest.raises(SessionProcessError, match=r"5\.0\.16 is installed") as caught:
        exabgp_session.check_exabgp()
    assert "exabgp==5.0.15" in caught.value.hint


@pytest.mark.parametrize("point", POINTS, ids=lambda p: f"{p.owner.__name__}.{p.name}")
def test_a_point_that_changes_is_noticed(
    point: PatchPoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert point.difference() == ""
    assert point.uses, "a point that is only named says little about what is relied on"

    def other(self: object, surprise: object) -> None: ...

    monkeypatch.setattr(point.owner, point.name, other)
    assert "takes (self, surprise)" in point.difference()
    with pytest.raises(SessionProcessError, match=point.name):
        check_patch_points(POINTS)
    same = SimpleNamespace()
    exec(f"def same({', '.join(point.parameters)}): pass", same.__dict__)
    monkeypatch.setattr(point.owner, point.name, same.same)
    assert "does not use" in point.difference()
    monkeypatch.setattr(point.owner, point.name, None)
    assert "is no function" in point.difference()


def test_a_process_with_another_exabgp_says_so_to_the_controller() -> None:
    ours, theirs = socket.socketpair()
    code = (
        "import sys, exabgp.version; exabgp.version.release = '4.2.21';"
        "from vpnctl.bgp import exabgp_session;"
        f"sys.argv = ['x', '--fd', '{theirs.fileno()}'];"
        "raise SystemExit(exabgp_session.main())"
    )
    with ours, theirs:
        done = subprocess.run(
            [sys.executable, "-c", code], pass_fds=(theirs.fileno(),), timeout=60, check=False
        )
        assert done.returncode == SessionProcessError.exit_code
        [(kind, _, payload)] = list(Channel(ours).receive() or ())
    assert kind == Kind.FAILED
    assert "ExaBGP 4.2.21 is installed" in Problem.from_json(payload).message


def test_a_neighbor_has_the_families_asked_for_and_no_other() -> None:
    built = exabgp_neighbor.build_neighbor(neighbor("pe-1", "127.0.0.2", "127.0.0.1", 1790))
    assert {(int(afi), int(safi)) for afi, safi in built.families()} == set(ALL_FAMILIES)
    assert not built["capability"]["graceful-restart"]
    assert not built["capability"]["add-path"]
    assert built["manual-eor"]


def test_pauses_between_attempts_grow_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(exabgp_session.time, "monotonic", lambda: now)
    retry = exabgp_session.ConnectRetry()
    assert not retry.backoff()
    pauses = []
    for _ in range(8):
        retry.increase()
        before = now
        while retry.backoff():
            now += 0.05
        pauses.append(now - before)
    wanted = [1, 2, 4, 8, 10, 10, 10, 10]
    assert all(0.7 * w <= pause <= w + 0.1 for w, pause in zip(wanted, pauses, strict=True))
    retry.reset()
    assert not retry.backoff()


def test_only_states_that_mean_something_are_reported() -> None:
    told: list[str] = []
    peer = SimpleNamespace(
        neighbor=SimpleNamespace(api={"fsm": False}),
        loop=SimpleNamespace(state=lambda _peer, state: told.append(state)),
    )
    fsm = exabgp_session.ReportingFsm(peer, FSM.IDLE)
    for state in (FSM.ACTIVE, FSM.IDLE, FSM.CONNECT, FSM.OPENSENT, FSM.OPENCONFIRM):
        fsm.change(state)
    fsm.change(FSM.ESTABLISHED)
    assert fsm == FSM.ESTABLISHED
    assert told == ["connect", "opensent", "openconfirm", "established"]


@pytest.fixture
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """ExaBGP's log is not set up in the test's process."""
    for level in ("debug", "warning"):
        monkeypatch.setattr(exabgp_session.log, level, staticmethod(lambda *_, **__: None))


@pytest.mark.usefixtures("_quiet")
def test_an_attempt_to_connect_is_made_once_and_fails_with_words() -> None:
    address = loopback_address()
    port = free_port(address)
    attempt = exabgp_session.OneAttempt(exabgp_session.AFI.ipv4, address, None, port)
    with pytest.raises(exabgp_session.NetworkError, match=f"{address} port {port}: Connection"):
        list(itertools.islice(attempt.establish(), 1000))
    with socket.create_server((address, port)):
        attempt = exabgp_session.OneAttempt(exabgp_session.AFI.ipv4, address, None, port)
        assert True in itertools.islice(attempt.establish(), 1000)
        attempt.close()


def test_listening_sockets_are_handed_over_and_failures_keep_their_number() -> None:
    address = loopback_address()
    listening = exabgp_session.Listening()
    with listening.bind(listen(address, 0)) as sock:
        port = sock.getsockname()[1]
        assert not sock.getblocking()
        with pytest.raises(OSError, match="in use") as caught:
            listening.bind(listen(address, port))
        assert caught.value.errno is not None
