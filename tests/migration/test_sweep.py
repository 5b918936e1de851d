"""What is left of a broken mirror is removed, whatever ends by itself meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

from vpnctl.errors import MigrationError
from vpnctl.migration.agent.disks import sweep


class _Qemu:
    """Whose mirror ends just when it is to be cancelled, and has its node a moment longer."""

    def __init__(self) -> None:
        self.jobs = ["mirror0", "commit0"]
        self.nodes = ["disk0", "far0"]
        self.held = 1

    async def ask(self, command: str, **arguments: Any) -> Any:
        match command:
            case "query-block-jobs":
                return [{"device": job} for job in self.jobs]
            case "block-job-cancel":
                self.jobs.remove(arguments["device"])
                raise MigrationError("QEMU: block-job-cancel: Job 'mirror0' not found")
            case "query-named-block-nodes":
                return [{"node-name": node} for node in self.nodes]
            case "blockdev-del" if self.held:
                self.held -= 1
                raise MigrationError("QEMU: blockdev-del: Node far0 is in use")
            case "blockdev-del":
                self.nodes.remove(arguments["node_name"])
                return {}
        raise AssertionError(command)


def test_a_mirror_that_ends_by_itself_leaves_no_node() -> None:
    qemu = _Qemu()
    asyncio.run(sweep(qemu))  # type: ignore[arg-type]  # as much of a guest as it needs
    assert (qemu.jobs, qemu.nodes) == (["commit0"], ["disk0"])
