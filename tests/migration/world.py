"""Two sites on this machine, each with a real agent, and machines that are real guests."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.guest_image import kernel
from tests.support.qemu import PATIENCE, Shape, find_qemu
from vpnctl.errors import AgentError
from vpnctl.migration.agent.messages import MachineView, MigrationView, SiteFacts
from vpnctl.migration.agent.peer import LONG_S, AgentClient
from vpnctl.migration.agent.settings import Certificates
from vpnctl.migration.coordinator import Coordinator
from vpnctl.migration.definition import Boot, Definition, Disk
from vpnctl.migration.ledger import Peer
from vpnctl.migration.network import Network
from vpnctl.pki.store import certificate_file, key_file

READY = "ready: "
#: In the certificates of the sites' agents.
NAMES = {"a": "cloud1.test", "b": "cloud2.test"}
DISK_SIZE = 16 << 20


@dataclass
class Agent:
    """One that runs as a process of its own."""

    process: subprocess.Popen[str]

    def die(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass
class World:
    """``directory`` has a short path; `agents` are those that live.

    ``authority``: certificates for HTTPS, see the fixture; without, agents have unix sockets only.
    ``namespace``: the network namespace that agents and machines are in, empty for ours.
    ``qemu``: what machines run on, empty for the installed one.
    """

    directory: Path
    image: Path
    authority: Path | None = None
    namespace: str = ""
    qemu: str = ""
    urls: dict[str, str] = field(default_factory=dict)
    agents: dict[str, Agent] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("shared", "images"):
            (self.directory / name).mkdir()
        shutil.copy(self.image, self.directory / "images" / "image.cpio")
        shutil.copy(kernel(), self.directory / "images" / "vmlinuz")
        find_qemu()

    @property
    def peers(self) -> dict[str, Peer]:
        return {
            site: Peer(site=site, url=self.urls[site], name=NAMES[site] if self.authority else "")
            for site in self.urls
        }

    def certificates(self, name: str) -> Certificates | None:
        """The pair of ``name``."""
        if self.authority is None:
            return None
        return Certificates(
            certificate_file(self.authority, name),
            key_file(self.authority, name),
            certificate_file(self.authority, "ca"),
        )

    def start_agent(self, site: str, *more: str, die: str = "") -> None:
        """Return when it is ready; ``die``: see `tests.migration.mortal`."""
        log = self.directory / f"{site}.log"
        words = [*more, *(("--qemu", self.qemu) if self.qemu else ()), *self._https(site)]
        with log.open("a") as out:
            process = subprocess.Popen(
                [
                    *(("ip", "netns", "exec", self.namespace) if self.namespace else ()),
                    sys.executable, "-m", "tests.migration.mortal", "agent", "serve",
                    "--site", site, "--state", str(self.directory / site),
                    "--shared", str(self.directory / "shared"),
                    "--images", str(self.directory / "images"), *words,
                ],
                stderr=subprocess.PIPE, stdout=out, text=True, cwd=Path(__file__).parents[2],
                env=os.environ | {"VPNCTL_TEST_DIE": die},
            )  # fmt: skip
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith(READY), line + process.stderr.read()
        self.agents[site] = Agent(process)
        self.urls[site] = line.split(", ")[-1].rpartition(" ")[2].strip()

    def _https(self, site: str) -> list[str]:
        own = self.certificates(NAMES[site])
        if own is None:
            return []
        port = self.urls.get(site, ":0").rpartition(":")[2]
        (other,) = set(NAMES.values()) - {NAMES[site]}
        return [
            "--listen", f"127.0.0.1:{port}", "--operator", "noc.test", "--peer", other,
            "--cert", str(own.certificate), "--key", str(own.key), "--ca", str(own.ca),
        ]  # fmt: skip

    def restart_agent(self, site: str, die: str = "") -> None:
        """Kill it, and start another one."""
        self.agents.pop(site).die()
        self.start_agent(site, die=die)

    def stop_agent(self, site: str) -> None:
        agent = self.agents.pop(site)
        agent.process.send_signal(signal.SIGTERM)
        agent.process.wait(PATIENCE)

    async def start_machine(
        self, site: str, shape: Shape, *disks: Disk, name: str = "web1", more: str = ""
    ) -> None:
        """``more``: words for the guest's services, see tests/guests/services.c."""
        definition = define(shape, *disks, name=name, more=more)
        async with self.client(site) as agent:
            await agent.post("machines", MachineView, definition, LONG_S)

    def shared_disk(self, name: str = "web1.img") -> Disk:
        with (self.directory / "shared" / name).open("wb") as file:
            file.truncate(DISK_SIZE)
        return Disk(file=name, format="raw", shared=True)

    @contextlib.asynccontextmanager
    async def client(self, site: str, visitor: str = "noc.test") -> AsyncIterator[AgentClient]:
        client = AgentClient(self.peers[site], self.certificates(visitor))
        try:
            yield client
        finally:
            await client.close()

    def coordinator(self, network: Network | None = None) -> Coordinator:
        return Coordinator(self.peers, self.certificates("noc.test"), network)

    async def machine(self, site: str, name: str = "web1") -> MachineView:
        async with self.client(site) as agent:
            facts = await agent.get("site", SiteFacts, LONG_S)
        return next(one for one in facts.machines if one.name == name)

    async def settled(self, name: str = "web1") -> str:
        """The one site where the machine runs, once nobody has anything to do any more."""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    where, busy = await self._running(name)
                except AgentError as error:
                    # One that had no processor for a while; what it refuses is a failure.
                    if "does not answer" not in error.message:
                        raise
                else:
                    if where and not busy:
                        return where
                await asyncio.sleep(0.1)

    async def _running(self, name: str) -> tuple[str | None, bool]:
        """The one site where the machine runs, if any; whether anybody has anything to do."""
        where, busy = [], False
        for site in self.peers:
            async with self.client(site) as agent:
                facts = await agent.get("site", SiteFacts, LONG_S)
            busy = busy or bool(facts.jobs)
            for one in facts.machines:
                if one.name == name and one.state == "running":
                    assert one.owner
                    where.append(site)
        assert len(where) < 2, "two copies run"
        return (where[0] if where else None), busy

    async def verify(self, site: str, name: str = "web1") -> int:
        """Let the guest check its memory; how many rounds it has worked."""
        console = (await self.machine(site, name)).console
        reader, writer = await asyncio.open_unix_connection(console)
        asking = asyncio.create_task(_ask_again_and_again(writer))
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    line = (await reader.readline()).decode(errors="replace").strip()
                    assert not line.startswith(("corrupt", "failed")), line
                    if line.startswith("verified"):
                        break
        finally:
            asking.cancel()
            writer.close()
        return int(line.split()[-2])

    def close(self) -> None:
        """End everything that was started."""
        for site in list(self.agents):
            self.stop_agent(site)
        handles = []
        for process in guests_below(self.directory):
            try:
                handle = os.pidfd_open(process)
            except ProcessLookupError:
                continue
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            handles.append(handle)
        for handle in handles:
            select.select([handle], [], [], PATIENCE)
            os.close(handle)


