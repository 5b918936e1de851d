"""What runs on an FRR router during a session, and a little longer: a candidate that FRR lacks.

This file is sent to the router and run there by its Python (3.8 or later), with nothing but the
standard library and FRR's own vtysh and frr-reload.py.  It reads one JSON object a line, does it,
and answers with one: ``{"ok": ...}``, ``{"refused": "why"}`` or ``{"locked": "by whom"}``.

A confirmed commit is a copy of the running configuration and a process that lives on by itself and
loads that copy when the time is up, whatever has become of the session and of who made it.  Nothing
is written to FRR's startup configuration before it is confirmed: a router that boots meanwhile has
what it had before.  What FRR cannot do, this cannot either: lines take effect one after the other,
whoever types into vtysh is not kept from it, and a rolling back takes back what they typed since.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Iterator  # noqa: UP035  # of Python 3.8

_RELOADERS = ("/usr/lib/frr/frr-reload.py", "/usr/libexec/frr/frr-reload.py")
_PENDING, _CONFIRMED, _REVERTED = "pending", "confirmed", "reverted"


class Refused(Exception):  # noqa: N818  # it is an answer
    """FRR's or our no."""


class Locked(Exception):  # noqa: N818  # it is an answer
    """Somebody else is at it."""


class Frr:
    """One router: its vtysh, and where the copies are.  ``sockets``: FRR's directory of them where
    it is not the usual one; ``saves``: whether what is confirmed is kept for the next boot.
    """

    def __init__(self, sockets: str, state: str, saves: bool) -> None:
        self._at = ["--vty_socket", sockets] if sockets else []
        self.state = Path(state)
        self._saves = saves
        with contextlib.suppress(FileExistsError):
            self.state.mkdir(mode=0o700)
        found = self.state.lstat()
        if found.st_uid != os.geteuid() or found.st_mode & 0o077 or self.state.is_symlink():
            raise Refused(f"{state} is not this user's alone")

    def vtysh(self, *arguments: str) -> str:
        done = subprocess.run(
            ["vtysh", *self._at, *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise Refused(_shortened(done.stdout) or f"vtysh ended with {done.returncode}")
        return done.stdout

    def running(self) -> str:
        return self.vtysh("-c", "show running-config no-header")

    def check(self, config: str) -> None:
        """Whether vtysh understands every line."""
        with self._file(config) as name:
            self.vtysh("-C", "-f", name)

    def reload(self, config: str) -> None:
        """Make this the running configuration."""
        reloader = next((one for one in _RELOADERS if Path(one).exists()), None)
        if reloader is None:
            raise Refused("frr-reload.py is not installed: it is in the package frr-pythontools")
        with self._file(config) as name:
            done = subprocess.run(
                [sys.executable, reloader, "--reload", "--stdout", "--log-level", "error",
                 "--rundir", str(self.state), *self._at, name],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, check=False,
            )  # fmt: skip
        if done.returncode:
            raise Refused(_shortened(done.stdout) or "frr-reload.py ended in an error")

    def save(self) -> None:
        if self._saves:
            self.vtysh("-c", "write memory")

    @contextlib.contextmanager
    def _file(self, content: str) -> Iterator[str]:
        with tempfile.NamedTemporaryFile("w", dir=self.state, suffix=".conf") as file:
            file.write(content)
            file.flush()
            yield file.name

    # The commit that waits, if any

    @contextlib.contextmanager
    def settling(self) -> Iterator[None]:
        """Within it nobody else commits, confirms or rolls back."""
        with (self.state / "settling").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def commit(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.state / "commit").read_text()))
        except FileNotFoundError:
            return {"persist": "", "state": ""}

    def note(self, commit: dict[str, Any]) -> None:
        written = self.state / "commit.new"
        with written.open("w") as file:
            json.dump(commit, file)
            file.flush()
            os.fsync(file.fileno())
        written.replace(self.state / "commit")

    def revert(self, commit: dict[str, Any]) -> None:
        self.reload(commit["before"])
        self.note(dict(commit, state=_REVERTED))


