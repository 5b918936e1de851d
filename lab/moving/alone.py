"""The same guest moved by QEMU alone: its mirror over NBD and its migration, both over plain TCP.

What an administrator does by hand, with QEMU's own defaults: the mirror follows, the migration
stops before the switch, the mirror is ended, the migration goes on.  Each step has its time; when
that is over, the error says which step it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from qemu.qmp import EventListener, Message, QMPClient

from lab.moving.machines import Guest
from lab.moving.stage import HOSTS, Clouds, MoveError, ask_guest
from vpnctl.migration.definition import Definition
from vpnctl.migration.hypervisor.command_line import Places, arguments, disk_node

_RUN = "/run/vpnctl/alone"
_ADDRESSES = {"cloud1": "10.0.0.13", "cloud2": "10.0.0.14"}
_NBD, _MEMORY = "10809", "4444"
#: Seconds after which a migration that does not converge is made to end, as an administrator would.
FORCED_S = 60.0
_ANY_PAUSE_MS = 2_000_000
#: Seconds that QEMU has to start or to answer, to copy a disk, to end a migration that was forced,
#: and to be gone.
_PATIENCE_S, _MIRROR_S, _LAST_S, _GONE_S = 60.0, 120.0, 90.0, 10.0
_AGAIN_S = 0.05
_CAPABILITIES = ("events", "return-path", "pause-before-switchover")


@dataclass(frozen=True)
class Alone:
    """Seconds; ``octets``: what passed the source's link, for disk and memory; ``forced``: it did
    not converge by itself within `FORCED_S`."""

    disk_s: float
    memory_s: float
    pause_s: float
    octets: int
    forced: bool


async def move_alone(stage: Clouds, guest: Guest, settle_s: float) -> Alone:
    """From cloud1 to cloud2; the guest has worked for ``settle_s`` seconds before.

    Raises `MoveError` when it does not end, or its memory is not right in the end.
    """
    definition = Definition.model_validate(yaml.safe_load(guest.definition()))
    size = stage.disk("cloud1", guest.disk).stat().st_size
    stage.make_disk("cloud2", guest.disk, size=size)
    async with (
        _running(stage, "cloud1", definition, incoming=False) as here,
        _running(stage, "cloud2", definition, incoming=True) as there,
    ):
        here_console, there_console = (
            stage.outside(site, f"{_RUN}/console") for site in ("cloud1", "cloud2")
        )
        await asyncio.to_thread(ask_guest, here_console)
        await asyncio.sleep(settle_s)
        # The link's counters are read by a library that has a loop of its own.
        sent, begun = await asyncio.to_thread(stage.sent, "cloud1"), time.time()
        async with _bounded(_MIRROR_S, "its disk did not follow"):
            await _mirror(here, there)
        moving = time.time()
        pause, resumed, forced = await _migrate(here, there)
        sent = await asyncio.to_thread(stage.sent, "cloud1") - sent
        await asyncio.to_thread(ask_guest, there_console)
        return Alone(moving - begun, resumed - moving, pause, sent, forced)


async def _mirror(here: QMPClient, there: QMPClient) -> None:
    """Return when the disk there follows."""
    address = {"host": _ADDRESSES["cloud2"], "port": _NBD}
    await there.execute("nbd-server-start", {"addr": {"type": "inet", "data": address}})
    node = disk_node(0)
    await there.execute(
        "block-export-add",
        {"type": "nbd", "id": "e0", "node-name": node, "name": node, "writable": True},
    )
    with here.listener("BLOCK_JOB_READY") as ready:
        await here.execute(
            "blockdev-add",
            {
                "driver": "nbd",
                "node-name": "far0",
                "server": {"type": "inet", **address},
                "export": node,
            },
        )
        await here.execute(
            "blockdev-mirror",
            {"job-id": "m0", "device": node, "target": "far0", "sync": "full"},
        )
        await ready.get()


async def _migrate(here: QMPClient, there: QMPClient) -> tuple[float, float, bool]:
    """Seconds of the pause, when it ran there, and whether it had to be forced."""
    async with _bounded(_PATIENCE_S, "its migration did not begin"):
        for monitor in (here, there):
            states = [{"capability": name, "state": True} for name in _CAPABILITIES]
            await monitor.execute("migrate-set-capabilities", {"capabilities": states})
        uri = f"tcp:{_ADDRESSES['cloud2']}:{_MEMORY}"
        await there.execute("migrate-incoming", {"uri": uri})
    with (
        here.listener(("MIGRATION", "STOP")) as events,
        there.listener("RESUME") as resumed,
        here.listener("BLOCK_JOB_COMPLETED") as mirrored,
    ):
        await here.execute("migrate", {"uri": uri})
        try:
            async with asyncio.timeout(FORCED_S):
                stopped = await _stopped(events)
            forced = False
        except TimeoutError:
            async with _bounded(_LAST_S, "the guest did not stop when it had to"):
                await here.execute("migrate-set-parameters", {"downtime-limit": _ANY_PAUSE_MS})
                stopped = await _stopped(events)
            forced = True
        async with _bounded(_LAST_S, "its disk did not follow to the end"):
            await _status(events, "pre-switchover")
            await here.execute("block-job-cancel", {"device": "m0", "force": False})
            await mirrored.get()
            await here.execute("blockdev-del", {"node-name": "far0"})
            await there.execute("nbd-server-stop")
        async with _bounded(_LAST_S, "the last of its memory did not arrive"):
            await here.execute("migrate-continue", {"state": "pre-switchover"})
            await _status(events, "completed")
            ran = _at(await resumed.get())
    return ran - stopped, ran, forced


async def _stopped(events: EventListener) -> float:
    """When the guest was stopped, by QEMU's clock."""
    while (event := await events.get())["event"] != "STOP":
        _check(event)
    return _at(event)


