"""The BGP session process: ``python -m vpnctl.bgp.exabgp_session --fd N``.

ExaBGP brings sockets, the state machine up to ESTABLISHED, OPEN and capabilities.  From then on
`vpnctl.bgp.session` has the socket and routes pass as raw octets between the peer and the
controller, which holds the other end of the socket ``N``.  ExaBGP's decoder of routes, its RIBs,
API, configuration files and reactor are not used.

The modules `exabgp_*` alone import ExaBGP.  Those of this package change it by subclasses and by
the few replacements in `_install`; `PATCH_POINTS` names everything that they stand on, and the
process refuses to start on an ExaBGP that differs there.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import select
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import exabgp.bgp.timer
import exabgp.reactor.protocol
import exabgp.version
from exabgp.bgp.fsm import FSM
from exabgp.bgp.message.notification import Notification, Notify
from exabgp.bgp.message.open.capability import Capabilities
from exabgp.bgp.message.open.capability.graceful import Graceful
from exabgp.bgp.message.open.capability.negotiated import RequirePath
from exabgp.bgp.message.open.capability.refresh import REFRESH
from exabgp.environment import getenv
from exabgp.logger import log
from exabgp.protocol.family import AFI
from exabgp.protocol.ip import IP
from exabgp.reactor.delay import Delay
from exabgp.reactor.listener import Listener
from exabgp.reactor.network.error import NetworkError
from exabgp.reactor.network.incoming import Incoming
from exabgp.reactor.network.outgoing import Outgoing
from exabgp.reactor.network.tcp import connect, nagle
from exabgp.reactor.peer import ACTION, Interrupted, Peer
from exabgp.reactor.protocol import Protocol

from vpnctl.bgp import exabgp_capabilities, hard_reset, tcp_ao
from vpnctl.bgp.channel import Channel
from vpnctl.bgp.compat import PatchPoint, check_patch_points
from vpnctl.bgp.controllers import Controllers
from vpnctl.bgp.door import Door
from vpnctl.bgp.exabgp_neighbor import build_neighbor
from vpnctl.bgp.listeners import refuse
from vpnctl.bgp.loop import SessionLoop
from vpnctl.bgp.outbox import Outbox
from vpnctl.bgp.protection import rekey
from vpnctl.bgp.record import ENOUGH
from vpnctl.bgp.report import report
from vpnctl.bgp.session import ConnectionLost, MustNotify, PeerNotified, Session
from vpnctl.bgp.wire import Kind, NeighborConfig, Problem, Ready, SessionClosed, SessionOpened
from vpnctl.errors import SessionProcessError
from vpnctl.model import Listen

VERSION = "5.0.15"
#: Seconds for a TCP connection to come about, and for a peer to take our last NOTIFICATION.
CONNECT_TIME, FAREWELL_TIME = 10.0, 1.0
#: Longest pause between two attempts to connect, in seconds (ConnectRetryTimer of RFC 4271).
CONNECT_RETRY = 10.0
#: Steps of ExaBGP's state machine in one turn; between OPEN and ESTABLISHED lie four.
_STEPS = 8
_TROUBLE = select.POLLHUP | select.POLLERR
_REFRESH_NAMES = {REFRESH.ABSENT: "absent", REFRESH.NORMAL: "normal", REFRESH.ENHANCED: "enhanced"}

PATCH_POINTS = (
    PatchPoint(
        Peer,
        "_run",
        ("self",),
        frozenset(("_establish", "_main", "_reset", "new_notification", "NetworkError", "Notify")),
    ),
    PatchPoint(Peer, "_main", ("self",), frozenset(("read_message", "recv_timer", "rib"))),
    PatchPoint(Peer, "_establish", ("self",), frozenset(("_connect", "validate_open", "fsm"))),
    PatchPoint(Peer, "_connect", ("self",), frozenset(("Protocol", "connect", "proto"))),
    PatchPoint(Peer, "_close", ("self", "message", "error"), frozenset(("_delay", "proto"))),
    PatchPoint(Peer, "_reset", ("self", "message", "error"), frozenset(("_restart", "reset_rib"))),
    PatchPoint(Peer, "run", ("self",), frozenset(("generator", "backoff", "_run", "broken"))),
    PatchPoint(Peer, "handle_connection", ("self", "connection"), frozenset(("notification",))),
    PatchPoint(Protocol, "connect", ("self",), frozenset(("Outgoing", "establish"))),
    PatchPoint(Outgoing, "_setup", ("self",), frozenset(("create", "bind", "asynchronous"))),
    PatchPoint(Outgoing, "establish", ("self",), frozenset(("_connect", "ready", "success"))),
    PatchPoint(FSM, "change", ("self", "state"), frozenset(("state", "api"))),
    PatchPoint(Delay, "increase", ("self",), frozenset(("_next", "_time"))),
    PatchPoint(Delay, "backoff", ("self",), frozenset(("_time",))),
    PatchPoint(Delay, "reset", ("self",), frozenset(("_next", "_time"))),
    PatchPoint(
        Listener,
        "_listen",
        ("self", "local_ip", "peer_ip", "local_port", "use_md5", "md5_base64", "ttl_in"),
        frozenset(("_new_socket", "_sockets", "bind", "listen")),
    ),
    PatchPoint(
        exabgp.bgp.timer.ReceiveTimer,
        "check_ka_timer",
        ("self", "message", "ignore"),
        frozenset(("time", "last_read", "holdtime")),
    ),
    PatchPoint(
        Capabilities,
        "_addpath",
        ("self", "neighbor"),
        frozenset(("addpaths", "_ADD_PATH", "AddPath")),
    ),
    PatchPoint(
        RequirePath,
        "setup",
        ("self", "received_open", "sent_open"),
        frozenset(("_send", "_receive")),
    ),
    PatchPoint(Graceful, "extract", ("self",), frozenset(("restart_flag", "restart_time"))),
    PatchPoint(
        Capabilities,
        "_graceful",
        ("self", "neighbor", "restarted"),
        frozenset(("Graceful", "GRACEFUL_RESTART", "families")),
    ),
    PatchPoint(log, "critical", ("cls", "message", "source", "level"), frozenset(("logger",))),
)


def check_exabgp() -> None:
    """Raises `SessionProcessError` unless this is the ExaBGP that we know."""
    found = exabgp.version.release
    if found != VERSION:
        raise SessionProcessError(
            f"ExaBGP {found} is installed, vpnctl works with {VERSION} only",
            hint=f"pip install exabgp=={VERSION}",
        )
    check_patch_points(PATCH_POINTS)


def _install(open_wait: int) -> None:
    """Set ExaBGP up as a library: no files, no privileges dropped, no log but the worst."""
    environment = getenv()
    environment.tcp.attempts = 0
    environment.tcp.bind = []
    environment.bgp.passive = False
    environment.bgp.openwait = open_wait
    environment.log.enable = False
    environment.debug.defensive = False

    def silent(*_: Any, **__: Any) -> None:
        return None

    def loud(message: Any, *_: Any, **__: Any) -> None:
        report(str(message()) if callable(message) else str(message))

    for level in ("debug", "info", "warning", "error"):
        setattr(log, level, staticmethod(silent))
    for level in ("critical", "fatal"):
        setattr(log, level, staticmethod(loud))
    # ExaBGP's timers read the clock of the wall, which may be set.
    exabgp.bgp.timer.time = SimpleNamespace(time=time.monotonic)
    exabgp.reactor.protocol.Outgoing = OneAttempt
    exabgp_capabilities.install()


class OneAttempt(Outgoing):  # type: ignore[misc]
    """A connection that is tried once; ExaBGP's own tries again at every turn."""

    local: Any
    #: Whom it is for; set by `SessionPeer` before the socket is made.
    config: NeighborConfig | None = None

    def establish(self) -> Iterator[bool]:
        """Yields False until the connection is there, then True.  Raises `NetworkError`.

        There is no socket yet when it does so first.
        """
        yield False
        target = f"{self.peer} port {self.port}"
        problem = self._setup()
        if problem is None and self.config is not None:
            try:
                tcp_ao.add(self.io, self.config.peer_address, self.config.tcp_ao, begin=True)
            except OSError as refusal:
                problem = refusal
        if problem is not None:
            raise NetworkError(f"cannot connect to {target}: {problem}")
        deadline = time.monotonic() + CONNECT_TIME
        connect(self.io, self.peer, self.port, self.afi, self.md5)
        while True:
            yield False
            error = self.io.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise NetworkError(f"cannot connect to {target}: {os.strerror(error)}")
            try:
                self.io.getpeername()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise NetworkError(f"cannot connect to {target}: no answer") from None
        self.success()
        if not self.local:
            self.local = self.io.getsockname()[0]
        yield True


