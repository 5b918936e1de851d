"""A controller killed at any moment: what it was told to be stored is there."""

from __future__ import annotations

import multiprocessing
import random
import time
from multiprocessing.connection import Connection

from tests.store.commits import commit, target
from tests.support.postgres import wait_long
from vpnctl.model import Allocation
from vpnctl.store import Store

KILLS = 12


def _content(number: int) -> bytes:
    return b"revision %d\n" % number * 200


def _allocation(number: int) -> Allocation:
    return target("E1/hq", 100 + number)


def _commit_for_ever(url: str, told: Connection) -> None:
    """What the killed process does: say each number once it was stored."""
    wait_long()
    with Store.open(url) as store:
        latest = store.latest()
        base = latest.number if latest else None
        while True:
            number = (base or 0) + 1
            base = commit(
                store,
                base,
                {"e1.yaml": _content(number), f"{number}.yaml": b"", f"{number - 1}.yaml": None},
                [_allocation(number)],
                journal={"number": number},
            ).number
            told.send(base)


def test_no_acknowledged_revision_is_lost_to_a_kill(url: str) -> None:
    # Not fork: a killed process must hold nothing that this one opened.
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.store.test_kill"])
    chance = random.Random(4684)
    stored = 0
    for _ in range(KILLS):
        hear, tell = processes.Pipe(duplex=False)
        process = processes.Process(target=_commit_for_ever, args=(url, tell), daemon=True)
        process.start()
        tell.close()
        told = stored
        for _ in range(chance.randrange(1, 15)):
            told = hear.recv()
        # The kill has to fall anywhere within a commit, not only right behind one.
        time.sleep(chance.uniform(0, 0.005))
        process.kill()
        process.join()
        try:
            while True:
                told = hear.recv()
        except EOFError:
            hear.close()

        with Store.open(url) as store:
            assert store.check() == ()
            latest = store.latest()
            assert latest is not None
            # One more than told: stored, but killed before it could say so.
            assert told <= latest.number <= told + 1
            assert latest.number > stored
            stored = latest.number
            assert store.files(stored) == {"e1.yaml": _content(stored), f"{stored}.yaml": b""}
            assert store.allocations() == (_allocation(stored),)
            assert [operation.revision for operation in store.pending()] == [*range(1, stored + 1)]
            stored = commit(
                store,
                stored,
                {
                    "e1.yaml": _content(stored + 1),
                    f"{stored + 1}.yaml": b"",
                    f"{stored}.yaml": None,
                },
                [_allocation(stored + 1)],
                journal={},
            ).number
