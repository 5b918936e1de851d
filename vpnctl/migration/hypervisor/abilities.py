"""What a QEMU can do, asked of one without a guest."""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path

from vpnctl.migration.hypervisor.driver import Abilities
from vpnctl.migration.hypervisor.qemu import Qemu
from vpnctl.migration.ledger import Copy


async def abilities(binary: str) -> Abilities:
    """Of the QEMU at ``binary``; raises `MigrationError` when it does not start."""
    with tempfile.TemporaryDirectory(prefix="vpnctl-") as directory:
        qmp, log = Path(directory) / "qmp", Path(directory) / "log"
        words = [
            "-nodefaults", "-no-user-config", "-display", "none", "-machine", "none", "-S",
            "-qmp", f"unix:{qmp},server=on,wait=off",
        ]  # fmt: skip
        copy = Copy(incarnation=secrets.token_hex(6), qmp=str(qmp), log=str(log))
        qemu = await Qemu.start(binary, words, copy, lambda _: None)
        try:
            version = (await qemu.ask("query-version"))["qemu"]
            machines = await qemu.ask("query-machines")
            cpus = await qemu.ask("query-cpu-definitions")
        finally:
            await qemu.destroy()
    return Abilities(
        version=(version["major"], version["minor"], version["micro"]),
        machine_types=tuple(sorted(one["name"] for one in machines)),
        aliases={one["alias"]: one["name"] for one in machines if "alias" in one},
        cpus=tuple(sorted(one["name"] for one in cpus)),
    )