class ConnectRetry(Delay):  # type: ignore[misc]
    """Pauses of 1, 2, 4, 8, 10, 10 ... seconds, with the jitter of RFC 4271 section 10."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._time = 0.0
        self._next = 1.0

    def increase(self) -> None:
        self._time = time.monotonic() + self._next * random.uniform(0.75, 1.0)
        self._next = min(self._next * 2, CONNECT_RETRY)

    def backoff(self) -> bool:
        return time.monotonic() < self._time


class ReportingFsm(FSM):  # type: ignore[misc]
    """Tells the controller about the states that mean something there.

    ExaBGP passes ACTIVE and IDLE on its way to CONNECT; `SessionPeer` reports these itself.
    """

    def change(self, state: Any) -> ReportingFsm:
        super().change(state)
        if state not in (FSM.IDLE, FSM.ACTIVE):
            self.peer.loop.state(self.peer, FSM.STATE.names[state].lower())
        return self


class SessionPeer(Peer):  # type: ignore[misc]
    """ExaBGP's peer until it is established; from then on a `Session` has the socket."""

    def __init__(self, config: NeighborConfig, loop: SessionLoop) -> None:
        processes = SimpleNamespace(broken=lambda _neighbor: False)
        super().__init__(build_neighbor(config), SimpleNamespace(processes=processes))
        self.config = config
        self.loop = loop
        self.session: Session | None = None
        self.fsm = ReportingFsm(self, FSM.IDLE)
        self._restarted = False
        self._delay = ConnectRetry()
        self._events = 0
        self._cause: MustNotify | None = None
        self._graceful = False
        self._graceful_notification = False
        self._connecting: OneAttempt | None = None
        self._farewell: Outbox | None = None

    # -- what the loop calls --

    def interest(self) -> tuple[int, int]:
        if self._connecting is not None:
            return self._connecting.fd(), select.POLLOUT
        outbox = self._farewell
        reading = True
        if self.session is not None:
            outbox, reading = self.session.outbox, self.session.reading
        mask = (select.POLLIN if reading else 0) | (select.POLLOUT if outbox else 0)
        return self.socket(), mask

    def advance(self, events: int) -> bool:
        self._events = events
        for _ in range(_STEPS):
            if self.generator is None and self.proto is None:
                if not self._restart:
                    return True
                if self.config.passive or self._delay.backoff():
                    return False
            fresh = self.generator is None
            action = self.run()
            if action == ACTION.CLOSE:
                return True
            if action != ACTION.NOW and not fresh:
                return False
        return False

    def accept(self, sock: socket.socket) -> None:
        remote, local = sock.getpeername()[0], sock.getsockname()[0]
        afi = AFI.ipv6 if sock.family == socket.AF_INET6 else AFI.ipv4
        connection = Incoming(afi, local, remote, sock)
        if self.handle_connection(connection) is not None:
            refuse(sock, 6, 7)  # Connection Collision Resolution, RFC 4486
            connection.io = None

    def end_session(self, cause: MustNotify) -> None:
        self._cause = cause

    def retire(self, cause: MustNotify) -> None:
        self._restart = False
        if self.session is not None and self._graceful and (cause.code, cause.subcode) == (6, 2):
            # A NOTIFICATION would have the peer drop our routes (RFC 4724 section 4).
            self.abandon("we restart")
            return
        # Whoever is not to come back takes its routes along (RFC 8538 section 5.1).
        self._cause = cause.hard() if self._graceful_notification else cause
        if self.session is not None or self._farewell is not None:
            return
        if self.proto is not None and self.fsm in (FSM.OPENSENT, FSM.OPENCONFIRM):
            with contextlib.suppress(OSError):
                self.proto.connection.io.send(cause.message)
        self.abandon(cause.words)

    def rekey(self, config: NeighborConfig) -> None:
        fd = self.socket()
        if config.tcp_ao and self.session is None and fd != -1:
            self.abandon("its keys changed")
        elif fd != -1:
            with socket.socket(fileno=os.dup(fd)) as sock:
                rekey(sock, self.config, config)
        self.config = config
        self.neighbor["md5-password"] = build_neighbor(config)["md5-password"]

    def abandon(self, reason: str) -> None:
        session, self.session = self.session, None
        if session is not None:
            self.loop.session_closed(session, SessionClosed(self.config.name, reason))
        self.generator = None
        self._farewell = None
        self._close(reason)

    # -- what ExaBGP calls --

    def _connect(self) -> Iterator[int]:
        self.loop.state(self, "connect")
        proto = Protocol(self)
        try:
            for connected in proto.connect():
                if proto.connection.io is None:
                    proto.connection.config = self.config
                    continue
                self._connecting = proto.connection
                if not connected:
                    yield ACTION.LATER
            nagle(proto.connection.io, proto.connection.peer)
        finally:
            self._connecting = None
        self.proto = proto

    def _establish(self) -> Iterator[int]:
        try:
            yield from super()._establish()
        except (NetworkError, Notification, Interrupted):
            raise
        except Exception as error:
            # ExaBGP met something in the peer's OPEN that it has no answer to.
            raise Notify(2, 0, "the OPEN cannot be understood") from error

    def _main(self) -> Iterator[int]:
        self._cause = None
        opened = self._opened()
        connection = self.proto.connection
        session = self.session = self.loop.session_opened(self, connection.io, opened)
        name, last_words = self.config.name, None
        try:
            while self._cause is None:
                self._work(session)
                yield ACTION.LATER
            raise self._cause
        except MustNotify as cause:
            last_words = cause
            closed = SessionClosed(name, _sent(cause), sent=(cause.code, cause.subcode))
        except PeerNotified as peer:
            words = _words(peer.code, peer.subcode, peer.octets)
            closed = SessionClosed(
                name, f"the peer sent NOTIFICATION {words}", received=(peer.code, peer.subcode)
            )
        except ConnectionLost as lost:
            closed = SessionClosed(name, str(lost))
        except Exception as error:  # a mistake of ours must not outlive this session
            report(f"{name}: {error!r}")
            last_words = MustNotify(6, 0, b"", f"internal error: {error!r}")
            closed = SessionClosed(name, _sent(last_words), sent=(6, 0))
        self.session = None
        self.loop.session_closed(session, closed)
        self.fsm.change(FSM.IDLE)
        if last_words is not None:
            yield from self._say_farewell(session, connection.io, last_words)
        raise NetworkError(closed.reason)

    def _close(self, message: Any = "", error: Any = "") -> None:
        super()._close(message, error)
        if isinstance(error, Notify):
            data = error.data if isinstance(error.data, bytes) else b""
            reason = f"we sent NOTIFICATION {_words(error.code, error.subcode, data)}"
        elif isinstance(error, Notification):
            reason = f"the peer sent NOTIFICATION {_printable(str(error))}"
        else:
            reason = _printable(str(error) or message)
        self.loop.state(self, "active" if self.config.passive else "idle", reason)

    # -- one established session --

    def _work(self, session: Session) -> None:
        now, events = self.loop.now, self._events
        self._events = 0
        if events & (select.POLLIN | _TROUBLE):
            session.read(now)
        session.check_timers(now)
        if session.outbox and (events & select.POLLOUT or not session.outbox.blocked):
            session.write(now)

    def _say_farewell(self, session: Session, sock: Any, cause: MustNotify) -> Iterator[int]:
        """Write the NOTIFICATION and wait until the peer has closed, both within a second.

        Closing at once with octets unread would make TCP reset the connection, and the peer
        might never see why.
        """
        outbox = session.outbox
        outbox.finish_with(cause.message)
        self._farewell = outbox
        deadline = self.loop.now + FAREWELL_TIME
        try:
            while outbox and self.loop.now < deadline:
                session.write(self.loop.now)
                if outbox:
                    yield ACTION.LATER
            sock.shutdown(socket.SHUT_WR)
            while self.loop.now < deadline:
                try:
                    if not sock.recv(65536):
                        break
                except BlockingIOError:
                    pass
                yield ACTION.LATER
        except (ConnectionLost, OSError):
            pass
        finally:
            self._farewell = None

    def _opened(self) -> SessionOpened:
        negotiated, sock = self.proto.negotiated, self.proto.connection.io
        local, peer = sock.getsockname(), sock.getpeername()
        graceful = long_lived = None
        if self.config.restart_time is not None:
            capabilities = negotiated.received_open.capabilities
            graceful, long_lived = exabgp_capabilities.received(capabilities)
        if not self.config.long_lived_time:
            long_lived = None
        self._graceful = graceful is not None
        self._graceful_notification = (
            graceful is not None and exabgp_capabilities.graceful_notification(graceful)
        )
        return SessionOpened(
            neighbor=self.config.name,
            families=tuple(sorted((int(afi), int(safi)) for afi, safi in negotiated.families)),
            asn4=bool(negotiated.asn4),
            message_size=int(negotiated.msg_size),
            local_asn=self.config.local_asn,
            peer_asn=int(negotiated.peer_as),
            peer_router_id=IPv4Address(str(negotiated.received_open.router_id)),
            hold_time=int(negotiated.holdtime),
            refresh=_REFRESH_NAMES[negotiated.refresh],
            local_address=ip_address(local[0].partition("%")[0]),
            local_port=local[1],
            peer_address=ip_address(peer[0].partition("%")[0]),
            peer_port=peer[1],
            paths_sent=_those(negotiated.families, negotiated.addpath.send),
            paths_taken=_those(negotiated.families, negotiated.addpath.receive),
            restart_time=None if graceful is None else int(graceful.restart_time),
            restartable=tuple(sorted((int(afi), int(safi)) for afi, safi in graceful or ())),
            preserved=tuple(
                sorted(
                    (int(afi), int(safi))
                    for (afi, safi), flags in (graceful or {}).items()
                    if flags & Graceful.FORWARDING_STATE
                )
            ),
            graceful_notification=self._graceful_notification,
            long_lived=None
            if long_lived is None
            else tuple(sorted((*family, seconds) for family, (_, seconds) in long_lived.items())),
            long_lived_preserved=tuple(
                sorted(family for family, (kept, _) in (long_lived or {}).items() if kept)
            ),
        )


