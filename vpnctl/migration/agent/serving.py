"""An agent on its sockets: a unix socket for operators here, HTTPS for those elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from vpnctl.errors import UsageError
from vpnctl.migration.agent.agent import Agent
from vpnctl.migration.agent.app import IS_OPERATOR, VISITOR, create_app
from vpnctl.migration.agent.peer import KEPT_S
from vpnctl.migration.agent.settings import Certificates
from vpnctl.sidecar.run.qemu import unix_listener
from vpnctl.sidecar.wan.address import Address
from vpnctl.sidecar.wan.tls import Tls

#: Seconds that answers under way are given at the end.
_GRACE_S = 2
_BACKLOG = 64
#: Seconds that a silent connection stays: for longer than clients keep theirs, so that they do not
#: ask on one that ends.
_KEPT_S = int(2 * KEPT_S)


@dataclass(frozen=True, slots=True)
class Guests:
    """Who is let in over HTTPS, by the names in their certificates."""

    operators: frozenset[str]
    agents: frozenset[str]


class _Named:
    """The application for one connection: every request says whose it is."""

    def __init__(self, app: ASGIApp, visitor: str, operator: bool) -> None:
        self._app = app
        self._visitor = visitor
        self._operator = operator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[VISITOR], scope[IS_OPERATOR] = self._visitor, self._operator
        await self._app(scope, receive, send)


class _Local(HttpToolsProtocol):
    """A connection to the unix socket, which only the agent's own user may make."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.app: Any = _Named(self.app, "", operator=True)


def _remote(guests: Guests) -> type[HttpToolsProtocol]:
    class Remote(HttpToolsProtocol):
        """A connection over TLS: its certificate was verified, and its names decide."""

        def connection_made(self, transport: Any) -> None:
            certificate = transport.get_extra_info("ssl_object").getpeercert()
            names = [value for _, value in certificate.get("subjectAltName", ())]
            known = [name for name in names if name in guests.operators | guests.agents]
            super().connection_made(transport)
            if not known:
                transport.close()
                return
            operator = any(name in guests.operators for name in known)
            self.app: Any = _Named(self.app, known[0], operator)

    return Remote


class AgentServer:
    """``local``: path of the unix socket; ``remote``: where to serve HTTPS, if at all."""

    def __init__(
        self,
        agent: Agent,
        local: Path,
        remote: Address | None,
        certificates: Certificates | None,
        guests: Guests,
    ) -> None:
        if remote is not None and certificates is None:
            raise UsageError(
                f"an agent is not served on {remote} without certificates",
                hint="give --cert, --key and --ca; 'vpnctl pki' makes them",
            )
        self._app = create_app(agent)
        self._local = local
        self._remote = remote
        self._certificates = certificates
        self._guests = guests
        self._held = contextlib.ExitStack()
        self._near: socket.socket | None = None
        self._far: socket.socket | None = None
        self._running: list[tuple[uvicorn.Server, asyncio.Task[None]]] = []
        self.listening: tuple[str, ...] = ()

    def claim(self) -> None:
        """Take the addresses, so that of two agents the second touches no machine.

        Raises `UsageError` when they cannot be had.
        """
        self._take_over()
        self._near = self._held.enter_context(unix_listener(self._local))
        if self._remote is not None:
            self._far = self._held.enter_context(_listener(self._remote))

    async def start(self) -> None:
        """Answer from now on; raises `UsageError` when the certificates cannot be used."""
        assert self._near is not None
        await self._serve(self._near, _Local, None)
        self.listening = (f"unix:{self._local}",)
        if self._remote is not None and self._far is not None:
            assert self._certificates is not None
            tls = Tls(
                self._certificates.certificate, self._certificates.key, self._certificates.ca, ""
            ).server_context()
            port = self._far.getsockname()[1]
            await self._serve(self._far, _remote(self._guests), tls)
            self.listening += (f"https://{Address(self._remote.host, port)}",)

    async def stop(self) -> None:
        """Finish the answers under way and give the sockets up."""
        for server, _ in self._running:
            server.should_exit = True
        await asyncio.gather(*(task for _, task in self._running))
        self._held.close()

    def _take_over(self) -> None:
        """Remove what a killed agent left; one that lives keeps it."""
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self._local))
            except ConnectionRefusedError:
                self._local.unlink(missing_ok=True)
            except OSError:
                return

    async def _serve(
        self, listener: socket.socket, protocol: type[HttpToolsProtocol], tls: ssl.SSLContext | None
    ) -> None:
        config = uvicorn.Config(
            self._app,
            http=protocol,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_GRACE_S,
            timeout_keep_alive=_KEPT_S,
        )
        config.load()
        config.ssl = tls
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup(sockets=[listener])
        self._running.append((server, asyncio.create_task(_run(server, listener))))


async def _run(server: uvicorn.Server, listener: socket.socket) -> None:
    await server.main_loop()
    await server.shutdown(sockets=[listener])


def _listener(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        listener = socket.create_server(
            (address.host, address.port), family=family, backlog=_BACKLOG
        )
    except OSError as error:
        raise UsageError(
            f"{address} cannot be listened on: {error.strerror or error}",
            hint="give an address of this host with --listen",
        ) from error
    listener.setblocking(False)
    return listener
