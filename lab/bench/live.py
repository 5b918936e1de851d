"""A real guest that works while it moves, through both sidecars and without."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from qemu.qmp import Message

from lab.bench.sidecars import last_progress, make_certificates, program, ready, sidecar
from tests.support.guest_image import kernel
from tests.support.qemu import PATIENCE, Guest, Shape, start_guest
from tests.support.relay import relayed
from vpnctl.sidecar.wan.address import Address

#: What QEMU may leave for the pause.  It counts what it hands out as arrived; what is under way
#: comes on top, so that one who can bear 300 ms asks for less.
_PAUSE_MS = 200
_ANY_PAUSE_MS = 2_000_000
#: Seconds that a cut may take on a machine that does much else: a handshake, and what is sent
#: until the next one.
_CUT_S = 1.0


class Alone(Enum):
    """QEMU without any sidecar, over TCP or through relays that do nothing."""

    PLAIN = "QEMU"
    TLS = "QEMU, TLS"
    RELAYS = "two relays, TLS"


@dataclass(frozen=True)
class Sites:
    """``here`` and ``there``: commands that run the one behind them at a site; ``listen``: the
    other site's address."""

    here: Sequence[str] = ()
    there: Sequence[str] = ()
    listen: str = "127.0.0.1"


@dataclass(frozen=True)
class Journey:
    """One journey; ``pause_s`` from the guest's last moment here to its first one there.

    ``guest``: octets of QEMU's stream; ``wire``: of records between the sites; ``relayed``: what a
    relay between them was given, where there was one; ``cuts``: of its connections.
    """

    total_s: float
    pause_s: float
    guest: int = 0
    wire: int = 0
    relayed: int = 0
    cuts: int = 0


