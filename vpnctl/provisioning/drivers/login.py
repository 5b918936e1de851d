"""Logging in: the key that is shown to a router, and the one that the router shows."""

from __future__ import annotations

import stat
from pathlib import Path

from vpnctl.errors import ConnectError, HostKeyError

#: The prefix of fingerprints as OpenSSH shows them.
SHA256 = "SHA256:"

#: Octets of the longest private key that is read.
_MOST_OCTETS = 64 * 1024


def private_key(router: str, key: str) -> str | None:
    """The path of a private key for a library, None for the SSH agent's keys.

    ``key``: as the policy has it, empty for the agent's.  Raises `ConnectError` where it cannot be
    read: libraries go on without it, and then it is the router that seems to refuse.
    """
    if not key:
        return None
    path = Path(key).expanduser()
    hint = "`key:` in network.yaml is the path of a file on the controller's machine"
    try:
        # Before it is opened: a pipe would wait, and a device never ends.
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MOST_OCTETS:
            raise ConnectError(
                f"{router}: {key} is no private key, but a large file or none at all",
                router=router,
                hint=hint,
            )
        with path.open("rb"):
            return str(path)
    except OSError as error:
        raise ConnectError(
            f"{router}: the private key {key} cannot be read: {error.strerror}",
            router=router,
            hint=hint,
        ) from error


def stranger(router: str, where: str, expected: str, shown: str) -> HostKeyError:
    """Somebody answers with another key.

    ``expected``: as in `vpnctl.model.Netconf`; ``shown``: the fingerprint of what came, if any did.
    """
    if expected.startswith(SHA256):
        words = f"expected is {expected}"
    else:
        words = f"{expected or '~/.ssh/known_hosts'} does not have that"
    return HostKeyError(
        f"{where} shows the host key {shown or 'of another kind than is known'}, and {words}",
        router=router,
        hint="find out first who answers there; if the router has a new key, write its fingerprint"
        " as `host_key:` in network.yaml",
    )