def guests_below(directory: Path) -> Iterator[int]:
    """The QEMUs and sidecars whose files are below ``directory``."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes()
                if str(directory).encode() + b"/" in words:
                    yield int(entry.name)


def define(shape: Shape, *disks: Disk, name: str = "web1", more: str = "") -> Definition:
    """A machine with the test guest's kernel and agent."""
    return Definition(
        machine=name,
        app="shop",
        memory=f"{shape.ram_kib}K",  # type: ignore[arg-type]  # as it is written
        accelerator="tcg",
        boot=Boot(
            kernel="vmlinuz", initrd="image.cpio", append=f"{shape.command_line()} {more}".strip()
        ),
        disks=disks,
    )


def kill(directory: Path, *words: str) -> None:
    """Kill the one process below ``directory`` that has all these words in its arguments."""
    (process,) = [
        process
        for process in guests_below(directory)
        if all(word.encode() in Path(f"/proc/{process}/cmdline").read_bytes() for word in words)
    ]
    os.kill(process, signal.SIGKILL)


async def _ask_again_and_again(writer: asyncio.StreamWriter) -> None:
    """A guest that is still booting does not hear."""
    while True:
        writer.write(b"verify\n")
        await asyncio.sleep(1.0)


async def moved(views: AsyncIterator[MigrationView]) -> MigrationView:
    """The end of a migration."""
    seen = [view async for view in views]
    return seen[-1]
