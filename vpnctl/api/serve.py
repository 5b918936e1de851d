"""Serves the application on a unix socket and, when asked, on TCP, inside the caller's loop."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import ipaddress
import os
import shutil
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vpnctl.errors import ControllerError, UsageError

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

_BACKLOG = 128
#: Seconds that answers under way are given when the server stops.
_GRACE_S = 2
#: Octets of ``sun_path`` on Linux, less the closing zero.
_LONGEST_SOCKET_PATH = 107


@dataclass(frozen=True, slots=True)
class Tcp:
    """Where to listen on TCP; ``port`` 0 lets the system choose.

    Without certificates the address must be loopback.  With ``certificate``, ``key`` and
    ``client_ca`` (PEM files, all three) clients must show a certificate signed by that CA.
    """

    address: str
    port: int
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None

    @property
    def tls(self) -> bool:
        return self.certificate is not None

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


def check_tcp(tcp: Tcp) -> None:
    """Raise `UsageError` unless it is safe to listen there."""
    try:
        address = ipaddress.ip_address(tcp.address)
    except ValueError:
        raise UsageError(
            f"{tcp.address!r} is no IP address to listen on", hint="write 127.0.0.1:PORT"
        ) from None
    files = (tcp.certificate, tcp.key, tcp.client_ca)
    if any(files) and not all(files):
        raise UsageError(
            "TLS needs a certificate, its key and the CA of the clients",
            hint="give --tls-cert, --tls-key and --tls-client-ca together",
        )
    for file in files:
        if file is not None and not os.access(file, os.R_OK):
            raise UsageError(f"{file} cannot be read", hint="give the path of a PEM file")
    if not any(files) and not address.is_loopback:
        raise UsageError(
            f"the API is not served on {tcp.address} without certificates: whoever reaches it"
            " may change every VPN",
            hint="listen on 127.0.0.1, or give --tls-cert, --tls-key and --tls-client-ca",
        )


class HttpServer:
    """The application on its sockets: `claim`, `start`, `stop`.

    ``socket_group``: a group of the system whose members may use the unix socket, too; whoever may
    write to it may change VPNs.
    `start` and `stop` belong to the loop that the application runs in.
    """

    def __init__(
        self,
        app: FastAPI,
        *,
        socket_path: Path,
        socket_group: str = "",
        tcp: Tcp | None = None,
    ) -> None:
        if tcp is not None:
            check_tcp(tcp)
        self._app = app
        self._path = socket_path
        self._group = socket_group
        self._tcp = tcp
        self._held = contextlib.ExitStack()
        self._sockets: list[tuple[socket.socket, Tcp | None]] = []
        self._running: list[tuple[uvicorn.Server, asyncio.Task[None]]] = []
        self.listening: tuple[str, ...] = ()

    def claim(self) -> None:
        """Take the addresses; nobody is answered before `start`.

        Raises `ControllerError` when another controller has the socket or the port,
        `UsageError` when the path cannot be a socket.
        """
        try:
            local = self._held.enter_context(unix_socket(self._path, self._group))
            self._sockets = [(local, None)]
            where = [f"unix:{self._path}"]
            if self._tcp is not None:
                remote = self._held.enter_context(_tcp_socket(self._tcp))
                bound = replace(self._tcp, port=remote.getsockname()[1])
                self._sockets.append((remote, bound))
                where.append(str(bound))
        except BaseException:
            self._held.close()
            raise
        self.listening = tuple(where)

    async def start(self) -> None:
        """Answer requests; `claim` comes first."""
        for listener, tcp in self._sockets:
            await self._serve(listener, tcp)

    async def stop(self) -> None:
        """Finish the answers under way, end the streams of events and give the sockets up."""
        self._app.state.closing.set()
        for server, _ in self._running:
            server.should_exit = True
        await asyncio.gather(*(task for _, task in self._running))
        self._running.clear()
        self._held.close()

    async def _serve(self, listener: socket.socket, tcp: Tcp | None) -> None:
        import uvicorn

        config = uvicorn.Config(
            self._app,
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_GRACE_S,
        )
        if tcp is not None and tcp.tls:
            import ssl

            config.ssl_certfile = str(tcp.certificate)
            config.ssl_keyfile = str(tcp.key)
            config.ssl_ca_certs = str(tcp.client_ca)
            config.ssl_cert_reqs = ssl.CERT_REQUIRED
        try:
            config.load()
        except OSError as error:
            raise UsageError(
                f"TLS cannot be set up: {error}",
                hint="give PEM files that belong together: certificate, key, CA of the clients",
            ) from error
        # What Server.serve() does, without its signal handlers: signals are the caller's, because
        # the BGP sessions have to end in order, too.
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup(sockets=[listener])
        task = asyncio.create_task(_run(server, listener), name="http")
        self._running.append((server, task))


async def _run(server: uvicorn.Server, listener: socket.socket) -> None:
    await server.main_loop()
    await server.shutdown(sockets=[listener])


@contextlib.contextmanager
def unix_socket(path: Path, group: str = "") -> Iterator[socket.socket]:
    """A unix socket bound to ``path`` for its owner and ``group``, removed at the end.

    A lock beside it (``PATH.lock``) is held meanwhile, so that of two controllers one is told
    that the other is there, and a socket that a dead one left behind is taken over safely.
    """
    if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
        raise UsageError(
            f"the socket's path is longer than {_LONGEST_SOCKET_PATH} octets: {path}",
            hint="choose a shorter one with --socket or VPNCTL_SOCKET",
        )
    with contextlib.ExitStack() as held:
        try:
            lock = os.open(
                f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
        except OSError as error:
            raise UsageError(
                f"no socket can be made at {path}: {error.strerror}",
                hint="choose another path with --socket or VPNCTL_SOCKET",
            ) from error
        held.callback(os.close, lock)
        taken = ControllerError(
            f"a controller is already running at {path}",
            hint="stop it, or choose another path with --socket",
        )
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise taken from None
        if _answers(path):
            raise taken
        path.unlink(missing_ok=True)
        listener = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        previous = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(previous)
        held.callback(path.unlink, missing_ok=True)
        if group:
            _open_to(path, group)
        listener.setblocking(False)
        yield listener


def _open_to(path: Path, group: str) -> None:
    try:
        shutil.chown(path, group=group)
    except LookupError as error:
        raise UsageError(
            f"there is no group {group}", hint="name a group of this system with --socket-group"
        ) from error
    except OSError as error:
        raise UsageError(
            f"{path} cannot be given to the group {group}: {error.strerror}",
            hint="the user that runs the controller has to be a member of the group",
        ) from error
    path.chmod(0o660)


def _answers(path: Path) -> bool:
    """Whether somebody listens at ``path``; `UsageError` when something else is there."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(found.st_mode):
        raise UsageError(
            f"{path} exists and is no socket", hint="choose another path with --socket"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            # Full queue or no permission: somebody is there.
            return True
    return True


@contextlib.contextmanager
def _tcp_socket(tcp: Tcp) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in tcp.address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((tcp.address, tcp.port))
        except OSError as error:
            raise ControllerError(
                f"{tcp} cannot be listened on: {error.strerror}",
                hint="choose another address or port with --http",
            ) from error
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        yield listener
