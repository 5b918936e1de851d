"""`kill -9` of the controller in every phase: the next one leaves all routers with it, or none."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.provisioning.commands.bed import Bed
from tests.support.daemons import wait_until
from tests.support.junos import Fleet, Keys, Running, fleet, make_keys
from tests.support.serve import Serve
from vpnctl.controller.work import KIND
from vpnctl.errors import VpnctlError
from vpnctl.lab.junos.faults import Fault, drop, hang, refuse, slow
from vpnctl.store import Store

pytestmark = pytest.mark.daemon

#: Longer than the router needs to notice that its client is dead, and to do what it was asked.
A_WHILE_S = 1.0


@dataclass(frozen=True)
class Kill:
    """Kill the controller while a router is busy in ``phase``.

    ``busy``: what that router does there, time after time, the last of it while the controller is
    killed; ``elsewhere``: what the other one does, by phase; ``kept``: whether the routers, and the
    policy, have the change in the end, at ``revision``.
    """

    phase: str
    busy: Callable[[], list[Fault]]
    kept: bool = False
    revision: int = 1
    elsewhere: dict[str, Callable[[], list[Fault]]] = field(default_factory=dict)


def kept(busy: Callable[[], list[Fault]]) -> Kill:
    return Kill("confirm", busy, kept=True, revision=2)


def hangs() -> list[Fault]:
    return [hang()]


def hangs_after() -> list[Fault]:
    return [hang(done=True)]


def is_late() -> list[Fault]:
    return [slow(A_WHILE_S)]


REFUSES = {"commit": lambda: [refuse("full")]}

KILLS = {
    "connecting or locking": Kill("lock", hangs),
    "loading": Kill("load", hangs),
    "comparing": Kill("diff", hangs),
    "checking": Kill("check", hangs),
    "committing, which it does not": Kill("commit", hangs),
    "committing, which it does later": Kill("commit", is_late),
    "committing, which it did": Kill("commit", hangs_after),
    "reading back what it has committed": Kill("verify", hangs),
    "cancelling": Kill("cancel", hangs, elsewhere=REFUSES),
    "cancelling, which it did": Kill("cancel", hangs_after, elsewhere=REFUSES),
    "confirming, which it does not": kept(hangs),
    "confirming, which it does later": kept(is_late),
    "confirming, which it did": kept(hangs_after),
    "bringing back, as the other one was lost": Kill(
        "load",
        lambda: [slow(0), hang()],
        revision=3,  # the one that was undone is the second
        elsewhere={
            "confirm": lambda: [drop()],
            "connect": lambda: [slow(0), refuse("gone", times=0)],
        },
    ),
}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def routers(keys: Keys) -> Iterator[Fleet]:
    with fleet(keys) as found:
        yield found


def ask(daemon: Serve) -> threading.Thread:
    """Ask for the change, and be cut off."""

    def asking() -> None:
        try:
            daemon.change("extend", vpn="E1", site="cloud")
        except (VpnctlError, OSError, ValueError, EOFError):
            return

    thread = threading.Thread(target=asking, daemon=True)
    thread.start()
    return thread


def met(router: Running) -> int:
    """How many requests have met a fault."""
    return router.ask(lambda one: one.faults.met)


def unfinished(bed: Bed) -> list[int]:
    with Store.open(bed.store_url, read_only=True) as store:
        return [operation.id for operation in store.pending() if operation.kind == KIND]


def problems(daemon: Serve) -> list[str]:
    found: list[str] = daemon.client.get("status")["status"]["problems"]
    return found


@pytest.mark.parametrize("name", KILLS)
def test_a_killed_controller_comes_back_to_all_or_none(
    name: str, tmp_path: Path, routers: Fleet, keys: Keys
) -> None:
    kill = KILLS[name]
    bed = Bed(tmp_path, routers, keys, 2)
    bed.timeouts = "{connect: 10, rpc: 30, commit: 30}"
    bed.write()
    busy, other = bed.routers.values()
    daemon = Serve(bed.policies, bed.store_url, tmp_path)
    try:
        faults = kill.busy()
        busy.fault(kill.phase, *faults)
        for phase, others in kill.elsewhere.items():
            other.fault(phase, *others())
        asking = ask(daemon)
        wait_until(lambda: met(busy) == len(faults), f"{kill.phase} to begin", 60.0)
        daemon.kill()
        asking.join(20.0)
        for router in bed.routers.values():
            router.ask(lambda one: one.faults.clear())
        daemon = Serve(bed.policies, bed.store_url, tmp_path)
        wait_until(lambda: not unfinished(bed), f"the journal to be settled: {daemon.said()}")
        assert problems(daemon) == []
        wait_until(lambda: not bed.left_behind(), f"nothing to be left: {bed.left_behind()}")
        assert bed.have() == (set(bed.names) if kill.kept else set())
        assert daemon.client.get("status")["status"]["revision"] == kill.revision
        # What the journal says is what is there, and the way is free.
        daemon.change("retract" if kill.kept else "extend", vpn="E1", site="cloud")
        assert bed.have() == (set() if kill.kept else set(bed.names))
    finally:
        daemon.kill()
