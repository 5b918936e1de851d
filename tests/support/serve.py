"""``vpnctl serve`` as a process of its own, and a client that asks it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from tests.support.daemons import wait_until
from vpnctl.cli.client import Client
from vpnctl.cli.settings import Settings
from vpnctl.errors import VpnctlError


class Serve:
    """A running controller; its socket and its log are in ``directory``.

    ``within``: a command that runs it elsewhere, e.g. in a network namespace.
    """

    def __init__(
        self, policies: Path, store_url: str, directory: Path, within: tuple[str, ...] = ()
    ) -> None:
        self.socket = directory / "s"
        self.log = directory / "serve.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(
                        *within,
                        sys.executable,
                        "-m",
                        "vpnctl",
                        "--socket",
                        str(self.socket),
                        "serve",
                    ),
                    *("--policies", str(policies), "--store", store_url),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "NO_COLOR": "1"},
            )
        self.client = Client(Settings(socket=self.socket))
        try:
            wait_until(self._answers, "vpnctl serve to answer")
        except BaseException:
            self.kill()
            raise

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.said()
        try:
            self.client.get("status")
        except (VpnctlError, OSError):
            return False
        return True

    def said(self) -> str:
        """The end of its log."""
        return self.log.read_text()[-3000:]

    def change(self, kind: str, **body: Any) -> dict[str, Any]:
        """Make a change; the answer's ``applied``."""
        answer = self.client.post(kind, {"author": "ada", **body}, wait_s=10.0)
        return dict(answer["applied"])

    def kill(self) -> None:
        """End it without a chance to say anything; to do so twice is fine."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(10.0)

    def stop(self) -> None:
        """End it in order."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20.0) == 0, self.said()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()
