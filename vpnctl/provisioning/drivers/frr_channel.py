"""Where the agent for FRR runs: a process here, in a router's namespace, or at the end of SSH."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import asyncssh

from vpnctl.errors import ConnectError
from vpnctl.model import Frr, Pe
from vpnctl.provisioning.drivers import frr_agent
from vpnctl.provisioning.drivers.login import SHA256, private_key, stranger

_PROGRAM = Path(frr_agent.__file__).read_bytes()
#: Runs what comes first on its standard input; the rest of that is the conversation.
_BOOT = "import sys;exec(compile(sys.stdin.buffer.read(int(sys.argv[1])),'vpnctl','exec'))"
#: A running configuration comes as one line.
_LONGEST_LINE = 64 << 20
#: Seconds that closing waits for a process that is doing something yet, and how often it looks.
_FAREWELL_S, _FAREWELLS = 1.0, 50


class Pipes(Protocol):
    """Standard input and output of the agent."""

    async def write(self, octets: bytes) -> None: ...
    async def readline(self) -> bytes: ...
    async def close(self) -> None: ...


class Local:
    """On this machine.  The process is no child that is killed with its pipes: it brings to its end
    what it has begun, whatever becomes of the controller.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._reader = asyncio.StreamReader(_LONGEST_LINE)
        self._transports: list[asyncio.BaseTransport] = []

    async def start(self) -> None:
        """Take hold of its pipes."""
        loop = asyncio.get_running_loop()
        reading, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self._reader), self._process.stdout
        )
        writing, protocol = await loop.connect_write_pipe(
            asyncio.streams.FlowControlMixin, self._process.stdin
        )
        self._writer = asyncio.StreamWriter(writing, protocol, None, loop)
        self._transports = [reading, writing]

    async def write(self, octets: bytes) -> None:
        self._writer.write(octets)
        await self._writer.drain()

    async def readline(self) -> bytes:
        return await self._reader.readline()

    async def close(self) -> None:
        for transport in self._transports:
            transport.close()
        for _ in range(_FAREWELLS):
            if self._process.poll() is not None:
                return
            await asyncio.sleep(_FAREWELL_S / _FAREWELLS)


def _popen(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip


class Remote:
    """At the end of SSH."""

    def __init__(
        self, connection: asyncssh.SSHClientConnection, process: asyncssh.SSHClientProcess[bytes]
    ) -> None:
        self._connection, self._process = connection, process

    async def write(self, octets: bytes) -> None:
        self._process.stdin.write(octets)
        await self._process.stdin.drain()

    async def readline(self) -> bytes:
        return await self._process.stdout.readline()

    async def close(self) -> None:
        self._process.stdin.write_eof()
        self._connection.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._connection.wait_closed(), _FAREWELL_S)


async def open_pipes(pe: Pe) -> Pipes:
    """Start the agent.  Raises `ConnectError`, `HostKeyError` and what sockets raise."""
    access = pe.frr
    assert access is not None, f"{pe.name} has no access to FRR"
    command = ["python3", "-u", "-c", _BOOT, str(len(_PROGRAM)), json.dumps(_arguments(access))]
    if access.user:
        pipes: Local | Remote = await _remote(pe, access, command)
    else:
        within = ["ip", "netns", "exec", access.netns] if access.netns else []
        pipes = Local(_popen([*within, *command]))
        await pipes.start()
    await pipes.write(_PROGRAM)
    return pipes


def _arguments(access: Frr) -> Mapping[str, Any]:
    return {
        "sockets": access.vty_socket,
        # Beside the sockets, which go when that FRR goes, or where every user may have something.
        "state": (
            f"{access.vty_socket}/vpnctl"
            if access.vty_socket
            else f"/var/tmp/vpnctl-frr-{access.user or os.geteuid()}"
        ),
        # Sockets elsewhere are of an FRR whose startup configuration is elsewhere, too.
        "saves": not access.vty_socket,
    }


class _Pinned(asyncssh.SSHClient):
    """Takes the router's key by its fingerprint."""

    def __init__(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint
        #: The fingerprint of what the router has shown.
        self.shown = ""

    def validate_host_public_key(
        self, _host: str, _addr: str, _port: int, key: asyncssh.SSHKey
    ) -> bool:
        """Asked for a key that no known_hosts file has."""
        self.shown = key.get_fingerprint()
        return self.shown == self._fingerprint


def _login(access: Frr, key: str | None) -> dict[str, Any]:
    """How to log in, in asyncssh's words: key or agent, and whom to believe to be the router."""
    pinned = access.host_key if access.host_key.startswith(SHA256) else ""
    known = Path(access.host_key or "~/.ssh/known_hosts").expanduser()
    return {
        "username": access.user,
        "client_keys": [key] if key else None,
        "agent_path": None if key else os.environ.get("SSH_AUTH_SOCK"),
        "known_hosts": b"" if pinned or not known.exists() else known.read_bytes(),
        # What the policy says is all that counts, and not somebody's ~/.ssh/config.
        "config": None,
        "connect_timeout": access.timeouts.connect,
        "login_timeout": access.timeouts.connect,
        "preferred_auth": "publickey",
    }


async def _remote(pe: Pe, access: Frr, command: list[str]) -> Remote:
    host = str(access.address or pe.address)
    where = f"{pe.name} ({host} port {access.port})"
    login = _login(access, private_key(pe.name, access.key))
    client = _Pinned(access.host_key if access.host_key.startswith(SHA256) else "")
    try:
        connection = await asyncssh.connect(
            host, access.port, client_factory=lambda: client, **login
        )
    except asyncssh.HostKeyNotVerifiable as error:
        raise stranger(pe.name, where, access.host_key, client.shown) from error
    except asyncssh.PermissionDenied as error:
        key = f"the key {access.key}" if access.key else "any key of the SSH agent"
        raise ConnectError(
            f"{where} does not let {access.user} in with {key}",
            router=pe.name,
            hint="the key must be without passphrase or in the agent, and known to the router",
        ) from error
    process = await connection.create_process(
        shlex.join(command), encoding=None, stderr=asyncssh.DEVNULL
    )
    return Remote(connection, process)
