"""What the session process says itself, on standard error."""

from __future__ import annotations

import contextlib
import sys


def report(line: str) -> None:
    """One line for the operator."""
    text = " ".join(line.split())
    with contextlib.suppress(OSError):
        sys.stderr.write(f"vpnctl BGP session process: {text}\n")
        sys.stderr.flush()
