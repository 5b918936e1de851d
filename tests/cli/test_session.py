"""session: what is done with one session, and with the keys of all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.cli.conftest import Run
from tests.support.fake_controller import FakeController
from vpnctl.controller import views


def test_reset_asks_for_one_peer(vpnctl: Run, controller: FakeController) -> None:
    done = vpnctl("session", "reset", "pe-e1")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "the session with pe-e1 begins anew" in done.stderr
    assert controller.asked == [("reset_session", "pe-e1")]


def test_reset_of_nobody_is_refused(vpnctl: Run) -> None:
    done = vpnctl("session", "reset", "pe-z")
    assert done.exit_code == 4
    assert "no PE is called 'pe-z'" in done.stderr


def test_rekey_tells_whose_key_changed_and_which_cannot_be_read(
    vpnctl: Run, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = controller.status

    async def troubled() -> views.Status:
        problems = ("the key of pe-c1: /k cannot be read", "something else")
        return replace(await status(), problems=problems)

    monkeypatch.setattr(controller, "status", troubled)
    done = vpnctl("session", "rekey")
    assert done.exit_code == 0
    assert "new keys: pe-e1" in done.stderr
    assert "problem: the key of pe-c1: /k cannot be read" in done.stderr
    assert "something else" not in done.stderr


def test_rekey_of_nothing_new_says_so(
    vpnctl: Run, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unchanged() -> tuple[str, ...]:
        return ()

    monkeypatch.setattr(controller, "rekey", unchanged)
    assert "no key has changed" in vpnctl("session", "rekey").stderr


def test_drain_and_its_end(vpnctl: Run, controller: FakeController) -> None:
    assert "the routes of pe-c1 are the last choice" in vpnctl("drain", "pe-c1").stderr
    assert "pe-c1 is drained no more" in vpnctl("drain", "pe-c1", "--undo").stderr
    assert controller.asked == [("drain", "pe-c1", True), ("drain", "pe-c1", False)]
