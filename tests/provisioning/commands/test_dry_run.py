"""What a plan says of the routers: their own diffs, their own checks, and an exit code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.provisioning.commands.bed import Bed
from tests.support.junos import Fleet, Keys
from tests.support.serve import Serve
from vpnctl.cli.main import app
from vpnctl.cli.text import FEW_ROUTER_LINES
from vpnctl.errors import ProvisioningError
from vpnctl.lab.junos.faults import refuse

pytestmark = pytest.mark.daemon

Ask = Callable[..., Result]

DRY = ("extend", "E1", "--site", "cloud", "--dry-run")


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory, routers: Fleet, keys: Keys) -> Bed:
    return Bed(tmp_path_factory.mktemp("bed"), routers, keys, 2)


@pytest.fixture(scope="module")
def daemon(bed: Bed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("serve")
    running = Serve(bed.policies, bed.store_url, directory)
    try:
        yield running.socket
    finally:
        running.kill()


@pytest.fixture
def ask(bed: Bed, daemon: Path) -> Iterator[Ask]:
    def asked(*words: str) -> Result:
        return CliRunner().invoke(app, ["--socket", str(daemon), *words])

    before = {name: router.running for name, router in bed.routers.items()}
    yield asked
    for router in bed.routers.values():
        router.ask(lambda one: one.faults.clear())
    # Nothing here is more than a question.
    assert {name: router.running for name, router in bed.routers.items()} == before
    assert bed.left_behind() == []


def test_routers_that_take_it_are_told_with_all_of_their_diffs(ask: Ask) -> None:
    found = ask(*DRY)
    assert found.exit_code == 0
    of_first = found.stdout.partition("~ pe-c1  junos-mx")[2].partition("~ pe-c2")[0]
    assert of_first.count("\n") > FEW_ROUTER_LINES
    assert "E1_cloud {" in of_first
    assert "lines more" not in found.stdout  # this is no terminal


def test_what_a_router_would_refuse_ends_with_an_error(bed: Bed, ask: Ask) -> None:
    bed.routers["pe-c2"].fault("check", refuse("E1_cloud: no such thing here"))
    found = ask(*DRY)
    assert found.exit_code == ProvisioningError.exit_code
    assert "~ pe-c1  junos-mx" in found.stdout
    assert "~ pe-c2  junos-mx" in found.stdout
    assert "! pe-c2  pe-c2 refuses `commit check`: E1_cloud: no such thing here" in found.stdout
    # The error has the reason, too: the plan may have gone elsewhere.
    assert (
        "cannot be done as things are: pe-c2 refuses `commit check`: E1_cloud: no" in found.stderr
    )


def test_a_router_that_cannot_be_asked_ends_with_an_error(bed: Bed, ask: Ask) -> None:
    bed.routers["pe-c1"].fault("connect", refuse("gone", times=0))
    found = ask(*DRY, "-o", "json")
    assert found.exit_code == ProvisioningError.exit_code
    assert '"trouble": "pe-c1 (127.0.0.1 port' in found.stdout


def test_a_plan_of_the_directory_says_it_like_a_dry_run(bed: Bed, ask: Ask) -> None:
    text = (bed.policies / "e1.yaml").read_text()
    (bed.policies / "e1.yaml").write_text(text.replace("[hq]", "[hq, cloud]"))
    try:
        assert ask("plan").exit_code == 0
        assert ask("plan", "--detailed-exitcode").exit_code == 2
        bed.routers["pe-c1"].fault("lock", refuse("configuration database locked by: ada", times=0))
        assert ask("plan").exit_code == ProvisioningError.exit_code
        assert ask("plan", "--detailed-exitcode").exit_code == 1
    finally:
        (bed.policies / "e1.yaml").write_text(text)
