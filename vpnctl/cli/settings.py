"""Which controller to talk to, and where its socket is unless told."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from vpnctl.errors import UsageError


@dataclass(frozen=True, slots=True)
class Settings:
    """The options that every command takes.

    ``url`` is empty for the unix socket; ``certificate``, ``key`` and ``ca`` are for
    ``https://``.  ``socket`` is None for the default one.
    """

    socket: Path | None = None
    url: str = ""
    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None

    def socket_to_connect(self) -> Path:
        """The socket; `UsageError` when the default one lies where others could put theirs."""
        if self.socket is not None:
            return self.socket
        path = default_socket()
        if path.parent.exists():
            verify_private(path.parent)
        return path

    def socket_to_serve(self) -> Path:
        """The socket, its default directory made for its owner alone."""
        if self.socket is not None:
            return self.socket
        path = default_socket()
        make_private(path.parent)
        return path


def default_socket() -> Path:
    """In ``$XDG_RUNTIME_DIR``, else in a directory of the user's own under ``/tmp``."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / "vpnctl" / "controller.sock"
    return Path(f"/tmp/vpnctl-{os.getuid()}") / "controller.sock"


def default_policies() -> Path:
    """``./policies``, or the present directory where that is the policy directory itself."""
    below = Path("policies")
    if below.is_dir():
        return below
    # Late, because most commands never need the policy language.
    from vpnctl.ruleset.network import NETWORK_FILES

    return Path() if any(Path(name).is_file() for name in NETWORK_FILES) else below


def default_state() -> Path:
    """The directory of the default store."""
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "vpnctl"


def make_private(directory: Path) -> None:
    """Make ``directory`` for its owner alone; `UsageError` when it is, or cannot be, otherwise."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"the directory {directory} cannot be made: {error.strerror}",
            hint="choose another place with --socket or --store",
        ) from error
    verify_private(directory)


def verify_private(directory: Path) -> None:
    """Raise `UsageError` unless ``directory`` is the user's, and nobody else may write there."""
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise UsageError(
            f"{directory} is not a directory of yours alone",
            hint=f"see 'ls -ld {directory}'; choose another place with --socket",
        )
