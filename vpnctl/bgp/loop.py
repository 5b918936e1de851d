"""The event loop of the session process: sockets, frames of the controller, turns for each peer.

It knows sessions and configuration, and no ExaBGP: a `Peer` is what `exabgp_session` makes of one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import sys
import time
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Protocol

from vpnctl.bgp.channel import Channel
from vpnctl.bgp.messages import notification
from vpnctl.bgp.protection import Protection, demand_near
from vpnctl.bgp.session import MustNotify, Session
from vpnctl.bgp.wire import (
    CONSUMED,
    NOTIFY,
    WRITTEN,
    Configure,
    Configured,
    FrameError,
    IPAddress,
    Kind,
    NeighborConfig,
    NeighborState,
    Problem,
    SessionClosed,
    SessionOpened,
)
from vpnctl.model import Listen

#: Seconds between looks at every peer's timers.
TICK = 0.2
#: When this much waits for a controller that does not read, peers are not read either.
CONGESTED, RELIEVED = 4 * 1024 * 1024, 1024 * 1024
#: Seconds that the last NOTIFICATIONs have before the process ends anyway.
STOP_TIME = 1.5
#: Connections accepted at once from one listening socket.
_ACCEPT_BATCH = 64
_ANY = (IPv4Address(0), IPv6Address(0))
_TROUBLE = select.POLLHUP | select.POLLERR


class Peer(Protocol):
    """One configured peer, for the loop."""

    config: NeighborConfig
    session: Session | None

    def interest(self) -> tuple[int, int]:
        """File descriptor (-1 for none) and events to wait for."""

    def advance(self, events: int) -> bool:
        """Do what there is to do; True when the peer was retired and all is done."""

    def accept(self, sock: socket.socket) -> None:
        """The peer has connected."""

    def retire(self, cause: MustNotify) -> None:
        """End the session with this NOTIFICATION and never come back."""

    def end_session(self, cause: MustNotify) -> None:
        """End the session with this NOTIFICATION; another may follow."""

    def abandon(self, reason: str) -> None:
        """Drop every connection at once."""

    def rekey(self, config: NeighborConfig) -> None:
        """Go on with another key, connections included; `OSError` where that cannot be."""


class SessionLoop:
    """``build_peer`` makes a peer of its configuration, ``bind`` a listening socket; both raise
    `ValueError` or `OSError` when that cannot be.  Sessions are numbered from ``first_session``.
    """

    def __init__(
        self,
        channel: Channel,
        build_peer: Callable[[NeighborConfig, SessionLoop], Peer],
        bind: Callable[[Listen], socket.socket],
        first_session: int = 1,
    ) -> None:
        self.now = time.monotonic()
        self._channel = channel
        self._build_peer = build_peer
        self._bind = bind
        self._next_session = first_session
        self._poll = select.poll()
        self._peers: dict[str, Peer] = {}
        self._leaving: set[Peer] = set()
        self._sessions: dict[int, tuple[Peer, Session]] = {}
        self._listening: dict[Listen, socket.socket] = {}
        self._accepting: dict[int, tuple[Listen, socket.socket]] = {}
        self._protection = Protection()
        self._masks: dict[int, int] = {}
        self._owners: dict[int, Peer] = {}
        self._watched: dict[Peer, int] = {}
        self._turned: set[Peer] = set()  # had a turn: what they wait for may have changed
        self._dirty: set[Peer] = set()  # have something to write since this turn began
        self._told: dict[int, int] = {}  # octets written as last told to the controller
        self._congested = False
        self._accept_again_at = 0.0
        self._tick_at = 0.0
        self._states: dict[str, tuple[str, str]] = {}
        self._stop_requested = False
        self._stop_at: float | None = None
        self._controller_gone = False

    # -- what peers call --

    def session_opened(self, peer: Peer, sock: socket.socket, opened: SessionOpened) -> Session:
        """Number a session that has just been established and tell the controller."""
        number = self._next_session
        self._next_session = number % 0xFFFFFFFF + 1
        session = Session(
            number,
            sock,
            message_size=opened.message_size,
            hold_time=opened.hold_time,
            emit=lambda kind, payload: self._channel.put(kind, number, payload),
            now=self.now,
        )
        session.held = self._congested
        self._sessions[number] = peer, session
        self._told[number] = 0
        self._channel.put(Kind.UP, number, opened.to_json())
        return session

    def session_closed(self, session: Session, closed: SessionClosed) -> None:
        """Tell the controller that the session is over; frames for it are dropped from now on."""
        self._tell_written(session)
        del self._sessions[session.number]
        del self._told[session.number]
        self._channel.put(Kind.DOWN, session.number, closed.to_json())

    def state(self, peer: Peer, state: str, reason: str = "") -> None:
        """Tell the controller where the peer's state machine is."""
        name = peer.config.name
        if self._peers.get(name) is peer and self._states.get(name) != (state, reason):
            self._states[name] = state, reason
            self._channel.put(Kind.STATE, 0, NeighborState(name, state, reason).to_json())

    # -- the loop --

    def request_stop(self) -> None:
        """`stop` at the next turn; may be called by a signal handler."""
        self._stop_requested = True

    def stop(self) -> None:
        """Say goodbye to every peer and end."""
        if self._stop_at is not None:
            return
        self._stop_at = self.now + STOP_TIME
        self._listen(())
        for peer in list(self._peers.values()):
            self._retire(peer, MustNotify(6, 2, b"", "the route server stops"))

    def run(self) -> None:
        """Until `stop` is called, the controller says so, or the controller is gone."""
        while True:
            if self._stop_requested:
                self.stop()
            self._watch()
            if self._stop_at is not None:
                everyone_left = not self._leaving and not self._channel.backlog
                if everyone_left or self.now >= self._stop_at:
                    return
            ready = self._poll.poll(max(0.0, self._tick_at - time.monotonic()) * 1000)
            self.now = time.monotonic()
            for fd, events in ready:
                self._serve(fd, events)
            if self.now >= self._tick_at:
                self._tick_at = self.now + TICK
                for peer in [*self._peers.values(), *self._leaving]:
                    self._turn(peer, 0)
            while self._dirty:
                self._turn(self._dirty.pop(), 0)
            self._finish_turn()

    def _serve(self, fd: int, events: int) -> None:
        if fd == self._channel_fd():
            if events & (select.POLLIN | _TROUBLE):
                self._read_controller()
        elif fd in self._accepting:
            self._accept(*self._accepting[fd])
        elif fd in self._owners:
            self._turn(self._owners[fd], events)

    def _turn(self, peer: Peer, events: int) -> None:
        self._turned.add(peer)
        self._dirty.discard(peer)
        try:
            finished = peer.advance(events)
        except Exception as error:  # whatever it was, the other peers shall not suffer
            report(f"{peer.config.name}: {error!r}")
            peer.abandon(f"internal error: {error!r}")
            finished = False
        if finished:
            self._leaving.discard(peer)

    def _finish_turn(self) -> None:
        if not self._congested:
            for peer in self._turned:
                if peer.session is not None:
                    self._tell_written(peer.session)
        if not self._controller_gone:
            try:
                self._channel.flush()
            except OSError:
                self._lose_controller()
        congested = self._channel.backlog > (RELIEVED if self._congested else CONGESTED)
        if congested != self._congested:
            self._congested = congested
            for peer, session in self._sessions.values():
                session.held = congested
                self._turned.add(peer)

    def _tell_written(self, session: Session) -> None:
        written = session.outbox.written
        if self._told[session.number] != written:
            self._told[session.number] = written
            payload = WRITTEN.pack(written, time.monotonic_ns())
            self._channel.put(Kind.WRITTEN, session.number, payload)

    # -- what is waited for --

    def _channel_fd(self) -> int:
        return -1 if self._controller_gone else self._channel.sock.fileno()

    def _watch(self) -> None:
        """Wait for what each peer that had a turn waits for now."""
        for peer in self._turned:
            fd, mask = peer.interest()
            before = self._watched.pop(peer, -1)
            if before not in (-1, fd) and self._owners.get(before) is peer:
                del self._owners[before]
                self._set_mask(before, None)
            if fd != -1:
                self._watched[peer] = fd
                self._owners[fd] = peer
                self._set_mask(fd, mask)
        self._turned.clear()
        accept = 0 if self._congested or self.now < self._accept_again_at else select.POLLIN
        for fd in self._accepting:
            self._set_mask(fd, accept)
        if not self._controller_gone:
            wanted = select.POLLIN | (select.POLLOUT if self._channel.backlog else 0)
            self._set_mask(self._channel_fd(), wanted)

    def _set_mask(self, fd: int, mask: int | None) -> None:
        if mask is None:
            if self._masks.pop(fd, None) is not None:
                self._poll.unregister(fd)
        elif self._masks.get(fd) != mask:
            self._masks[fd] = mask
            self._poll.register(fd, mask)

    # -- the controller --

    def _lose_controller(self) -> None:
        """Nobody is left to decide about routes: end, and let the peers know at once."""
        self._set_mask(self._channel_fd(), None)
        self._controller_gone = True
        self._channel.close()
        self.stop()

    def _read_controller(self) -> None:
        try:
            frames = self._channel.receive()
            if frames is None:
                self._lose_controller()
                return
            for kind, number, payload in frames:
                self._obey(kind, number, payload)
        except (OSError, FrameError) as error:
            if isinstance(error, FrameError):
                report(f"the controller is not understood: {error}")
            self._lose_controller()

    def _obey(self, kind: int, number: int, payload: bytes) -> None:
        if kind == Kind.CONFIGURE:
            self._configure(Configure.from_json(payload))
            return
        if kind == Kind.STOP:
            self.stop()
            return
        known = self._sessions.get(number)
        if known is None:
            return  # for a session that has ended meanwhile
        peer, session = known
        if kind == Kind.SEND:
            session.outbox.append(payload)
        elif kind == Kind.CONSUMED:
            session.consumed(*CONSUMED.unpack(payload))
        elif kind == Kind.NOTIFY:
            code, subcode = NOTIFY.unpack_from(payload)
            peer.end_session(MustNotify(code, subcode, payload[NOTIFY.size :]))
        else:
            raise FrameError(f"kind {kind} is not for the session process")
        self._dirty.add(peer)

    def _configure(self, desired: Configure) -> None:
        if self._stop_at is not None:
            return
        problems: list[Problem] = []
        wanted = {config.name: config for config in _distinct(desired.neighbors, problems)}
        for name, peer in list(self._peers.items()):
            if name not in wanted:
                self._retire(peer, MustNotify(6, 3, b"", "the peer was removed"))
            elif wanted[name] != peer.config:
                self._retire(peer, MustNotify(6, 6, b"", "the peer's configuration changed"))
        self._listen(desired.listens, problems)
        for name in self._protect(wanted.values(), problems):
            # Better no session than one that is not protected as the operator wants it.
            if name in self._peers:
                self._retire(self._peers[name], MustNotify(6, 5, b"", "it cannot be protected"))
            del wanted[name]
        for name, config in wanted.items():
            if name in self._peers:
                continue
            try:
                peer = self._build_peer(config, self)
            except ValueError as error:
                problems.append(Problem(f"neighbor {name}", str(error)))
                continue
            self._peers[name] = peer
            self.state(peer, "active" if config.passive else "idle")
            self._dirty.add(peer)
        answer = Configured(desired.serial, tuple(self._listening), tuple(problems))
        self._channel.put(Kind.CONFIGURED, 0, answer.to_json())

    def _protect(self, wanted: Iterable[NeighborConfig], problems: list[Problem]) -> list[str]:
        """Give the listening sockets the keys and TTLs of the peers; whom that failed for."""
        wanted = tuple(wanted)
        failed = self._protection.apply(
            {
                sock: [config for config in wanted if _reaches(config, listen)]
                for listen, sock in self._listening.items()
            }
        )
        for config in wanted:
            peer = self._peers.get(config.name)
            if peer is not None and peer.config.md5 != config.md5:
                try:
                    peer.rekey(config)
                except OSError as error:
                    failed[config.name] = error
        for name, refusal in failed.items():
            problems.append(
                Problem(
                    f"neighbor {name}",
                    f"its TCP connections cannot be protected: {refusal.strerror}",
                    "TCP MD5 needs a kernel with CONFIG_TCP_MD5SIG, and a key of 1 to 80 octets",
                )
            )
        return list(failed)

    def _retire(self, peer: Peer, cause: MustNotify) -> None:
        del self._peers[peer.config.name]
        self._states.pop(peer.config.name, None)
        self._leaving.add(peer)
        peer.retire(cause)
        self._dirty.add(peer)

    def _listen(self, wanted: tuple[Listen, ...], problems: list[Problem] | None = None) -> None:
        for listen in [listen for listen in self._listening if listen not in wanted]:
            sock = self._listening.pop(listen)
            self._protection.forget(sock)
            self._set_mask(sock.fileno(), None)
            del self._accepting[sock.fileno()]
            sock.close()
        for listen in dict.fromkeys(wanted):
            if listen in self._listening:
                continue
            try:
                sock = self._bind(listen)
            except OSError as error:
                if problems is not None:
                    problems.append(_listen_problem(listen, error))
                continue
            self._listening[listen] = sock
            self._accepting[sock.fileno()] = listen, sock

    # -- connections that peers make --

    def _accept(self, listen: Listen, listening: socket.socket) -> None:
        for _ in range(_ACCEPT_BATCH):
            try:
                sock, remote = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # Most likely out of file descriptors; the connection stays in the queue.
                report(f"cannot accept on {listen}: {error.strerror}")
                self._accept_again_at = self.now + 1.0
                return
            sock.setblocking(False)
            peer = self._peer_of(_address(remote), _address(sock.getsockname()), listen.port)
            if peer is None:
                refuse(sock, 6, 5)  # Connection Rejected, RFC 4486
                continue
            if peer.config.hops is not None:
                try:
                    demand_near(sock, peer.config.hops)
                except OSError as error:
                    report(f"{peer.config.name}: its TTL cannot be demanded: {error.strerror}")
                    refuse(sock, 6, 5)
                    continue
            peer.accept(sock)
            self._turn(peer, 0)

    def _peer_of(self, remote: IPAddress, local: IPAddress, port: int) -> Peer | None:
        for peer in self._peers.values():
            if peer.config.peer_address == remote and _reaches(peer.config, Listen(local, port)):
                return peer
        return None


