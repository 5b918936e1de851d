"""What routers cannot have is a mistake of the policy: told at once, with its line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.provisioning.commands.bed import Bed
from vpnctl.cli.main import app
from vpnctl.errors import PolicyError, RenderError
from vpnctl.provisioning.profile_files import FOLDER, shipped

pytestmark = [pytest.mark.anyio, pytest.mark.daemon]

Beds = Callable[[int], Bed]

CLOUD_TOO = "vpn: E1\nservice: vpls\nsites: [hq, cloud]\n"


def line_of(path: Path, words: str) -> int:
    lines = path.read_text().splitlines()
    return 1 + next(number for number, line in enumerate(lines) if words in line)


def without_ports(bed: Bed) -> Path:
    """Routers without a port to which customers' VLANs could be attached."""
    network = bed.policies / "network.yaml"
    network.write_text(network.read_text().replace("port: ge-0/0/1, ", ""))
    return network


async def test_a_check_tells_of_all_routers_with_their_lines(beds: Beds) -> None:
    bed = beds(2)
    (bed.policies / "e1.yaml").write_text(CLOUD_TOO)
    assert CliRunner().invoke(app, ["check", str(bed.policies)]).exit_code == 0
    network = without_ports(bed)
    found = CliRunner().invoke(app, ["check", str(bed.policies)])
    assert found.exit_code == PolicyError.exit_code
    for name in bed.names:
        place = f"{network}:{line_of(network, f'  {name}:') + 1}:5 "
        (told,) = [line for line in found.stdout.splitlines() if line.startswith(place)]
        assert told.endswith(f" pes.{name}.port: has no port for its customers")
    assert "2 mistakes" in found.stderr


async def test_a_first_policy_with_such_mistakes_is_not_taken_up(beds: Beds) -> None:
    bed = beds(2)
    right = (bed.policies / "network.yaml").read_text()
    (bed.policies / "e1.yaml").write_text(CLOUD_TOO)
    network = without_ports(bed)
    with pytest.raises(RenderError) as refused:
        await bed.start()
    assert len(refused.value.mistakes) == 2
    bed.controller = None
    network.write_text(right)
    await bed.start()
    assert (await bed.running.status()).revision == 1


async def test_a_plan_tells_of_a_platform_that_there_is_not(beds: Beds) -> None:
    bed = beds(1)
    await bed.start()
    network = bed.policies / "network.yaml"
    network.write_text(network.read_text().replace("junos-mx", "junos-nx, families: [vpls]"))
    with pytest.raises(RenderError, match="no router templates for 'junos-nx'"):
        await bed.change("apply")
    assert (await bed.running.status()).revision == 1


def own_platform(bed: Bed) -> Path:
    """A platform of the operator's own, like ``junos-mx``, on which all the routers are."""
    folder = bed.policies / FOLDER / "ours"
    shutil.copytree(shipped() / "junos-mx", folder)
    network = bed.policies / "network.yaml"
    network.write_text(
        network.read_text().replace("platform: junos-mx", "platform: ours, families: [vpls]")
    )
    return folder


async def test_what_routers_cannot_have_any_more_does_not_come_back(beds: Beds) -> None:
    bed = beds(1)
    right = (bed.policies / "network.yaml").read_text()
    folder = own_platform(bed)
    await bed.start()
    await bed.change("extend")
    (bed.policies / "network.yaml").write_text(right)
    await bed.change("apply")
    shutil.rmtree(folder)
    with pytest.raises(RenderError, match=r"revision 2 cannot be brought back.*pes\.pe-c1") as no:
        await bed.change("rollback")
    assert no.value.mistakes == ()  # they would be lines of files that are not there
    assert bed.have() == {"pe-c1"}
    assert (await bed.running.status()).revision == 3


async def test_what_routers_cannot_have_any_more_can_be_corrected(beds: Beds) -> None:
    bed = beds(1)
    right = (bed.policies / "network.yaml").read_text()
    folder = own_platform(bed)
    await bed.start()
    await bed.running.stop()
    shutil.rmtree(folder)
    await bed.start()
    (bed.policies / "network.yaml").write_text(right)
    await bed.change("apply")
    await bed.change("extend")
    assert bed.have() == {"pe-c1"}
