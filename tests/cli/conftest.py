"""A real HTTP server on a unix socket, in a thread, in front of the controller in memory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from typer.testing import CliRunner, Result

from tests.support.certificates import make_certificates
from tests.support.fake_controller import FakeController
from vpnctl.api.app import create_app
from vpnctl.api.serve import HttpServer
from vpnctl.api.service import ControllerService
from vpnctl.cli.main import app

Run = Callable[..., Result]


class Served:
    """The controller of the test at hand behind one application for all tests."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.controller = FakeController()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.controller, name)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    server = Served(tmp_path_factory.mktemp("served") / "c.sock")
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stopping = asyncio.Event()

    async def serve() -> None:
        http = HttpServer(create_app(cast(ControllerService, server)), socket_path=server.socket)
        http.claim()
        await http.start()
        ready.set()
        await stopping.wait()
        await http.stop()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(20)
    yield server
    loop.call_soon_threadsafe(stopping.set)
    thread.join(20)
    loop.close()


@pytest.fixture
def controller(served: Served) -> FakeController:
    """A new controller in memory, reached by `vpnctl`."""
    served.controller = FakeController()
    return served.controller


@pytest.fixture
def vpnctl(served: Served, controller: FakeController, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``vpnctl`` with words, its standard input no terminal."""
    del controller
    for name in ("VPNCTL_POLICIES", "VPNCTL_STORE", "VPNCTL_URL", "NO_COLOR", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VPNCTL_SOCKET", str(served.socket))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("vpnctl.cli.change.author", lambda: "ada")
    monkeypatch.setattr("vpnctl.cli.apply_cmd.author", lambda: "ada")
    monkeypatch.setattr("vpnctl.cli.drift_cmd.author", lambda: "ada")

    def run(*words: str, **kwargs: Any) -> Result:
        return CliRunner().invoke(app, list(words), prog_name="vpnctl", **kwargs)

    return run


class Terminal:
    """Makes standard streams look like a terminal, with an answer to be read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch

    def __call__(self) -> None:
        self._patch.setattr(
            "typer.testing._NamedTextIOWrapper.isatty", lambda _: True, raising=False
        )


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA with a server's and a client's certificate, see `make_certificates`."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    return Terminal(monkeypatch)
