"""Junos-like routers in a thread of the test's process, with keys to log in."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import asyncssh

from vpnctl.lab.junos.faults import Fault
from vpnctl.lab.junos.notation_set import set_edits, statements
from vpnctl.lab.junos.router import Router
from vpnctl.lab.junos.server import Access, listen

T = TypeVar("T")

#: The main router's part: a port that takes VLANs of any service, and an AS.
GROUND = """
set system host-name pe
set interfaces ge-0/0/1 flexible-vlan-tagging
set interfaces ge-0/0/1 encapsulation flexible-ethernet-services
set routing-options autonomous-system 65000
set routing-options router-id 10.0.0.1
"""


@dataclass
class Keys:
    """``client``: path of the private key; ``fingerprint``, ``known_hosts``: of the servers."""

    client: Path
    access: Access
    fingerprint: str
    directory: Path

    def known_hosts(self, *ports: int, host: str = "127.0.0.1") -> Path:
        key = self.access.host_key.export_public_key().decode().strip()
        path = self.directory / "known_hosts"
        path.write_text("".join(f"[{host}]:{port} {key}\n" for port in ports))
        return path


def make_keys(directory: Path) -> Keys:
    client = asyncssh.generate_private_key("ssh-ed25519")
    path = directory / "id"
    client.write_private_key(path)
    path.chmod(0o600)
    server = asyncssh.generate_private_key("ssh-ed25519")
    access = Access(server, client.export_public_key().decode())
    return Keys(path, access, server.get_fingerprint(), directory)


@dataclass
class Running:
    """A router that can be reached at ``port`` of 127.0.0.1."""

    router: Router
    port: int
    keys: Keys
    _call: Callable[[Callable[[], Any]], Any]

    def fault(self, phase: str, *faults: Fault) -> None:
        self._call(lambda: self.router.faults.set(phase, *faults))

    def configure(self, commands: str) -> None:
        """What is running, from now on and without a commit."""
        self._call(lambda: self.router.configure(set_edits(commands, self.router.schema)))

    def dirty(self, commands: str) -> None:
        """What somebody else has typed and not committed."""
        self._call(lambda: self.router.dirty(set_edits(commands, self.router.schema)))

    def ask(self, question: Callable[[Router], T]) -> T:
        """Something about the router, asked in its own thread."""
        return self._call(lambda: question(self.router))  # type: ignore[no-any-return]  # of T

    @property
    def running(self) -> set[str]:
        """What is in force, as ``set`` commands without the word."""
        return self.ask(lambda router: set(statements(router.running, router.schema)))

    @property
    def candidate(self) -> set[str]:
        return self.ask(lambda router: set(statements(router.candidate, router.schema)))

    @property
    def left_behind(self) -> list[str]:
        """What a client should not leave: sessions, a lock, changes, a commit that waits."""

        def look(router: Router) -> list[str]:
            return [
                *(f"session {number}" for number in router.sessions),
                *(["the candidate's lock"] if router.locked_by else []),
                *(["running's lock"] if router.running_locked_by else []),
                *(["changes in the candidate"] if router.modified else []),
                *(["an unconfirmed commit"] if router.unconfirmed else []),
            ]

        return self.ask(look)


class Fleet:
    """The thread in which routers run."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="routers", daemon=True)
        self._acceptors: list[asyncssh.SSHAcceptor] = []
        self._thread.start()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def _call(self, work: Callable[[], T]) -> T:
        async def there() -> T:
            return work()

        return self._run(there())

    def start(self, router: Router, *, standard: bool = False, ground: str = GROUND) -> Running:
        """A router more."""
        acceptor = self._run(listen(router, self.keys.access, "127.0.0.1", standard=standard))
        self._acceptors.append(acceptor)
        found = Running(router, acceptor.get_port(), self.keys, self._call)
        found.configure(ground)
        return found

    def stop(self) -> None:
        async def close() -> None:
            for acceptor in self._acceptors:
                acceptor.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        self._run(close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()


@contextmanager
def fleet(keys: Keys) -> Iterator[Fleet]:
    """Routers may be started in it until it ends."""
    found = Fleet(keys)
    try:
        yield found
    finally:
        found.stop()
