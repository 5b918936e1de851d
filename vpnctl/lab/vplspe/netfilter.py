"""The PE's filters in the kernel, by ``nft``: all of them at once, or none."""

from __future__ import annotations

import shutil
import subprocess

from vpnctl.errors import LabError
from vpnctl.lab.vplspe.filters import TABLE

#: Seconds for a transaction.
_PATIENCE_S = 30.0


class Netfilter:
    """Our table of nftables in this process's network namespace."""

    def __init__(self) -> None:
        self._script = ""

    def change(self, script: str) -> None:
        """Put a script in the place of the one before; no packet finds half of it.

        Raises `LabError` when it cannot be done; the filters before are then in force.
        """
        if script != self._script:
            self._put(script)

    def clear(self) -> None:
        """Take away what somebody else has left.  Raises `LabError`."""
        self._put("")

    def _put(self, script: str) -> None:
        # "add" makes sure that there is a table to delete.
        emptied = f"add table bridge {TABLE}\ndelete table bridge {TABLE}\n"
        self._nft(emptied + script)
        self._script = script

    def _nft(self, transaction: str) -> None:
        if shutil.which("nft") is None:
            raise LabError("a PE that filters needs nft", hint="install the package nftables")
        done = subprocess.run(
            ["nft", "-f", "-"],
            input=transaction,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
        if done.returncode:
            raise LabError(
                f"nft refuses the PE's filters: {done.stderr.strip()}",
                hint="the kernel may lack nf_tables for bridges; run as root",
            )
