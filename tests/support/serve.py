"""``vpnctl serve`` as a process of its own, and a client that asks it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from tests.support.daemons import wait_until
from vpnctl.bgp.door import knock
from vpnctl.cli.client import Client
from vpnctl.cli.settings import Settings
from vpnctl.errors import VpnctlError


class Serve:
    """A running controller; its socket and its log are in ``directory``.

    ``within``: a command that runs it elsewhere, e.g. in a network namespace.  With
    ``keep_sessions`` the BGP sessions outlive a `kill` by so many seconds.  ``options``: more of
    `vpnctl serve`.
    """

    def __init__(
        self,
        policies: Path,
        store_url: str,
        directory: Path,
        within: tuple[str, ...] = (),
        keep_sessions: int = 0,
        options: tuple[str, ...] = (),
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
                    *("--keep-sessions", str(keep_sessions)),
                    *options,
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

    def kill_sessions(self) -> bool:
        """End the process that holds the BGP sessions without a controller, if there is one."""
        found = knock(Path(f"{self.socket}.bgp"))
        if found is None:
            return False
        os.kill(found[1], signal.SIGKILL)
        found[0].close()
        return True

    def leave(self) -> None:
        """End it in order, but for its sessions, which go on."""
        self.process.send_signal(signal.SIGUSR1)
        assert self.process.wait(20.0) == 0, self.said()

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
