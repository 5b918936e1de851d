"""FRR's daemons at a node, started as its container image does: the files say which, and how."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vpnctl.errors import LabError
from vpnctl.lab.enter import Shell
from vpnctl.lab.processes import process

#: Where Debian's package and the image have the daemons.
PROGRAMS = Path("/usr/lib/frr")
INSTALL = "apt-get install frr"
_USER = "frr"
#: Started whatever the file says; of newer versions also mgmtd.
_ALWAYS = ("mgmtd", "zebra", "staticd")
_DAEMONS_FILE = "/etc/frr/daemons"
_CONFIGURATION = "/etc/frr/frr.conf"
_PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Router:
    """An FRR node: how to run something there, and what to do for each daemon that runs."""

    name: str
    shell: Shell
    log: Callable[[str], Path]
    note: Callable[[str, int], None]


def prepare(directories: Iterable[Path]) -> None:
    """Give FRR the directories in which its daemons make their sockets and files."""
    try:
        user, group = pwd.getpwnam(_USER).pw_uid, grp.getgrnam(_USER).gr_gid
    except KeyError as error:
        raise LabError(f"there is no user {_USER!r}: FRR is not installed", hint=INSTALL) from error
    for directory in directories:
        os.chown(directory, user, group)


def daemons(text: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The daemons that a ``daemons`` file enables with their options, in starting order.

    >>> daemons("bgpd=yes\\nospfd=no\\nbgpd_options=' -M snmp'")[-1]
    ('bgpd', ('-M', 'snmp'))
    """
    said = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and key.strip().isidentifier():
            said[key.strip()] = " ".join(shlex.split(value, comments=True))
    enabled = [name for name, value in said.items() if value == "yes" and name != "vtysh_enable"]
    return tuple(
        (name, tuple(said.get(f"{name}_options", "").split()))
        for name in (*_ALWAYS, *(name for name in enabled if name not in _ALWAYS))
    )


def start(routers: Sequence[Router]) -> None:
    """Start the daemons that do not run at all routers, and give them their configuration.

    Returns when they have taken it.  Raises `LabError` with what a daemon said.
    """
    wanted = {router.name: _wanted(router) for router in routers}
    # zebra is there before those that talk to it; of one kind all start side by side.
    for stage in range(max((len(found) for found in wanted.values()), default=0)):
        running = []
        for router in routers:
            for name, options in wanted[router.name][stage : stage + 1]:
                command = (str(PROGRAMS / name), "-d", *(options or ("-A", "127.0.0.1")))
                running.append((router, name, _launch(router, name, command)))
        _await(running)
        for router, name, _ in running:
            router.note(name, _pid(router, name))
    configured = [router for router in routers if _source(router, _CONFIGURATION) is not None]
    _await([(router, "vtysh", _launch(router, "vtysh", ("vtysh", "-b"))) for router in configured])


def _wanted(router: Router) -> list[tuple[str, tuple[str, ...]]]:
    source = _source(router, _DAEMONS_FILE)
    text = source.read_text(encoding="utf-8") if source else "bgpd=yes\n"
    found = []
    for name, options in daemons(text):
        if (PROGRAMS / name).exists():
            if not _runs(router, name):
                found.append((name, options))
        elif name != "mgmtd":
            raise LabError(f"{PROGRAMS / name}, for {router.name}, is not there", hint=INSTALL)
    return found


def _source(router: Router, seen: str) -> Path | None:
    """The file on the host that a node sees at ``seen``."""
    for mount in reversed(router.shell.mounts):
        if str(mount.target) == seen:
            return Path(mount.source)
        if seen.startswith(f"{mount.target}/"):
            path = Path(mount.source) / Path(seen).relative_to(mount.target)
            return path if path.exists() else None
    return None


def _launch(router: Router, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
    with router.log(name).open("ab") as log:
        return router.shell.popen(command, stdout=log, stderr=log, detached=True)


def _await(running: Iterable[tuple[Router, str, subprocess.Popen[bytes]]]) -> None:
    """Wait for all; a daemon's first process ends when the daemon is ready."""
    for router, name, first in running:
        try:
            code = first.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            first.kill()
            first.wait()
            code = -1
        if code:
            said = router.log(name).read_text(errors="replace").strip()[-800:]
            raise LabError(
                f"{name} at {router.name} failed: {said or f'it ended with {code}'}",
                hint=f"see the node's {_CONFIGURATION} and {_DAEMONS_FILE}",
            )


def _pid(router: Router, name: str) -> int:
    source = _source(router, f"/run/frr/{name}.pid")
    return 0 if source is None else int(source.read_text().split()[0])


def _runs(router: Router, name: str) -> bool:
    found = process(_pid(router, name))
    return found is not None and found.command.startswith(str(PROGRAMS / name))


def installed() -> bool:
    """Whether FRR is on this machine."""
    return (PROGRAMS / "bgpd").exists() and shutil.which("vtysh") is not None
