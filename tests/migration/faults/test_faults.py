"""Whatever dies at whichever moment: no write is lost, two copies never run, one does."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.migration.faults.matrix import COUNT, STEPS, Fault, Victim, matrix, named, synchronous
from tests.migration.faults.rig import Rig, rigged
from tests.migration.world import guests_below
from tests.support.guest_image import MissingError
from tests.support.qemu import find_newer_qemu
from tests.support.records import RecordError
from vpnctl.migration.agent.messages import MigrationView

#: Of the matrix; `python -m lab.bench.migrate_faults` goes through all of it.
SAMPLE = 12
#: Who harms a guest whose writes wait for the link.
SYNCHRONOUS = (Victim.AGENT_HERE, Victim.SIDECAR_HERE, Victim.LINK, Victim.OPERATOR)
#: A site's whole host dies: what has gone must not come back, what has come must be there.
HOSTS = (
    *named("host dies: departing:gone:record:after"),
    *named("host dies: arriving:accepted:record:after"),
)


def test_the_matrix_has_everything() -> None:
    faults = matrix()
    assert len(faults) == COUNT
    assert {fault.victim for fault in faults} == set(Victim)
    assert {fault.step for fault in faults} == {*STEPS, ""}
    assert matrix(SAMPLE) == matrix(SAMPLE)
    assert {fault.victim for fault in matrix(SAMPLE)} == set(Victim)


def test_faults_by_their_words() -> None:
    (fault,) = named("QEMU here, 100 ms after 'disks follow'")
    assert fault == Fault(Victim.QEMU_HERE, "disks follow", 0.1)
    assert len(HOSTS) == 2
    assert named("never heard of") == ()
    assert set(synchronous(1)) < set(named("'disks follow synchronously'"))
    assert len(synchronous(2)) == 2 * len(synchronous(1))
    assert set(matrix()) <= set(named(""))


@pytest.mark.daemon
def test_a_guest_survives_a_sample_of_it(image: Path, authority: Path) -> None:
    happened = _go_through(image, authority, (*matrix(SAMPLE), *HOSTS))
    assert happened >= SAMPLE // 2


@pytest.mark.daemon
def test_a_guest_survives_what_strikes_while_its_writes_wait(image: Path, authority: Path) -> None:
    try:
        newer = find_newer_qemu()
    except MissingError as missing:
        pytest.skip(str(missing))
    faults = [one for one in synchronous(1) if one.victim in SYNCHRONOUS and not one.delay_s]
    assert _go_through(image, authority, faults, newer) >= len(SYNCHRONOUS) // 2


def _go_through(image: Path, authority: Path, faults: Sequence[Fault], qemu: str = "") -> int:
    """How many of them found what they strike."""
    if shutil.which("nft") is None:
        pytest.skip("nftables is not installed")

    with rigged(image, authority, qemu=qemu) as rig:

        async def story() -> None:
            await rig.start()
            for fault in faults:
                try:
                    await rig.try_fault(fault)
                except Exception as error:
                    raise AssertionError(f"{fault}: {error}") from error

        asyncio.run(story())
        return rig.happened


class Forgetful(Rig):
    """The machine that is killed finds its disk as it was before the move."""

    # Else it may have arrived before it is killed.
    hold = True

    async def _move(self, fault: Fault, here: str, there: str) -> None:
        self._old = self._disk(here).read_bytes()
        await super()._move(fault, here, there)

    async def _strike(self, fault: Fault, view: MigrationView, here: str, there: str) -> None:
        agent = self.world.agents[here].process
        # Else it would start the machine again before its disk is an old one.
        agent.send_signal(signal.SIGSTOP)
        try:
            await super()._strike(fault, view, here, there)
            while self._runs(here):  # noqa: ASYNC110 - nobody tells of a death
                await asyncio.sleep(0.01)
            self._disk(here).write_bytes(self._old)
        finally:
            agent.send_signal(signal.SIGCONT)

    def _runs(self, site: str) -> bool:
        return any(
            b"qemu-system" in Path(f"/proc/{process}/cmdline").read_bytes()
            for process in guests_below(self.world.directory / site)
        )


@pytest.mark.daemon
def test_a_lost_write_does_not_go_unseen(image: Path, authority: Path) -> None:
    """What `try_fault` finds where a machine is started from an old disk."""
    with rigged(image, authority, Forgetful) as rig:

        async def story() -> None:
            await rig.start()
            with pytest.raises(RecordError, match="was written"):
                await rig.try_fault(Fault(Victim.QEMU_HERE, "disks follow", 0.1))

        asyncio.run(story())
        assert rig.happened == 1