class Session:
    """One client's; its lock is gone when this process is."""

    def __init__(self, frr: Frr) -> None:
        self._frr = frr
        self._lock: Any = None

    def version(self) -> str:
        return self._frr.vtysh("-c", "show version").splitlines()[0]

    def running(self) -> str:
        return self._frr.running()

    def lock(self) -> None:
        # Not "w": it says who has it.
        file = (self._frr.state / "lock").open("a+")  # it stays open
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            who = file.read() or "another session"
            file.close()
            raise Locked(who) from error
        with self._frr.settling():
            if self._frr.commit()["state"] == _PENDING:
                file.close()
                raise Locked(_waiting(self._frr.commit()))
        file.truncate(0)
        file.write(f"process {os.getpid()}, since {time.strftime('%H:%M:%S')}")
        file.flush()
        self._lock = file

    def unlock(self) -> None:
        self._lock, file = None, self._lock
        if file is not None:
            file.close()

    def check(self, config: str) -> None:
        self._frr.check(config)

    def commit(self, config: str, persist: str, seconds: float) -> None:
        frr = self._frr
        with frr.settling():
            if frr.commit()["state"] == _PENDING:
                raise Locked(_waiting(frr.commit()))
            commit = {
                "persist": persist, "state": _PENDING,
                "before": frr.running(), "until": time.time() + seconds,
            }  # fmt: skip
            frr.note(commit)
            _leave_behind(frr, persist, seconds)
            try:
                frr.reload(config)
            except Refused:
                frr.revert(commit)
                raise

    def confirm(self, persist: str) -> None:
        with self._frr.settling():
            commit = self._frr.commit()
            if (commit["persist"], commit["state"]) != (persist, _PENDING):
                raise Refused(f"no commit {persist} waits to be confirmed")
            self._frr.note(dict(commit, state=_CONFIRMED, before=""))
            self._frr.save()

    def cancel(self, persist: str) -> None:
        with self._frr.settling():
            commit = self._frr.commit()
            if (commit["persist"], commit["state"]) == (persist, _PENDING):
                self._frr.revert(commit)

    def pending(self, persist: str) -> bool:
        with self._frr.settling():
            commit = self._frr.commit()
            return (commit["persist"], commit["state"]) == (persist, _PENDING)


def _leave_behind(frr: Frr, persist: str, seconds: float) -> None:
    """A process of its own that rolls back when the time is up, unless somebody has settled it."""
    if os.fork():
        os.wait()
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        # Also the locks that were inherited: this process holds none of its parent's.
        os.closerange(3, 1024)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end = time.monotonic() + seconds
        while time.monotonic() < end and _waits(frr, persist):
            time.sleep(min(1.0, max(0.0, end - time.monotonic())))
        with frr.settling():
            if _waits(frr, persist):
                frr.revert(frr.commit())
    finally:
        os._exit(0)


def _waiting(commit: dict[str, Any]) -> str:
    return f"the confirmed commit {commit['persist']} that waits"


def _waits(frr: Frr, persist: str) -> bool:
    commit = frr.commit()
    return (commit["persist"], commit["state"]) == (persist, _PENDING)


def _shortened(text: str) -> str:
    """The last lines of what a program said, without what only a terminal wants."""
    lines = [line.replace("\033[91m", "").replace("\033[0m", "") for line in text.splitlines()]
    return "; ".join(" ".join(line.split()) for line in lines if line.strip())[-600:]


def main() -> None:
    """Serve one session until its client is gone; what was begun is brought to its end."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    try:
        session = Session(Frr(**json.loads(sys.argv[2])))
        answer: dict[str, Any] = {"ok": None}
    except (Refused, OSError) as error:
        answer = {"refused": str(error)}
    _say(answer)
    if "ok" not in answer:
        return
    for line in iter(sys.stdin.buffer.readline, b""):
        request = json.loads(line)
        try:
            answer = {"ok": getattr(session, request.pop("do"))(**request)}
        except Locked as error:
            answer = {"locked": str(error)}
        except (Refused, OSError) as error:
            answer = {"refused": str(error)}
        _say(answer)


def _say(answer: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