def _reaches(config: NeighborConfig, listen: Listen) -> bool:
    """Whether a peer may connect to a listening address."""
    return config.listen_port == listen.port and (
        config.local_address == listen.address
        or (
            (config.local_address in _ANY or listen.address in _ANY)
            and config.peer_address.version == listen.address.version
        )
    )


def report(line: str) -> None:
    """One line for the operator, on stderr."""
    text = " ".join(line.split())
    with contextlib.suppress(OSError):
        sys.stderr.write(f"vpnctl BGP session process: {text}\n")
        sys.stderr.flush()


def refuse(sock: socket.socket, code: int, subcode: int) -> None:
    """Say why, as far as the socket takes it at once, and close."""
    with contextlib.suppress(OSError):
        sock.send(notification(code, subcode))
        sock.shutdown(socket.SHUT_WR)
    sock.close()


def _address(pair: tuple[str, int]) -> IPAddress:
    return ip_address(pair[0].partition("%")[0])


def _distinct(
    neighbors: tuple[NeighborConfig, ...], problems: list[Problem]
) -> list[NeighborConfig]:
    """Those that can be told apart, by name and when they connect."""
    names: set[str] = set()
    ends: dict[tuple[IPAddress, IPAddress, int], str] = {}
    distinct = []
    for config in neighbors:
        subject = f"neighbor {config.name}"
        end = config.peer_address, config.local_address, config.listen_port
        if config.name in names:
            problems.append(Problem(subject, "another neighbor has this name", "rename one"))
        elif end in ends:
            message = (
                f"{config.peer_address} to {Listen(config.local_address, config.listen_port)} "
                f"is neighbor {ends[end]} already"
            )
            hint = "give one of them another address or another port to connect to"
            problems.append(Problem(subject, message, hint))
        else:
            distinct.append(config)
            names.add(config.name)
            ends[end] = config.name
    return distinct


_LISTEN_HINTS = {
    errno.EADDRINUSE: "another program listens there: stop it, or choose another port or address",
    errno.EADDRNOTAVAIL: "no interface of this machine has that address",
    errno.EACCES: (
        "ports below 1024 need root or CAP_NET_BIND_SERVICE: grant it to the service, "
        "or choose a higher port"
    ),
}


def _listen_problem(listen: Listen, error: OSError) -> Problem:
    number = error.errno or 0
    words = os.strerror(number) if number else str(error)
    return Problem(f"listen {listen}", f"cannot listen: {words}", _LISTEN_HINTS.get(number, ""))
