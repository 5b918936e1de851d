"""Builds a lab as ``vpnctl lab up`` does, and is killed in the middle of a step.

``python -m tests.lab.builder FILE STEP MILLISECONDS``: that long after ``STEP`` was begun, by a
signal that leaves no chance to do anything.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from vpnctl.lab.build import Source, up


def main(file: str, step: int, milliseconds: int) -> None:
    def tell(number: int, total: int, what: str) -> None:
        print(number, total, what, flush=True)
        if number == step:
            signal.setitimer(signal.ITIMER_REAL, max(milliseconds, 0.001) / 1000)

    path = Path(file)
    up(Source(file, path.read_text(), path.parent), tell)


if __name__ == "__main__":
    # The timer's signal ends a process that does not handle it, at once and whatever it does.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
