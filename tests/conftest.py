"""What holds for all tests.

With ``VPNCTL_NO_SKIP`` set, as ``.ci/run`` does after installing every package, a test that was
skipped for want of a package fails the run: a green run then means that everything ran.
"""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import settings

# How long an example takes depends on what else the machine does; no test asserts a time.
settings.register_profile("vpnctl", deadline=None)
settings.load_profile("vpnctl")

_WANT = "not installed"

# No session process outlives a test that kills its controller, unless the test is about that.
os.environ["VPNCTL_KEEP_SESSIONS"] = "0"

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would every
# program that they start and then interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _missing(terminalreporter):
        terminalreporter.write_line(
            "VPNCTL_NO_SKIP is set, but tests were skipped for want of a package", red=True
        )


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and _missing(reporter):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _missing(reporter: pytest.TerminalReporter) -> bool:
    return bool(os.environ.get("VPNCTL_NO_SKIP")) and any(
        _WANT in str(report.longrepr) for report in reporter.stats.get("skipped", [])
    )
