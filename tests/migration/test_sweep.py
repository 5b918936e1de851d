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

    ``error``: it has met one, of nobody who answers at its socket ``path``, and stands still.
    """

    def __init__(self, path: Path, *, ready: bool, error: bool = False) -> None:
        self.jobs = [
            {"device": "mirror0", "ready": ready, "paused": error},
            {"device": "commit0", "ready": True, "paused": True},
        ]
        self.nodes = ["disk0", "far0"]
        self.held = 1
        self.asked: list[tuple[str, object]] = []
        self._path = path

    async def ask(self, command: str, **arguments: Any) -> Any:
        mirror = next((job for job in self.jobs if job["device"] == "mirror0"), None)
        if command.startswith("block-job"):
            assert arguments["device"] == "mirror0"
            self.asked.append((command, arguments.get("force")))
        match command:
            case "query-block-jobs":
                return [dict(job) for job in self.jobs]
            case "query-named-block-nodes":
                file = f"nbd+unix:///disk0?socket={self._path}"
                image = {"virtual-size": SIZE}
                return [{"node-name": node, "file": file, "image": image} for node in self.nodes]
            case "block-job-resume":
                assert mirror is not None
                await self._finish()
                mirror["paused"] = False
                return {}
            case "block-job-cancel":
                assert mirror is not None
                assert not mirror["paused"]
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


def _sweep(qemu: _Qemu, *, answered: bool = False) -> None:
    asyncio.run(sweep(qemu, answered=answered))  # type: ignore[arg-type]  # as much of a guest as it needs


def test_a_mirror_that_ends_by_itself_leaves_no_node(tmp_path: Path) -> None:
    qemu = _Qemu(tmp_path / "nbd0", ready=False)
    _sweep(qemu)
    assert ([job["device"] for job in qemu.jobs], qemu.nodes) == (["commit0"], ["disk0"])
    assert qemu.asked == [("block-job-cancel", True)]


def test_one_that_may_be_synchronous_is_not_forced(tmp_path: Path) -> None:
    """QEMU would free what writes under way still use."""
    qemu = _Qemu(tmp_path / "nbd0", ready=True)
    _sweep(qemu, answered=True)
    assert qemu.asked == [("block-job-cancel", False)]
    assert qemu.nodes == ["disk0"]


def test_somebody_answers_in_place_of_who_has_died(tmp_path: Path) -> None:
    path = tmp_path / "m-1" / "nbd0"
    qemu = _Qemu(path, ready=True, error=True)
    _sweep(qemu)
    assert qemu.asked == [("block-job-resume", None), ("block-job-cancel", False)]
    assert qemu.nodes == ["disk0"]
    assert not path.parent.exists()


def test_one_that_does_not_end_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "_ENDING_S", 0.3)
    qemu = _Qemu(tmp_path / "nbd0", ready=True, error=True)
    with pytest.raises(MigrationError, match="does not end"):
        _sweep(qemu, answered=True)
    assert ("block-job-cancel", True) not in qemu.asked