class Traveller:
    """A guest that goes from one QEMU to the next (`travelling`), and checks its memory there."""

    def __init__(self, held: AsyncExitStack, directory: Path, image: Path, guest: Guest) -> None:
        self._held = held
        self._directory = directory
        self._image = image
        self._guest = guest
        self._stops = 0

    async def move(
        self, way: Sequence[str] | Alone, sites: Sites = Sites(), bandwidth: int = 0
    ) -> Journey:
        """``way``: words of the source's sidecar, or QEMU alone; ``bandwidth``: octets per second
        that QEMU may send, 0 for no limit."""
        async with AsyncExitStack() as held:
            there = await self._next()
            await self._guest.execute(
                "migrate-set-parameters", max_bandwidth=bandwidth, downtime_limit=_PAUSE_MS
            )
            await self._encrypt(there, way is Alone.TLS)
            if way is Alone.RELAYS:
                return await self._go(there, await self._relays(held, there, sites))
            if isinstance(way, Alone):
                await there.execute("migrate-incoming", uri=f"tcp:{sites.listen}:0")
                (where,) = (await there.execute("query-migrate"))["socket-address"]
                return await self._go(there, f"tcp:{where['host']}:{where['port']}")
            destination = await self._destination(held, there, sites)
            source = await self._source(held, sites, await ready(destination), *way)
            ending = asyncio.gather(last_progress(source), last_progress(destination))
            found = await self._go(there, f"unix:{self._directory}/out")
            told, _ = await ending
            return replace(found, wire=told["wire"], guest=told["guest"])

    async def move_over_cuts(self, cuts: Sequence[int]) -> Journey:
        """``cuts``: after how many octets the link is cut, rising; nothing makes the stream small,
        and it goes on until all of them were made."""
        async with AsyncExitStack() as held:
            there = await self._next()
            await self._guest.execute("migrate-set-parameters", max_bandwidth=0, downtime_limit=1)
            destination = await self._destination(held, there, Sites())
            relay = await held.enter_async_context(relayed(Address.parse(await ready(destination))))
            relay.cut_after(cuts)
            words = ("--stages", "none", "--no-adapt")
            source = await self._source(held, Sites(), str(relay.address), *words)
            ending = asyncio.gather(last_progress(source), last_progress(destination))
            guest = self._guest
            patience = PATIENCE + _CUT_S * len(cuts)
            going = asyncio.create_task(self._go(there, f"unix:{self._directory}/out", patience))
            cutting = asyncio.create_task(relay.all_cut.wait())
            # A migration that failed is told by `going`.
            await asyncio.wait((cutting, going, ending), return_when=asyncio.FIRST_COMPLETED)
            cutting.cancel()
            await guest.execute("migrate-set-parameters", downtime_limit=_ANY_PAUSE_MS)
            found = await going
            told, _ = await ending
            return replace(
                found, wire=told["wire"], guest=told["guest"], relayed=relay.taken, cuts=len(cuts)
            )

    async def _encrypt(self, there: Guest, wanted: bool) -> None:
        """Have QEMU alone use TLS, both certificates required, or not."""
        names = zip((self._guest, there), ("client", "server"), ("cloud1", "cloud2"), strict=True)
        for guest, endpoint, name in names:
            credentials = self._directory / endpoint
            credentials.mkdir(exist_ok=True)
            for ours, theirs in (
                ("ca.pem", "ca-cert.pem"),
                (f"{name}.test.pem", f"{endpoint}-cert.pem"),
                (f"{name}.test.key", f"{endpoint}-key.pem"),
            ):
                shutil.copyfile(self._directory / ours, credentials / theirs)
            if wanted:
                await guest.execute(
                    "object-add",
                    **{"qom_type": "tls-creds-x509", "id": f"tls-{endpoint}", "verify_peer": True},
                    dir=str(credentials),
                    endpoint=endpoint,
                )
            await guest.execute(
                "migrate-set-parameters",
                tls_creds=f"tls-{endpoint}" if wanted else "",
                tls_hostname="cloud2.test" if wanted else "",
            )

    async def _next(self) -> Guest:
        """A QEMU that waits for the guest."""
        self._stops += 1
        there = await self._held.enter_async_context(
            start_guest(
                self._directory, kernel(), self._image, self._guest.shape,
                name=f"guest{self._stops}", incoming="defer",
            )
        )  # fmt: skip
        await there.set_capabilities({"return-path": True})
        return there

    async def _relays(self, held: AsyncExitStack, there: Guest, sites: Sites) -> str:
        """`lab.bench.relays` at both sites; where QEMU here migrates to."""
        incoming, outgoing = self._directory / f"{there.name}.in", self._directory / "relayed"
        await there.execute("migrate-incoming", uri=f"unix:{incoming}")
        outgoing.unlink(missing_ok=True)
        where = sites.listen
        for role, path, within in (
            ("there", incoming, sites.there),
            ("here", outgoing, sites.here),
        ):
            words = (role, str(path), str(self._directory), where)
            process = await program(held, *within, sys.executable, "-m", "lab.bench.relays", *words)
            where = await ready(process)
        return f"unix:{outgoing}"

    async def _destination(
        self, held: AsyncExitStack, there: Guest, sites: Sites
    ) -> asyncio.subprocess.Process:
        socket = self._directory / f"{there.name}.in"
        await there.execute("migrate-incoming", uri=f"unix:{socket}")
        words = ("--qemu", str(socket), "--listen", f"{sites.listen}:0")
        return await sidecar(held, self._directory, "destination", *words, within=sites.there)

    async def _source(
        self, held: AsyncExitStack, sites: Sites, peer: str, *words: str
    ) -> asyncio.subprocess.Process:
        socket = self._directory / "out"
        process = await sidecar(
            *(held, self._directory, "source", "--qemu", str(socket), "--connect", peer, *words),
            within=sites.here,
        )
        await ready(process)
        return process

    async def _go(self, there: Guest, uri: str, patience: float = PATIENCE) -> Journey:
        here = self._guest
        with here.qmp.listener("STOP") as stopped, there.qmp.listener("RESUME") as resumed:
            begun = time.time()
            await here.execute("migrate", uri=uri)
            if (outcome := await here.migrated(patience)) != "completed":
                raise RuntimeError(f"the migration {outcome}")
            stop, resume = _at(await stopped.get()), _at(await resumed.get())
        await there.verify()
        await here.stop()
        self._guest = there
        return Journey(resume - begun, resume - stop)


@asynccontextmanager
async def travelling(image: Path, shape: Shape) -> AsyncIterator[Traveller]:
    """A guest that has booted; raises `GuestError` should it ever find its memory wrong."""
    async with AsyncExitStack() as held:
        directory = Path(held.enter_context(TemporaryDirectory(prefix="vpnctl-bench-")))
        make_certificates(directory)
        guest = await held.enter_async_context(start_guest(directory, kernel(), image, shape))
        await guest.set_capabilities({"return-path": True})
        await guest.line("ready")
        yield Traveller(held, directory, image, guest)


def _at(event: Message) -> float:
    """Seconds since the epoch, by QEMU's clock, which is the machine's."""
    told: Any = event["timestamp"]
    return float(told["seconds"] + told["microseconds"] / 1e6)