def _those(families: Iterable[Any], wanted: Callable[..., bool]) -> tuple[tuple[int, int], ...]:
    """AFI and SAFI of the families for which ``wanted`` is true."""
    return tuple(sorted((int(afi), int(safi)) for afi, safi in families if wanted(afi, safi)))


def _printable(text: str) -> str:
    """``text`` on one line and without what a terminal might take for a command."""
    return "".join(c if c.isprintable() else "?" for c in text)[:300]


def _words(code: int, subcode: int, octets: bytes = b"") -> str:
    """A NOTIFICATION in words, its numbers first."""
    if (code, subcode) == hard_reset.HARD_RESET:
        meant = hard_reset.meant(octets)
        # It is no reset of a reset: what lies deeper is only shown.
        why = f", {meant.code}/{meant.subcode}: {_text(*meant)}" if meant is not None else ""
        return f"{code}/{subcode}: Cease / Hard Reset{why}"
    return f"{code}/{subcode}: {_text(code, subcode, octets)}"


def _text(code: int, subcode: int, octets: bytes) -> str:
    return _printable(str(Notification(code, subcode, octets)))


def _sent(cause: MustNotify) -> str:
    meant = cause.octets if (cause.code, cause.subcode) == hard_reset.HARD_RESET else b""
    words = f"we sent NOTIFICATION {_words(cause.code, cause.subcode, meant[:2])}"
    return f"{words} ({cause.words})" if cause.words else words


