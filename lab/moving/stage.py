"""The lab with two clouds, an agent at each, and machines that are real guests."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from lab.moving.machines import SLOTS
from tests.support.guest_image import build_image, kernel
from tests.support.records import Record, check_complete, check_left_behind, read_records
from tests.support.visitor import Visitor, visiting
from vpnctl.lab import build, lifecycle, sessions
from vpnctl.lab.copying import copy_bound
from vpnctl.lab.lab import Lab
from vpnctl.lab.reading import read_topology
from vpnctl.lab.wan.figures import WanFigures
from vpnctl.migration.agent.messages import MigrationView

LAB = Path(__file__).parent.parent
TOPOLOGY = LAB / "migrate.clab.yml"
HOSTS = {"cloud1": "host-c1", "cloud2": "host-c2"}
#: Of the machine in lab/migrate/machines/web1.yaml.
WEB1, ADDRESS = "web1", "10.1.0.2"
MIB = 1 << 20
#: The paper's lines: rate, and one way from a site to the core; a round trip takes four of them.
FAST = WanFigures(rate=465_000_000, delay=0.00675)
SLOW = WanFigures(rate=100_000_000, delay=0.005)
_WANS = ("e1", "cloud1", "cloud2")
_STATE, _CACHE = "/run/vpnctl/agent", "/run/vpnctl/cache"
_PATIENCE_S = 120.0
#: Seconds that a move may take, and that its command has to be gone once it was killed.
_MOVE_S, _END_S = 300.0, 20.0
_LOOK_S, _ASK_AGAIN_S = 0.1, 1.5

Tell = Callable[[str], None]


class MoveError(Exception):
    """A command failed; the message has what it said."""


class Clouds:
    """The lab that is up; ``directory`` has its files."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab = lab
        self.directory = directory
        self._logs = 0

    def vpnctl(self, *words: str) -> str:
        """A command of the operator, at the controller's node; raises `MoveError`."""
        try:
            done = self.lab.shell("controller").run(("vpnctl", *words), timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise MoveError(f"vpnctl {' '.join(words)}: not ended in {_PATIENCE_S:g} s") from None
        if done.returncode:
            raise MoveError(f"vpnctl {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def start(self, name: str, at: str) -> None:
        """Start a machine of migrate/machines; agents may have to come up first."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                self.vpnctl("agent", "start", f"/machines/{name}.yaml", "--at", at)
            except MoveError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_LOOK_S)
            else:
                return

    def migrate(self, *words: str) -> list[MigrationView]:
        """``vpnctl migrate ...`` to its end, and the last that it said of each machine.

        Raises `MoveError` when one did not move.
        """
        command = ("vpnctl", "migrate", *words, "-o", "json")
        program = self.lab.shell("controller").popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        with program:
            try:
                out, err = program.communicate(timeout=_MOVE_S)
            except subprocess.TimeoutExpired:
                # The move itself goes on without its command.
                program.kill()
                program.communicate(timeout=_END_S)
                raise MoveError(f"{' '.join(command)}: not ended in {_MOVE_S:g} s") from None
        if program.returncode:
            raise MoveError(f"{' '.join(command)}: {err.strip()}")
        views = [MigrationView.model_validate_json(line) for line in out.splitlines()]
        return list({one.machine: one for one in views}.values())

    def visiting(self, address: str = ADDRESS) -> AbstractContextManager[Visitor]:
        """The client talks to a machine; see `tests.support.visitor`."""
        self._logs += 1
        log = self.directory / f"visit-{self._logs}"
        return visiting(self.lab.shell("client"), address, log)

    def disk(self, site: str, file: str) -> Path:
        """A disk's file, as this machine sees it."""
        return self.outside(site, f"{_STATE}/disks/{file}")

    def make_disk(self, site: str, file: str, content: bytes = b"", size: int = 0) -> None:
        """A raw disk with room for records, and ``content`` after it; at least ``size`` octets."""
        path = self.disk(site, file)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as disk:
            disk.seek(SLOTS * 4096)
            disk.write(content)
            disk.truncate(max(size, SLOTS * 4096 + len(content)))

    def forget(self) -> None:
        """Empty the caches of both sites, so that a machine is the first that moves."""
        for site in HOSTS:
            shutil.rmtree(self.outside(site, _CACHE), ignore_errors=True)

    def records(self, site: str, file: str) -> dict[int, Record]:
        """What the guest wrote to a disk."""
        return read_records(self.disk(site, file), SLOTS)

    def check_disks(self, file: str, here: str, there: str, written: int) -> None:
        """``here`` it runs, ``there`` it was; raises `RecordError` when a write is lost or a copy
        wrote that should not, `MoveError` when the rest of the disks is not the same."""
        old, new = self.records(there, file), self.records(here, file)
        check_complete(new, SLOTS, written)
        check_left_behind(old, new)
        rests = []
        for site in (here, there):
            with self.disk(site, file).open("rb") as disk:
                disk.seek(SLOTS * 4096)
                rests.append(disk.read())
        if rests[0] != rests[1]:
            raise MoveError(f"{file} is not the same at {here} and {there}")

    def verify(self, site: str, name: str) -> int:
        """Let a machine's guest check all its memory; raises `MoveError` when it is not right.

        A guest that boots answers once its memory is filled.  How many rounds it has worked.
        """
        found = json.loads(self.vpnctl("agent", "list", "--at", site, "-o", "json"))
        (console,) = {one["console"] for one in found["site"]["machines"] if one["name"] == name}
        return ask_guest(self.outside(site, console))

    def outside(self, site: str, path: str) -> Path:
        """A file of a host's own, as this machine sees it."""
        found = self.lab.layout.outside(self.lab.node(HOSTS[site]), path)
        assert found is not None
        return Path(found)

    def sent(self, site: str) -> int:
        """Octets that passed a site's link to the core so far, both ways, of whatever kind."""
        return sum(one.octets for one in self.lab.wan(site).status().directions)

    def line(self, figures: WanFigures) -> None:
        """Every site's link to the core becomes like this."""
        for name in _WANS:
            self.lab.wan(name).change(figures)


def ask_guest(console: Path) -> int:
    """Let the guest at a console check its memory; see `Clouds.verify`.

    It may be asked several times, as one that boots does not always hear, and does nothing else
    while it answers: this returns when it is silent again.
    """
    deadline = time.monotonic() + _PATIENCE_S
    with socket.socket(socket.AF_UNIX) as talking:
        talking.settimeout(_ASK_AGAIN_S)
        talking.connect(str(console))
        heard, asked, rounds = b"", -_ASK_AGAIN_S, None
        while (now := time.monotonic()) < deadline:
            if rounds is None and now >= asked + _ASK_AGAIN_S:
                talking.sendall(b"verify\n")
                asked = now
            try:
                octets = talking.recv(4096)
            except TimeoutError:
                if rounds is not None:
                    return rounds
                continue
            if not octets:
                raise MoveError("the guest has ended")
            heard += octets
            for line in heard.decode(errors="replace").splitlines():
                if line.startswith(("corrupt", "failed")):
                    raise MoveError(f"the guest says: {line}")
                if line.startswith("verified") and line.endswith("rounds"):
                    rounds = int(line.split()[-2])
    raise MoveError("the guest does not answer at its console")


def disk_content(size: int) -> bytes:
    """What a machine's disk holds: files of this machine's Python, each where a block begins."""
    found = bytearray()
    for file in sorted(Path(sysconfig.get_path("stdlib")).rglob("*")):
        if file.is_file():
            found += file.read_bytes()
            found += bytes(-len(found) % 4096)
        if len(found) >= size:
            break
    return bytes(found[:size])


@contextmanager
def clouds(tell: Tell = lambda _: None, machines: dict[str, str] | None = None) -> Iterator[Clouds]:
    """The lab, built from copies and taken down in the end, with the guests' kernel and image.

    ``machines``: more definitions, as text by name.  Raises `vpnctl.errors.LabError`, and
    `tests.support.guest_image.MissingError` when guests cannot be built here.
    """
    with tempfile.TemporaryDirectory(prefix="vm-") as name:
        directory = Path(name)
        # Somebody may have this lab up.
        text = re.sub(r"(?m)^name: (\S+)$", rf"name: \1-{os.getpid()}", TOPOLOGY.read_text())
        copy_bound(read_topology(TOPOLOGY.name, text.encode()), LAB, directory)
        images = directory / "migrate" / "images"
        shutil.copy(kernel(), images / "vmlinuz")
        shutil.copy(build_image(directory), images / "image.cpio")
        for machine, definition in (machines or {}).items():
            (directory / "migrate" / "machines" / f"{machine}.yaml").write_text(definition)
        before = os.environ.get("VPNCTL_LAB_DIR")
        os.environ["VPNCTL_LAB_DIR"] = f"{directory}/labs"
        try:
            lab = build.up(
                build.Source(TOPOLOGY.name, text, directory), lambda *what: tell(what[2])
            )
            try:
                sessions.wait_routes(lab)
                yield Clouds(lab, directory)
            finally:
                lifecycle.down(lab.name)
        finally:
            if before is None:
                del os.environ["VPNCTL_LAB_DIR"]
            else:
                os.environ["VPNCTL_LAB_DIR"] = before


def at(view: MigrationView, what: str) -> float | None:
    """When a migration did that, by the wall's clock; None when it did not."""
    return next((view.began + mark.at_s for mark in view.timeline if mark.what == what), None)


def octets(view: MigrationView) -> int:
    """What a migration put on the line, for memory and disks."""
    return view.wire + view.disk_wire
