"""Ctrl-C is not lost, wherever it comes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from vpnctl.cli.lab.signals import Ending, end_in_order


@pytest.fixture
def ending() -> Iterator[Ending]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield end_in_order()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_raises_where_the_process_is(ending: Ending) -> None:
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    assert ending.asked


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_one_that_is_lost_in_a_destructor_is_raised_at_the_next_check(ending: Ending) -> None:
    class Destructor:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    dying = Destructor()
    del dying
    assert ending.asked
    with pytest.raises(SystemExit) as caught:
        ending.check()
    assert caught.value.code == 128 + signal.SIGTERM


def test_a_child_ends_without_its_parents_way_out(ending: Ending) -> None:
    assert not ending.asked
    child = os.fork()
    if child == 0:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os._exit(99)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGTERM
