"""Fixtures of the stories, and their figures at the end of a run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import pytest

from tests.scenarios.figures import Figures, figures_of
from tests.scenarios.stage import Staging, staged
from tests.support.lab import require_lab


@pytest.fixture(scope="module")
def staging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Staging]:
    """Builds labs: ``with staging(topology) as stage``; skips where root or FRR is missing."""
    require_lab()
    # Sockets lie below: a test's own directory has too long a path for them.
    with tempfile.TemporaryDirectory(prefix="vl-") as base, pytest.MonkeyPatch.context() as patch:
        patch.setenv("VPNCTL_LAB_DIR", base)
        yield lambda topology: staged(topology, tmp_path_factory.mktemp("story"))


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """Where a story puts what it measured."""
    return Figures(request.node.user_properties)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    found = [
        figure
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for figure in figures_of(report)
    ]
    if found:
        terminalreporter.section("figures of the stories")
        for figure in found:
            terminalreporter.write_line(str(figure))
