"""An estimate from few fingerprints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.sidecar.analysis.files import disk_file, noise, nothing
from tests.support.streams import PAGE
from vpnctl.sidecar.analysis.chunks import chunkings
from vpnctl.sidecar.analysis.redundancy import across, prints_of
from vpnctl.sidecar.analysis.sampling import ALL_OF, Sampling

ONE_IN_8 = Sampling(8)


def test_everything_is_kept_of_small_files() -> None:
    assert Sampling.for_octets(ALL_OF).one_in == 1
    assert Sampling.for_octets(ALL_OF + 1).one_in == 2
    assert Sampling.for_octets(100 * ALL_OF).one_in == 128
    assert Sampling().kept(np.array([0, 1, 2**64 - 1], np.uint64)).all()


@pytest.mark.parametrize("one_in", [2, 8, 64])
def test_one_in_so_many_is_kept(one_in: int) -> None:
    prints = np.frombuffer(noise(8 * 100_000), np.uint64)
    assert Sampling(one_in).kept(prints).mean() == pytest.approx(1 / one_in, rel=0.1)


def test_the_estimate_is_near_what_all_blocks_say(tmp_path: Path) -> None:
    # Of 4,000 pages every third is one of 400 that come again and again.
    pages = [noise(PAGE, n % 400 if n % 3 == 0 else n + 1000) for n in range(4000)]
    sources = [
        disk_file(tmp_path / "a", b"".join(pages)),
        disk_file(tmp_path / "b", b"".join(pages[1000:3000])),
    ]
    exact = [prints_of(source, (4,), Sampling(), nothing) for source in sources]
    few = [prints_of(source, (4,), ONE_IN_8, nothing) for source in sources]
    assert few[0][0].blocks < exact[0][0].blocks / 6
    assert few[0][0].repeated == pytest.approx(exact[0][0].repeated, abs=0.02)
    assert across(few)[0].together == pytest.approx(across(exact)[0].together, abs=0.02)
    for all_of, one_in_8 in zip(
        chunkings(sources[0], Sampling(), nothing),
        chunkings(sources[0], ONE_IN_8, nothing),
        strict=True,
    ):
        assert one_in_8.mean == all_of.mean
        assert one_in_8.fixed == pytest.approx(all_of.fixed, abs=0.05)
        assert one_in_8.chunked == pytest.approx(all_of.chunked, abs=0.05)
