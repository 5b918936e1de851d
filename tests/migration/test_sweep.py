"""What is left of a mirror is removed, and never so that QEMU comes to harm."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from vpnctl.errors import MigrationError
from vpnctl.migration.agent import sweeping
from vpnctl.migration.agent.sweeping import sweep
from vpnctl.migration.disk.nbd import Client, Command, Request

SIZE = 1 << 20


class _Qemu:
    """Whose mirror is ``ready``, or still copies; and has its node ``held`` times longer.

    ``able``: to have synchronous mirrors.  ``error``: it has met one, of nobody who answers at its
    socket ``path``, and stands still; it meets it again unless somebody ``answers``.
    """

    def __init__(self, path: Path, *, ready: bool, able: bool = True, error: bool = False) -> None:
        self.jobs = [
            {"device": "mirror0", "ready": ready, "paused": error, "io-status": "failed"},
            {"device": "commit0", "ready": True, "paused": True, "io-status": "failed"},
        ]
        self.nodes = ["disk0", "far0"]
        self.held = 1
        self.able = able
        self.asked: list[str] = []
        self._path = path

    async def ask(self, command: str, **arguments: Any) -> Any:
        mirror = next((job for job in self.jobs if job["device"] == "mirror0"), None)
        if command.startswith("block-job"):
            assert arguments.get("device", arguments.get("id")) == "mirror0"
            self.asked.append(command + (" by force" if arguments.get("force") else ""))
        match command:
            case "query-commands":
                return [{"name": "block-job-change"}] if self.able else []
            case "query-block-jobs":
                return [dict(job) | {"len": SIZE, "offset": 0} for job in self.jobs]
            case "query-named-block-nodes":
                file = f"nbd+unix:///disk0?socket={self._path}"
                image = {"virtual-size": SIZE}
                return [{"node-name": node, "file": file, "image": image} for node in self.nodes]
            case "block-job-resume":
                assert mirror is not None
                await self._finish()
                mirror["paused"] = False
                return {}
            case "block-job-change":
                assert arguments["copy_mode"] == "write-blocking"
                return {}
            case "block-job-cancel":
                assert mirror is not None
                assert not mirror["paused"] or arguments["force"]
                self.jobs.remove(mirror)
                raise MigrationError("QEMU: block-job-cancel: Job 'mirror0' not found")
            case "blockdev-del" if self.held:
                self.held -= 1
                raise MigrationError("QEMU: blockdev-del: Node far0 is in use")
            case "blockdev-del":
                self.nodes.remove(arguments["node_name"])
                return {}
        raise AssertionError(command)

    async def _finish(self) -> None:
        """What was left to be written is taken; raises `MigrationError` where nobody does."""
        far = await Client.connect(self._path, "disk0")
        assert far.size == SIZE
        await far.ask(Request(Command.WRITE, 4096, 4096, bytes(4096)))
        await far.ask(Request(Command.FLUSH, 0, 0))
        far.close()


def _sweep(qemu: _Qemu, **more: Any) -> None:
    asyncio.run(sweep(qemu, **more))  # type: ignore[arg-type]  # as much of a guest as it needs


FORCE, COMPLETE = ["block-job-cancel by force"], ["block-job-change", "block-job-cancel"]


@pytest.mark.parametrize(
    ("ready", "able", "synchronous", "how"),
    [
        pytest.param(False, True, True, FORCE, id="copies"),
        # QEMU would free what writes under way still use.
        pytest.param(True, True, True, COMPLETE, id="maybe synchronous"),
        pytest.param(True, True, False, FORCE, id="not synchronous"),
        pytest.param(True, False, True, FORCE, id="older QEMU"),
    ],
)
def test_only_what_may_be_synchronous_is_not_forced(
    tmp_path: Path, ready: bool, able: bool, synchronous: bool, how: list[str]
) -> None:
    """And one that ends by itself leaves no node, nor is what is not ours touched."""
    qemu = _Qemu(tmp_path / "nbd0", ready=ready, able=able)
    _sweep(qemu, synchronous=synchronous)
    assert qemu.asked == how
    assert ([job["device"] for job in qemu.jobs], qemu.nodes) == (["commit0"], ["disk0"])


@pytest.mark.parametrize("made", [True, False])
def test_somebody_answers_in_place_of_who_has_died(tmp_path: Path, made: bool) -> None:
    path = tmp_path / "m-1" / "nbd0"
    if made:
        path.parent.mkdir()
    qemu = _Qemu(path, ready=True, error=True)
    _sweep(qemu)
    assert qemu.asked == ["block-job-resume", *COMPLETE]
    assert qemu.nodes == ["disk0"]
    # What was there is left, and nothing else.
    assert path.parent.exists() == made
    assert not path.exists()


@pytest.mark.parametrize("answered", [True, False])
def test_one_that_does_not_end_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answered: bool
) -> None:
    monkeypatch.setattr(sweeping, "_ENDING_S", 0.3)
    path = tmp_path / "file" / "nbd0"
    (tmp_path / "file").touch()
    qemu = _Qemu(path, ready=True, error=True)
    with pytest.raises(MigrationError, match=r"does not end: .*(cannot be reached|exists)"):
        _sweep(qemu, answered=[path] if answered else [])
    assert not set(FORCE) & set(qemu.asked)


def test_where_nobody_can_answer_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "_ENDING_S", 0.3)
    path = tmp_path / ("x" * 200) / "nbd0"
    qemu = _Qemu(path, ready=True, error=True)
    with pytest.raises(MigrationError, match=r"does not end: .*too long"):
        _sweep(qemu)
    assert not path.parent.exists()