class Listening(Listener):  # type: ignore[misc]
    """ExaBGP's listening sockets, handed to our own loop."""

    def __init__(self) -> None:
        super().__init__(None)

    def bind(self, listen: Listen) -> socket.socket:
        """Raises `OSError`."""
        address = IP.create(str(listen.address))
        try:
            self._listen(address, address, listen.port, None, False, None)
        except NetworkError as error:
            cause = error.__context__
            raise cause if isinstance(cause, OSError) else OSError(str(error)) from error
        sock: socket.socket = next(iter(self._sockets))
        self._sockets.clear()  # the loop keeps and closes it
        return sock


def main() -> int:
    """Run until the controller says stop or is gone; the exit status."""
    parser = argparse.ArgumentParser(prog="vpnctl.bgp.exabgp_session")
    parser.add_argument("--fd", type=int, required=True, help="socket to the controller")
    parser.add_argument("--first-session", type=int, default=1, help="number of the first session")
    parser.add_argument("--open-wait", type=int, default=30, help="seconds a peer has for its OPEN")
    parser.add_argument("--door", type=Path, help="directory where other controllers attach")
    parser.add_argument("--keep", type=float, default=0.0, help="seconds to wait for one")
    parser.add_argument("--remember", type=int, default=ENOUGH, help="octets kept beside images")
    arguments = parser.parse_args()
    channel = Channel(socket.socket(fileno=arguments.fd))
    try:
        check_exabgp()
    except SessionProcessError as error:
        channel.put(Kind.FAILED, 0, Problem("ExaBGP", error.message, error.hint).to_json())
        channel.flush()
        return error.exit_code
    _install(arguments.open_wait)
    with contextlib.suppress(ValueError, OSError):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        door = Door(arguments.door) if arguments.door is not None else None
    except OSError as error:
        words = f"no controller could attach later: {error}"
        hint = "choose another path with --socket, or give --keep-sessions 0"
        channel.put(Kind.FAILED, 0, Problem("door", words, hint).to_json())
        channel.flush()
        return SessionProcessError.exit_code
    loop = SessionLoop(
        Controllers(channel, door),
        Ready(exabgp.version.release, os.getpid()),
        SessionPeer,
        Listening().bind,
        first_session=arguments.first_session,
        keep=arguments.keep,
        remember=arguments.remember,
    )
    signal.signal(signal.SIGTERM, lambda *_: loop.request_stop())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    loop.run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
