"""What is refused at routers ends with a code, and is in the daemon's log."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from typer.testing import CliRunner, Result

from tests.provisioning.commands.bed import Bed
from tests.support.junos import Fleet, Keys
from tests.support.serve import Serve
from vpnctl.cli.main import app
from vpnctl.errors import ProvisioningError, RejectedError
from vpnctl.lab.junos.faults import refuse

pytestmark = pytest.mark.daemon

Ask = Callable[..., Result]


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory, routers: Fleet, keys: Keys) -> Bed:
    return Bed(tmp_path_factory.mktemp("bed"), routers, keys, 2)


@pytest.fixture(scope="module")
def daemon(bed: Bed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    running = Serve(bed.policies, bed.store_url, tmp_path_factory.mktemp("serve"))
    try:
        yield running
    finally:
        running.kill()


@pytest.fixture
def ask(bed: Bed, daemon: Serve) -> Iterator[Ask]:
    def asked(*words: str) -> Result:
        return CliRunner().invoke(app, ["--socket", str(daemon.socket), *words])

    yield asked
    for router in bed.routers.values():
        router.ask(lambda one: one.faults.clear())


def lines(daemon: Serve, *words: str) -> list[str]:
    """The lines of the log with all of these words."""
    return [line for line in daemon.said().splitlines() if all(word in line for word in words)]


def test_a_refusal_is_in_the_log_with_who_what_and_where(bed: Bed, daemon: Serve, ask: Ask) -> None:
    router = bed.routers["pe-c2"]
    router.fault("check", refuse("E1_cloud: no such thing here"))
    found = ask("extend", "E1", "--site", "cloud", "--yes")
    assert found.exit_code == RejectedError.exit_code
    (line,) = lines(daemon, "routers not configured", "E1_cloud: no such thing here")
    for told in ("extend E1 to cloud", "pe-c2", "author=", "exit_code=18"):
        assert told in line
    assert "pe-c1" not in line


def test_a_drift_that_cannot_be_fixed_is_in_the_log_too(bed: Bed, daemon: Serve, ask: Ask) -> None:
    bed.routers["pe-c1"].fault("commit", refuse("could not commit"))
    found = ask("drift", "pe-c1", "--fix")
    assert found.exit_code == ProvisioningError.exit_code
    assert "not all routers have what they shall have: pe-c1 refuses" in found.stderr
    (line,) = lines(daemon, "fix the drift", "could not commit")
    assert "pe-c1" in line


def test_a_drift_ends_with_a_code_for_what_differs_and_one_for_what_is_not_known(
    bed: Bed, daemon: Serve, ask: Ask
) -> None:
    assert ask("drift").exit_code == 1
    bed.routers["pe-c2"].fault("connect", refuse("gone", times=0))
    found = ask("drift")
    assert found.exit_code == ProvisioningError.exit_code
    assert "not all is known: pe-c2 (127.0.0.1 port" in found.stderr
    assert "~ pe-c1" in found.stdout  # what is known is told all the same
    bed.routers["pe-c2"].ask(lambda one: one.faults.clear())
    fixed = ask("drift", "--fix")
    assert fixed.exit_code == 0, fixed.output
    assert lines(daemon, "drift fixed", "pe-c1", "author=")
    assert ask("drift").exit_code == 0
