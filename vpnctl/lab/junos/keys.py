"""``python -m vpnctl.lab.junos.keys DIR ADDRESS...``: what logging in to a lab's routers takes.

Makes, where they are not there yet: ``id`` and ``id.pub``, the controller's; ``host``, the
routers' at these addresses; ``known_hosts``, by which the controller knows them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import asyncssh

_KIND = "ssh-ed25519"
#: RFC 6242 section 4.1.
NETCONF_PORT = 830


def make(directory: Path, addresses: Sequence[str]) -> None:
    """All of them, in ``directory``, which is made if need be."""
    directory.mkdir(parents=True, exist_ok=True)
    client = _key(directory / "id")
    host = _key(directory / "host")
    (directory / "id.pub").write_bytes(client.export_public_key())
    # All routers of a lab have one key.
    names = ",".join(name for each in addresses for name in (each, f"[{each}]:{NETCONF_PORT}"))
    (directory / "known_hosts").write_bytes(f"{names} ".encode() + host.export_public_key())


def _key(file: Path) -> asyncssh.SSHKey:
    if file.exists():
        return asyncssh.read_private_key(file)
    key = asyncssh.generate_private_key(_KIND)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as written:
        written.write(key.export_private_key())
    return key


if __name__ == "__main__":
    make(Path(sys.argv[1]), sys.argv[2:])
