"""What QEMU calls our mirrors, and how they end when nobody needs their copies.

A synchronous mirror must never be cancelled by force, nor fail, while the guest writes: QEMU (8.2
to 10.0 at least, ``mirror_run`` of ``block/mirror.c``) frees a bitmap then that writes under way
still clear, and dies of what that has overwritten, sometimes at once, sometimes later.  So an error
only pauses a mirror (`ON_ERROR`), and one that may be synchronous ends by completing: QEMU waits
until no write is under way then.  For that somebody has to say that the rest was written, as our
senders do once they have let go, and as `sweep` does itself where an agent has died.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from vpnctl.errors import MigrationError
from vpnctl.migration.disk.nbd import LONGEST, Request, Server
from vpnctl.migration.hypervisor.driver import Guest

#: What a mirror does when it cannot read, or write.
ON_ERROR = "stop"
#: Seconds that mirrors have to end: what is still to be copied is read meanwhile.
_ENDING_S = 60.0
_SHORT_S = 0.05
_JOB, _FAR = re.compile(r"mirror\d+"), re.compile(r"far\d+")
#: How QEMU names an export at a unix socket; it escapes nothing.
_SOCKET = re.compile(r"nbd\+unix://[^?]*\?socket=(.+)", re.DOTALL)


def mirror_job(disk: int) -> str:
    """What QEMU calls our job for a disk."""
    return f"mirror{disk}"


def far_node(disk: int) -> str:
    """QEMU's node of the other site's disk."""
    return f"far{disk}"


def mirrored_disk(event: Any) -> int:
    """The disk that an event of QEMU's is about."""
    return int(str(event["data"]["device"]).removeprefix("mirror"))


async def sweep(qemu: Guest, *, answered: bool = False) -> None:
    """Remove the mirrors that QEMU has, also those of an agent that died.

    ``answered``: our senders have let go, and say yes to all.  Raises `MigrationError` when
    something is left: it would make the next migration fail.
    """
    try:
        async with asyncio.timeout(_ENDING_S), AsyncExitStack() as held:
            stand_in = None if answered else _StandIn(held)
            while jobs := await _jobs(qemu):
                for job in jobs:
                    # It may have ended by itself since we asked, which is as well.
                    with contextlib.suppress(MigrationError):
                        await _end(qemu, job, stand_in)
                await asyncio.sleep(_SHORT_S)
            while nodes := await _nodes(qemu):
                for node in nodes:
                    # A job that has just ended may have it for a moment longer.
                    with contextlib.suppress(MigrationError):
                        await qemu.ask("blockdev-del", node_name=node["node-name"])
                await asyncio.sleep(_SHORT_S)
    except TimeoutError:
        raise MigrationError(
            "an old mirror of a disk does not end", hint="see the log of the machine's QEMU"
        ) from None


class _StandIn:
    """Says yes where QEMU looks for who has died, while ``held``."""

    def __init__(self, held: AsyncExitStack) -> None:
        self._held = held
        self._known: set[str] = set()

    async def answer(self, node: Any) -> None:
        """Whatever QEMU asks of ``node``."""
        found = _SOCKET.fullmatch(node["file"])
        if found is None or found[1] in self._known:
            return
        self._known.add(found[1])
        path = Path(found[1])
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        server = Server(int(node["image"]["virtual-size"]), _agree)
        listener = await asyncio.start_unix_server(server.run, path, limit=LONGEST)
        self._held.callback(_remove, path)
        self._held.callback(listener.close)


async def _agree(_: Request) -> int:
    return 0


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        # It has more in it where the migration goes on.
        path.parent.rmdir()


async def _jobs(qemu: Guest) -> list[Any]:
    return [job for job in await qemu.ask("query-block-jobs") if _JOB.fullmatch(job["device"])]


async def _nodes(qemu: Guest) -> list[Any]:
    nodes = await qemu.ask("query-named-block-nodes", flat=True)
    return [node for node in nodes if _FAR.fullmatch(node["node-name"])]


async def _end(qemu: Guest, job: Any, stand_in: _StandIn | None) -> None:
    name = job["device"]
    if not job["ready"]:
        # It copies for the first time, and is not synchronous.
        await qemu.ask("block-job-cancel", device=name, force=True)
        return
    if job["paused"]:
        # After an error: nobody answered.
        if stand_in is not None:
            for node in await _nodes(qemu):
                await stand_in.answer(node)
        await qemu.ask("block-job-resume", device=name)
    await qemu.ask("block-job-cancel", device=name, force=False)
