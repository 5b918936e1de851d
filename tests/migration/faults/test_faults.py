"""Whatever dies at whichever moment: no write is lost, two copies never run, one does."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.migration.faults.matrix import COUNT, STEPS, Victim, matrix
from tests.migration.faults.rig import rigged

#: Of the matrix; `python -m lab.bench.migrate_faults` goes through all of it.
SAMPLE = 12


def test_the_matrix_has_everything() -> None:
    faults = matrix()
    assert len(faults) == COUNT
    assert {fault.victim for fault in faults} == set(Victim)
    assert {fault.step for fault in faults} == {*STEPS, ""}
    assert matrix(SAMPLE) == matrix(SAMPLE)
    assert {fault.victim for fault in matrix(SAMPLE)} == set(Victim)


@pytest.mark.daemon
def test_a_guest_survives_a_sample_of_it(image: Path, authority: Path) -> None:
    if shutil.which("nft") is None:
        pytest.skip("nftables is not installed")

    with rigged(image, authority) as rig:

        async def story() -> None:
            await rig.start()
            for fault in matrix(SAMPLE):
                try:
                    await rig.try_fault(fault)
                except Exception as error:
                    raise AssertionError(f"{fault}: {error}") from error

        asyncio.run(story())
        assert rig.happened >= SAMPLE // 2
