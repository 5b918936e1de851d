"""Secrets, from where the policy says they are: a file, the environment, a command."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

from vpnctl.errors import ControllerError
from vpnctl.model import Secret

#: Most octets of a key (TCP_MD5SIG_MAXKEYLEN of Linux).
LONGEST = 80
#: Seconds that a command has.
COMMAND_TIME = 10.0
#: More is read of nothing.
_MOST = 4096


def read_secret(secret: Secret, environment: Mapping[str, str] = os.environ) -> bytes:
    """The secret, without the line's end behind it.  May take `COMMAND_TIME` seconds.

    Raises `ControllerError`, which never holds the secret.
    """
    if secret.file:
        found = _from_file(secret.file)
    elif secret.environment:
        found = environment.get(secret.environment, "").encode()
        if not found:
            raise ControllerError(
                f"{secret.environment} is not set in the controller's environment",
                hint="set it where 'vpnctl serve' is started, and start that again",
            )
    else:
        found = _from_command(secret.command)
    found = found.rstrip(b"\r\n")
    if not 0 < len(found) <= LONGEST:
        raise ControllerError(
            f"{secret} gives {len(found)} octets", hint=f"a key has 1 to {LONGEST} octets"
        )
    return found


def _from_file(path: str) -> bytes:
    try:
        # Whatever stands there, a FIFO say, must not stop the controller.
        descriptor = os.open(Path(path).expanduser(), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise ControllerError(f"{path} is not a regular file", hint="write one")
            if found.st_mode & stat.S_IRWXO:
                raise ControllerError(
                    f"everybody may read {path}", hint=f"chmod o-rwx {path}, and change the secret"
                )
            return os.read(descriptor, _MOST)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ControllerError(
            f"{path} cannot be read: {error.strerror}",
            hint="is it there, and may the controller's user read it?",
        ) from error


def _from_command(command: tuple[str, ...]) -> bytes:
    name = command[0]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_TIME,
            check=False,
        )
    except OSError as error:
        raise ControllerError(
            f"{name} cannot be run: {error.strerror}", hint="is it installed, and executable?"
        ) from error
    except subprocess.TimeoutExpired:
        raise ControllerError(
            f"{name} did not end within {COMMAND_TIME:.0f} s", hint="does it wait for somebody?"
        ) from None
    if done.returncode != 0:
        raise ControllerError(
            f"{name} ended with status {done.returncode}", hint="run it as the controller's user"
        )
    return done.stdout[:_MOST]
