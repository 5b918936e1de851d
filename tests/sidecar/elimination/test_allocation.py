"""Memory that is freed is at hand for the next batch."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys

import pytest

ROUNDS, PIECES, PIECE = 20, 4, 1 << 20
#: Prints how many pages the system had to give, in a process whose heap nobody has used.
PROGRAM = f"""
import resource
import sys
import numpy as np
from vpnctl.sidecar.elimination.allocation import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({ROUNDS}):
    pieces = [np.ones({PIECE}, np.uint8) for _ in range({PIECES})]
    del pieces
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages_given(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], check=True, capture_output=True, text=True, timeout=60
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's way of keeping memory")
def test_what_is_freed_is_used_again() -> None:
    kept, given_back = pages_given("kept"), pages_given("given back")
    assert kept < 2 * PIECES * PIECE // resource.getpagesize()
    assert kept < given_back / 4
