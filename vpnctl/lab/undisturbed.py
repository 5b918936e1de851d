"""Stretches of work in which no signal of the operator's may raise."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

_OPERATORS = frozenset((signal.SIGINT, signal.SIGTERM))


@contextmanager
def undisturbed() -> Iterator[set[signal.Signals | int]]:
    """Without Ctrl-C and SIGTERM, which come when this is over; the mask as it was before.

    A child that is made meanwhile has to restore that mask, or it could not be interrupted.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _OPERATORS)
    try:
        yield set(before)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
