"""How far the first pass over a guest's memory is."""

from __future__ import annotations

import numpy as np
import pytest

from vpnctl.sidecar.stream.events import Opaque, Pages
from vpnctl.sidecar.stream.first_pass import FirstPass
from vpnctl.sidecar.stream.format import PAGE_SIZE, RamFlag

RAM, ROM = b"pc.ram", b"pc.rom"
PAGES = 10_000
BLOCKS = {RAM: PAGES * PAGE_SIZE, ROM: 100 * PAGE_SIZE}


def run(begin: int, end: int, *, full: bool = True, block: bytes = RAM) -> Pages:
    flag = RamFlag.PAGE if full else RamFlag.ZERO
    headers = (np.arange(begin, end, dtype=np.uint64) << np.uint64(12)) | np.uint64(flag)
    contents = np.zeros((end - begin if full else 0, PAGE_SIZE), np.uint8)
    return Pages(block, headers, b"" if full else bytes(end - begin), contents)


def seen(*events: Opaque | Pages) -> FirstPass:
    first_pass = FirstPass()
    for event in events:
        first_pass.seen([event], BLOCKS)
    return first_pass


def test_before_any_page_nothing_is_known() -> None:
    assert not seen().early
    assert not seen(Opaque(b"the header")).early
    first_pass = FirstPass()
    first_pass.seen([Opaque(b"the header")], {})
    assert not first_pass.early


def test_three_quarters_of_the_memory_are_early() -> None:
    first_pass = FirstPass()
    early = []
    for begin in range(0, PAGES, 100):
        first_pass.seen([run(begin, begin + 100)], BLOCKS)
        early.append(first_pass.early)
    assert early == [True] * 75 + [False] * 25


@pytest.mark.parametrize("more", [run(0, 50), run(400, 401)])
def test_a_page_that_comes_again_ends_it(more: Pages) -> None:
    """A guest that uses little told QEMU so: the pass is over early."""
    first_pass = seen(run(0, 500), run(0, 50, block=ROM), run(700, 900))
    assert first_pass.early
    first_pass.seen([more], BLOCKS)
    assert not first_pass.early
    first_pass.seen([run(1000, 2000)], BLOCKS)
    assert not first_pass.early


def test_while_pages_are_filled_the_end_may_be_near() -> None:
    """However many there are, they take nothing to send; contents may come after them."""
    first_pass = seen(run(0, 2000))
    assert first_pass.early
    first_pass.seen([run(2000, 3000, full=False)], BLOCKS)
    assert not first_pass.early
    first_pass.seen([run(3000, 3500)], BLOCKS)
    assert first_pass.early


def test_some_filled_pages_among_others_change_nothing() -> None:
    runs = [run(at, at + 5, full=at % 20 > 0) for at in range(0, 4000, 5)]
    assert all(seen(*runs[: count + 1]).early for count in range(8, len(runs), 40))