async def _status(events: EventListener, wanted: str) -> None:
    """Return when the migration has this status."""
    while (event := await events.get())["event"] == "STOP" or _check(event) != wanted:
        pass


def _check(event: Message) -> str:
    """A migration's status; raises `MoveError` when it has failed."""
    data: Any = event["data"]
    status = str(data["status"])
    if status in ("failed", "cancelled"):
        raise MoveError(f"QEMU alone: its migration {status}")
    return status


@contextlib.asynccontextmanager
async def _bounded(seconds: float, what: str) -> AsyncIterator[None]:
    """Raises `MoveError` with ``what`` when the block takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise MoveError(f"QEMU alone: {what} within {seconds:g} s") from None


@contextlib.asynccontextmanager
async def _running(
    stage: Clouds, site: str, definition: Definition, *, incoming: bool
) -> AsyncIterator[QMPClient]:
    """A QEMU at a site's host, as its agent would start it, and gone in the end."""
    shell = stage.lab.shell(HOSTS[site])
    outside = stage.outside(site, _RUN)
    outside.mkdir(exist_ok=True)
    tap = "alone0"
    for command in (f"tuntap add dev {tap} mode tap", f"link set dev {tap} master br-e1 up"):
        shell.run(("ip", *command.split()), timeout=_GONE_S)
    within = Places(Path("/run/vpnctl/agent/disks"), Path("/nowhere"), Path("/images"), Path(_RUN))
    words = [
        word for word in arguments(definition, within, [tap], incoming=incoming) if word != "-S"
    ]
    log = outside / "log"
    with log.open("wb") as said:
        process = shell.popen(
            ("qemu-system-x86_64", *words), stdout=subprocess.DEVNULL, stderr=said.fileno()
        )
    monitor = QMPClient(site)
    try:
        async with _bounded(_PATIENCE_S, "it did not start"):
            while True:
                try:
                    await monitor.connect(str(outside / "qmp"))
                    break
                except Exception:
                    if process.poll() is not None:
                        raise MoveError(f"QEMU alone: {log.read_text(errors='replace')}") from None
                    monitor = QMPClient(site)
                    await asyncio.sleep(_AGAIN_S)
        yield monitor
    finally:
        # It is gone first: a monitor that is blocked would not let go.
        process.kill()
        await asyncio.to_thread(process.wait, _GONE_S)
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_GONE_S):
                await monitor.disconnect()
        shell.run(("ip", "link", "del", "dev", tap), timeout=_GONE_S)


def _at(event: Message) -> float:
    """Seconds since the epoch, by QEMU's clock, which is the machine's."""
    told: Any = event["timestamp"]
    return float(told["seconds"] + told["microseconds"] / 1e6)
