"""Runs a program inside a node: in its network namespace, with its files where it expects them.

What a container runtime does, without images: the child goes into the network namespace, takes a
mount namespace of its own, mounts the node's files over the host's, and becomes the program.  The
mounts exist for that process and its children alone and end with them.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from vpnctl.errors import LabError
from vpnctl.lab.layout import Mount
from vpnctl.lab.namespaces import NAMESPACES
from vpnctl.lab.undisturbed import undisturbed

#: Where programs make and remove directories at any time.
_VOLATILE = Path("/run")

_CLONE_NEWNS, _CLONE_NEWUTS, _CLONE_NEWNET = 0x00020000, 0x04000000, 0x40000000
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
_MNT_DETACH = 2

# Looked up before any fork: a child may only call what is there already.
_LIBC = ctypes.CDLL(None, use_errno=True)

#: Seen before the host's own: the programs of the installation that runs this.
_PATH = (
    f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)
#: What of our own environment a node's programs get.
_KEPT = ("LANG", "LC_ALL", "TERM", "TZ", "NO_COLOR", "VPNCTL_LAB_DIR")


@dataclass(frozen=True, slots=True)
class Shell:
    """A node as its programs see it.

    ``name``: the node's, and the host name of its programs; ``namespace``: as in ``/run/netns``;
    ``root``: an empty directory, over which the node's view of ``/`` is built where a mount needs
    a place that the host does not have.
    """

    name: str
    namespace: str
    mounts: tuple[Mount, ...]
    root: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def popen(
        self,
        command: Sequence[str],
        *,
        stdin: int | IO[Any] | None = subprocess.DEVNULL,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        detached: bool = False,
        text: bool = False,
    ) -> subprocess.Popen[Any]:
        """Start a program; ``detached``: in a session of its own, so that Ctrl-C does not reach it.

        Raises `LabError` where it, or the node, is not there.  Not to be called while other
        threads of this process hold locks that a child needs: it forks.
        """
        reading, writing = os.pipe()
        try:
            with undisturbed() as mask:
                return subprocess.Popen(
                    list(command),
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    cwd="/",
                    env=self._environment(),
                    start_new_session=detached,
                    preexec_fn=lambda: self._enter_or_say(writing, mask),
                    text=text,
                )
        except FileNotFoundError as error:
            raise LabError(
                f"{command[0]!r} is not on this machine",
                hint="install it: the lab's nodes run the programs of the host",
            ) from error
        except (OSError, subprocess.SubprocessError) as error:
            os.close(writing)
            writing = -1
            why = os.read(reading, 1000)
            raise LabError(
                f"{command[0]!r} cannot be started in {self.namespace}:"
                f" {why.decode(errors='replace') or error}",
                hint="'vpnctl lab inspect' shows what runs; 'vpnctl lab down' removes the lab",
            ) from error
        finally:
            os.close(reading)
            if writing >= 0:
                os.close(writing)

    def run(
        self, command: Sequence[str], *, timeout: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end; what it prints is in the result."""
        with self.popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except BaseException:
                process.kill()
                raise
        return subprocess.CompletedProcess(list(command), process.returncode, out, err)

    def _environment(self) -> dict[str, str]:
        kept = {key: os.environ[key] for key in _KEPT if key in os.environ}
        return {**kept, "PATH": _PATH, "HOME": "/root", **self.environment}

    def _enter_or_say(self, writing: int, mask: set[signal.Signals | int]) -> None:
        """In the child, between fork and exec; of an exception, `subprocess` tells no more."""
        try:
            self._enter()
        except OSError as error:
            os.write(writing, str(error).encode()[:1000])
            raise
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _enter(self) -> None:
        descriptor = os.open(NAMESPACES / self.namespace, os.O_RDONLY)
        _checked(_LIBC.setns(descriptor, _CLONE_NEWNET), "setns")
        os.close(descriptor)
        _checked(_LIBC.unshare(_CLONE_NEWNS | _CLONE_NEWUTS), "unshare")
        socket.sethostname(self.name)
        _mount("none", "/", "", _MS_REC | _MS_PRIVATE)
        # /sys shows the devices of the namespace in which it was mounted.
        _LIBC.umount2(b"/sys", _MNT_DETACH)
        _mount("sysfs", "/sys", "sysfs", 0)
        # What is mounted may hide where the next comes from, so they are opened first.
        sources = [os.open(mount.source, os.O_PATH) for mount in self.mounts]
        if any(_nearest(Path(mount.target)) == Path("/") for mount in self.mounts):
            self._cover(Path("/"))
        self._renew_volatile(sources)
        for mount, source in zip(self.mounts, sources, strict=True):
            self._put(mount, source)
        os.chdir("/")

    def _renew_volatile(self, sources: Sequence[int]) -> None:
        """Make places in /run anew: a mount ends when its place on the host is removed."""
        volatile = {
            Path(mount.target): source
            for mount, source in zip(self.mounts, sources, strict=True)
            if Path(mount.target).parent == _VOLATILE
        }
        if volatile:
            self._cover(_VOLATILE, without={target.name for target in volatile})
        for target, source in volatile.items():
            _make_place(target, source)

    def _put(self, mount: Mount, source: int) -> None:
        target = Path(mount.target)
        if not target.exists():
            self._make(target, source)
        _bind(f"/proc/self/fd/{source}", target)
        os.close(source)
        if mount.read_only:
            _mount("none", str(target), "", _MS_REMOUNT | _MS_BIND | _MS_RDONLY)

    def _make(self, target: Path, source: int) -> None:
        """Make a place that the host lacks, within a copy of the directory that it would be in."""
        nearest = _nearest(target)
        if nearest != Path("/"):
            self._cover(nearest)
        _make_place(target, source)

    def _cover(self, directory: Path, without: Collection[str] = ()) -> None:
        """Put an empty file system over ``directory`` in which its entries are seen.

        ``without``: but for these.
        """
        whole = directory == Path("/")
        cover = self.root if whole else directory
        below = os.open(directory, os.O_PATH)
        status = directory.stat()
        names = sorted({*os.listdir(directory)} - {*without})  # noqa: PTH208  the names alone
        _mount("tmpfs", str(cover), "tmpfs", 0, f"mode={status.st_mode & 0o7777:o}")
        for name in names:
            entry, seen = Path(f"/proc/self/fd/{below}/{name}"), cover / name
            if entry.is_symlink():
                seen.symlink_to(entry.readlink())
                continue
            if entry.is_dir():
                seen.mkdir()
            else:
                seen.touch()
            _bind(str(entry), seen)
        os.close(below)
        if whole:
            os.chroot(cover)


def missing(programs: Iterable[str]) -> list[str]:
    """Those of ``programs`` that are not on this machine."""
    return sorted({program for program in programs if shutil.which(program, path=_PATH) is None})


def _nearest(target: Path) -> Path:
    """``target``, or the nearest directory above it that is there."""
    return target if target.exists() else _nearest(target.parent)


def _make_place(target: Path, source: int) -> None:
    """Make a directory or a file, whichever the open ``source`` is."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if stat.S_ISDIR(os.fstat(source).st_mode):
        target.mkdir()
    else:
        target.touch()


def _bind(source: str, target: Path) -> None:
    _mount(source, str(target), "", _MS_BIND | _MS_REC)


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    _checked(
        _LIBC.mount(
            os.fsencode(source),
            os.fsencode(target),
            kind.encode(),
            ctypes.c_ulong(flags),
            options.encode(),
        ),
        target,
    )


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
