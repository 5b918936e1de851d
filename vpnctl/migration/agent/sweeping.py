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
import time
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from vpnctl.errors import MigrationError
from vpnctl.migration.disk.nbd import LONGEST, Request, Server
from vpnctl.migration.hypervisor.driver import Guest

#: What a mirror does when it cannot read, or write.
ON_ERROR = "stop"
#: How a mirror is made synchronous; a QEMU that does not know it has none that are.
CHANGE = "block-job-change"
#: Seconds without progress until mirrors are given up: QEMU looks for who has died less and less
#: often, every 16 s at last.
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


def mirrored_disk(event: Any) -> int | None:
    """The disk that an event of QEMU's is about; None where the job is not ours."""
    device = str(event["data"]["device"])
    return int(device.removeprefix("mirror")) if _JOB.fullmatch(device) else None


async def can_synchronize(qemu: Guest) -> bool:
    """Whether mirrors of this QEMU may be synchronous."""
    return any(one["name"] == CHANGE for one in await qemu.ask("query-commands"))


async def synchronize(qemu: Guest, job: str) -> None:
    """Let each write of the guest's wait until it was taken."""
    await qemu.ask(CHANGE, id=job, type="mirror", copy_mode="write-blocking")


async def sweep(qemu: Guest, *, synchronous: bool = True, answered: Collection[Path] = ()) -> None:
    """Remove the mirrors that QEMU has, also those of an agent that died.

    ``synchronous``: whether they may be; ``answered``: sockets of our senders, which have let go.
    Raises `MigrationError` when something is left: it would make the next migration fail.
    """
    ending = _Ending(qemu, synchronous and await can_synchronize(qemu))
    async with AsyncExitStack() as held:
        stand_in = _StandIn(held, answered)
        while jobs := await _jobs(qemu):
            for job in jobs:
                await ending.end(job, stand_in)
            ending.check(sum(int(job["len"]) - int(job["offset"]) for job in jobs))
            await asyncio.sleep(_SHORT_S)
        while nodes := await _nodes(qemu):
            for node in nodes:
                # A job that has just ended may have it for a moment longer.
                with contextlib.suppress(MigrationError):
                    await qemu.ask("blockdev-del", node_name=node["node-name"])
            ending.check(None)
            await asyncio.sleep(_SHORT_S)


class _Ending:
    """Mirrors that are told to end, as often as it takes; ``able``: they may be synchronous."""

    def __init__(self, qemu: Guest, able: bool) -> None:
        self._qemu = qemu
        self._able = able
        self._why = "QEMU still writes"
        self._least: int | None = None
        self._progress = time.monotonic()

    async def end(self, job: Any, stand_in: _StandIn) -> None:
        """Tell it to."""
        try:
            if self._able and job["ready"]:
                await self._complete(job, stand_in)
            else:
                await self._qemu.ask("block-job-cancel", device=job["device"], force=True)
        except MigrationError as error:
            # It may have ended by itself since we asked, which is as well.
            self._why = error.message

    async def _complete(self, job: Any, stand_in: _StandIn) -> None:
        if job["paused"]:
            # After an error: nobody answered.
            self._why = f"{job['device']} stands still after an error"
            for node in await _nodes(self._qemu):
                await stand_in.answer(node)
            await self._qemu.ask("block-job-resume", device=job["device"])
        # Otherwise a guest that writes much would keep it from ever being done.
        with contextlib.suppress(MigrationError):
            await synchronize(self._qemu, job["device"])
        # It may have ended meanwhile, or met its error again.
        with contextlib.suppress(MigrationError):
            await self._qemu.ask("block-job-cancel", device=job["device"], force=False)

    def check(self, left: int | None) -> None:
        """Raises `MigrationError` when it has come to nothing for long; ``left``: octets."""
        now = time.monotonic()
        if left is not None and (self._least is None or left < self._least):
            self._least, self._progress = left, now
        if now - self._progress > _ENDING_S:
            raise MigrationError(
                f"an old mirror of a disk does not end: {self._why}",
                hint="can the disk be read? if it can, start the machine anew",
            )


class _StandIn:
    """Says yes where QEMU looks for who has died, while ``held``; not where it is ``answered``."""

    def __init__(self, held: AsyncExitStack, answered: Collection[Path]) -> None:
        self._held = held
        self._known = set(answered)

    async def answer(self, node: Any) -> None:
        """Whatever QEMU asks of ``node``; raises `MigrationError`."""
        found = _SOCKET.fullmatch(node["file"])
        if found is None or (path := Path(found[1])) in self._known:
            return
        try:
            if not path.parent.is_dir():
                path.parent.mkdir(mode=0o700, parents=True)
                self._held.callback(_remove, path.parent.rmdir)
            server = Server(int(node["image"]["virtual-size"]), _agree)
            listener = await asyncio.start_unix_server(server.run, path, limit=LONGEST)
        except OSError as error:
            raise MigrationError(f"{path}: {error.strerror or error}") from error
        self._held.callback(_remove, path.unlink)
        self._held.callback(listener.close)
        self._known.add(path)


async def _agree(_: Request) -> int:
    return 0


def _remove(how: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):
        how()


async def _jobs(qemu: Guest) -> list[Any]:
    return [job for job in await qemu.ask("query-block-jobs") if _JOB.fullmatch(job["device"])]


async def _nodes(qemu: Guest) -> list[Any]:
    nodes = await qemu.ask("query-named-block-nodes", flat=True)
    return [node for node in nodes if _FAR.fullmatch(node["node-name"])]
