"""What is known of a lab on this machine: written before anything is made, removed at the end.

Whatever happens to the runner, the file names every namespace that may exist; the processes are
those within them.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from vpnctl.errors import LabError
from vpnctl.lab.layout import Layout
from vpnctl.lab.processes import Process, process

_VERSION = 1
_BASE_VARIABLE = "VPNCTL_LAB_DIR"
# Not within /run/vpnctl: nodes have a mount there, which ends when somebody removes the directory.
_BASE = Path("/run/vpnctl-lab")


@dataclass(frozen=True, slots=True)
class LabRecord:
    """One lab: its topology file as text, and whether it was built to the end.

    ``directory``: where the topology file lies, which its paths are relative to.
    """

    name: str
    file: str
    directory: str
    topology: str
    namespaces: tuple[str, ...]
    complete: bool = False
    version: int = _VERSION


@dataclass(frozen=True, slots=True)
class Started:
    """A program that was started at a node."""

    node: str
    program: str
    process: Process


def base_directory() -> Path:
    """Where labs are kept: ``$VPNCTL_LAB_DIR``, else ``/run/vpnctl-lab``."""
    return Path(os.environ.get(_BASE_VARIABLE) or _BASE)


def layout_of(name: str) -> Layout:
    """The places of the lab of this name."""
    return Layout(PurePosixPath(base_directory()), name)


def names() -> tuple[str, ...]:
    """The labs that are recorded, whole or in part."""
    try:
        entries = sorted(base_directory().iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return tuple(entry.name for entry in entries if _is_own(entry) and _is_home(entry))


def _is_own(path: Path) -> bool:
    """Whether this is a directory of ours: somebody else's record could name any namespace."""
    status = path.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()


def _is_home(directory: Path) -> bool:
    """Whether this is a lab's directory, at its very beginning perhaps: it will be removed."""
    return any(directory.glob("lab.*")) or not any(directory.iterdir())


def check_home(layout: Layout) -> None:
    """Raise `LabError` where something else is in the lab's place."""
    home = Path(layout.home)
    if os.path.lexists(home) and not (_is_own(home) and _is_home(home)):
        raise LabError(
            f"{home} is no directory of a lab of ours",
            hint=f"move it away, or set {_BASE_VARIABLE} to another directory",
        )


def make_home(layout: Layout) -> None:
    """Make the lab's directory for root alone; raises `LabError` where that cannot be done."""
    try:
        Path(layout.base).mkdir(mode=0o755, parents=True, exist_ok=True)
        Path(layout.home).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise LabError(
            f"{error.filename} cannot be made: {error.strerror}",
            hint=f"set {_BASE_VARIABLE} to a directory in which root may write",
        ) from error


def write(layout: Layout, record: LabRecord) -> None:
    """Write the record; what was there is replaced in one step."""
    path = Path(layout.state)
    draft = path.with_suffix(".new")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(asdict(record), file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def read(layout: Layout) -> LabRecord | None:
    """The record; `None` where there is none.

    Raises `LabError` where it is of another version or damaged.
    """
    try:
        said = json.loads(Path(layout.state).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _unreadable(layout, str(error)) from error
    if not isinstance(said, dict) or said.get("version") != _VERSION:
        raise _unreadable(layout, "it is of another version of vpnctl")
    said["namespaces"] = tuple(said["namespaces"])
    return LabRecord(**said)


def _unreadable(layout: Layout, why: str) -> LabError:
    return LabError(
        f"{layout.state} cannot be used: {why}",
        hint=f"end the lab by hand: namespaces {layout.namespace('*')} in 'ip netns list',"
        f" then remove {layout.home}",
    )


def note_process(layout: Layout, node: str, program: str, pid: int) -> None:
    """Note that a program runs at a node; one that has ended already is not noted."""
    found = process(pid)
    if found is None:
        return
    line = json.dumps([node, program, found.pid, found.started, found.command])
    with Path(layout.processes).open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def started(layout: Layout) -> tuple[Started, ...]:
    """The programs that were started, still running or not; a line that is cut off is left out."""
    try:
        lines = Path(layout.processes).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ()
    found = []
    for line in lines:
        try:
            node, program, pid, begun, command = json.loads(line)
        except ValueError:
            continue
        found.append(Started(node, program, Process(pid, begun, command)))
    return tuple(found)


def forget(layout: Layout) -> None:
    """Remove the lab's files, and the directory of all labs where it was the last one."""
    state = Path(layout.state)
    try:
        if not _is_own(Path(layout.home)):
            return
        # The record goes last: without it nobody would know the rest for a lab's.
        for entry in Path(layout.home).iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry != state:
                entry.unlink()
        shutil.rmtree(layout.home)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise LabError(
            f"{error.filename} cannot be removed: {error.strerror}",
            hint="see what uses it, then 'vpnctl lab down' again",
        ) from error
    # The default directory is ours: the last lab takes it along.
    if not os.environ.get(_BASE_VARIABLE):
        with suppress(OSError):
            _BASE.rmdir()


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Alone at work on the lab of this name on this machine; ends with the process at the latest.

    Raises `LabError` where somebody else is at work, with that process' id.
    """
    # A name in the abstract namespace of sockets: no file is left, and the kernel frees it.
    # Where labs are kept makes no difference: their namespaces have the same names.
    address = f"\0vpnctl-lab-{name}"
    with socket.socket(socket.AF_UNIX) as lock:
        try:
            lock.bind(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise LabError(
                f"process {_listener(address)} is building the lab {name!r} or taking it down",
                hint="wait for it, or end it with Ctrl-C where it runs",
            ) from None
        lock.listen()
        yield


def _listener(address: str) -> str:
    """The id of the process that listens at a unix socket's address, as text."""
    with socket.socket(socket.AF_UNIX) as asking:
        try:
            asking.connect(address)
        except OSError:
            return "?"
        credentials = asking.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
        )
    return str(struct.unpack("3i", credentials)[0])
