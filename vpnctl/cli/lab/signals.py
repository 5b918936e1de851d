"""Ctrl-C and SIGTERM: end in order, so that what was built is taken down on the way out."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


class Ending:
    """Whether a signal asked for the end.

    An exception that a handler raises is lost where it happens to run within a destructor, so
    whoever works in steps asks `check` as well.
    """

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._asked = 0

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """The handler: raise where this process is.

        A child that has not become another program yet just ends, for what is on its way out is
        its parent's.
        """
        if os.getpid() != self._owner:
            os._exit(128 + number)
        self._asked = number
        self.check()

    @property
    def asked(self) -> bool:
        """Whether there was a signal."""
        return bool(self._asked)

    def check(self) -> None:
        """Raise `KeyboardInterrupt` or `SystemExit` when there was a signal."""
        if self._asked == signal.SIGINT:
            raise KeyboardInterrupt
        if self._asked:
            sys.exit(128 + self._asked)


def end_in_order() -> Ending:
    """From now on Ctrl-C and SIGTERM are handled by what is returned."""
    ending = Ending()
    signal.signal(signal.SIGINT, ending.handle)
    signal.signal(signal.SIGTERM, ending.handle)
    return ending
