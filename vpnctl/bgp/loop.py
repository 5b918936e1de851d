"""The event loop of the session process: sockets, frames of the controller, turns for each peer.

It knows sessions and configuration, and no ExaBGP: a `Peer` is what `exabgp_session` makes of one.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from vpnctl.bgp.controllers import Controllers, Welcome
from vpnctl.bgp.listeners import Listeners, distinct
from vpnctl.bgp.peer import Peer
from vpnctl.bgp.protection import changes_live
from vpnctl.bgp.record import ENOUGH, Records, pieces
from vpnctl.bgp.report import report
from vpnctl.bgp.session import MustNotify, Session
from vpnctl.bgp.wire import (
    CONSUMED,
    NOTIFY,
    REFRESH,
    WRITTEN,
    Configure,
    Configured,
    FrameError,
    Kind,
    NeighborConfig,
    NeighborState,
    Problem,
    Ready,
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
#: Subtype of a ROUTE-REFRESH (RFC 7313 section 3.2).
_END_OF_REFRESH = 2
#: RFC 9003: what the peers are told when no controller has come in time.
_ALONE = b"no controller came back"
_TROUBLE = select.POLLHUP | select.POLLERR
_MD5_HINT = "TCP MD5 needs a kernel with CONFIG_TCP_MD5SIG, and a key of 1 to 80 octets"
_AO_HINT = (
    "TCP-AO needs Linux 6.7 or newer with CONFIG_TCP_AO, and keys of 1 to 80 octets: "
    "run another kernel, or agree on md5 with the router instead of tcp_ao"
)


@dataclass(slots=True)
class _Live:
    """An established session.

    ``base``: octets that were written, or waited for that, when the present controller came;
    ``told_written``: those since then that it knows of.
    """

    peer: Peer
    session: Session
    opened: SessionOpened
    base: int = 0
    told_written: int = 0

    @property
    def written(self) -> int:
        return max(0, self.session.outbox.written - self.base)


class SessionLoop:
    """``build_peer`` makes a peer of its configuration, ``bind`` a listening socket; both raise
    `ValueError` or `OSError` when that cannot be.  Sessions are numbered from ``first_session``.
    ``ready`` greets each controller.

    Where other ``controllers`` may come, sessions are held up to ``keep`` seconds without one, and
    about ``remember`` octets of them are kept beside images.
    """

    def __init__(
        self,
        controllers: Controllers,
        ready: Ready,
        build_peer: Callable[[NeighborConfig, SessionLoop], Peer],
        bind: Callable[[Listen], socket.socket],
        *,
        first_session: int = 1,
        keep: float = 0.0,
        remember: int = ENOUGH,
    ) -> None:
        self.now = time.monotonic()
        self._controllers = controllers
        self._ready = ready
        self._keep = keep
        self._records = Records(self._ask, enough=remember) if controllers.open else None
        self._build_peer = build_peer
        self._listeners = Listeners(bind)
        self._next_session = first_session
        self._poll = select.poll()
        self._peers: dict[str, Peer] = {}
        self._leaving: set[Peer] = set()
        self._sessions: dict[int, _Live] = {}
        self._masks: dict[int, int] = {}
        self._controller_fds: set[int] = set()
        self._owners: dict[int, Peer] = {}
        self._watched: dict[Peer, int] = {}
        self._turned: set[Peer] = set()  # had a turn: what they wait for may have changed
        self._dirty: set[Peer] = set()  # have something to write since this turn began
        self._congested = False
        self._tick_at = 0.0
        self._states: dict[str, tuple[str, str]] = {}
        self._stop_requested = False
        self._stop_at: float | None = None
        self._alone_until: float | None = None
        self._attached = False  # a controller has come and has not said what it wants yet
        controllers.put(Kind.READY, 0, ready.to_json())

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
            emit=lambda kind, payload: self._emit(kind, number, payload),
            now=self.now,
        )
        session.held = self._congested
        self._sessions[number] = _Live(peer, session, opened)
        if self._records is not None:
            self._records.open(number)
        self._put(Kind.UP, number, opened.to_json())
        return session

    def _emit(self, kind: int, number: int, payload: bytes) -> None:
        if self._records is not None and kind == Kind.UPDATES:
            self._records.hear(number, payload)
        elif self._records is not None and kind == Kind.REFRESH:
            _, subtype, _ = REFRESH.unpack(payload)
            if subtype == _END_OF_REFRESH:
                self._spoil(self._records, number)
        self._put(kind, number, payload)

    def _spoil(self, records: Records, number: int) -> None:
        """A peer has sent all its routes again: what it did not send is gone without a word."""
        records.spoil(number)
        if not self._controllers.present or self._attached:
            words = "it has sent its routes anew while no controller was there"
            self._sessions[number].peer.end_session(MustNotify(6, 4, b"", words))

    def _put(self, kind: int, number: int, payload: bytes) -> None:
        """Tell the controller, unless it hears of everything with its first configuration."""
        if not self._attached:
            self._controllers.put(kind, number, payload)

    def session_closed(self, session: Session, closed: SessionClosed) -> None:
        """Tell the controller that the session is over; frames for it are dropped from now on."""
        self._tell_written(session)
        del self._sessions[session.number]
        if self._records is not None:
            self._records.close(session.number)
        self._put(Kind.DOWN, session.number, closed.to_json())

    def state(self, peer: Peer, state: str, reason: str = "") -> None:
        """Tell the controller where the peer's state machine is."""
        name = peer.config.name
        if self._peers.get(name) is peer and self._states.get(name) != (state, reason):
            self._states[name] = state, reason
            self._tell_state(name)

    def _tell_state(self, name: str) -> None:
        state, reason = self._states[name]
        self._put(Kind.STATE, 0, NeighborState(name, state, reason).to_json())

    # -- the loop --

    def request_stop(self) -> None:
        """`stop` at the next turn; may be called by a signal handler."""
        self._stop_requested = True

    def stop(self) -> None:
        """Say goodbye to every peer and end."""
        if self._stop_at is not None:
            return
        self._stop_at = self.now + STOP_TIME
        self._controllers.close_door()
        self._listen_at((), [])
        alone = bytes((len(_ALONE),)) + _ALONE if self._alone_until is not None else b""
        for peer in list(self._peers.values()):
            self._retire(peer, MustNotify(6, 2, alone, "the route server stops"))

    def run(self) -> None:
        """Until `stop` is called, the controller says so, or the controller is gone."""
        while True:
            if self._stop_requested:
                self.stop()
            self._watch()
            if self._stop_at is not None:
                everyone_left = not self._leaving and not self._controllers.backlog
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
                self._look_for_controller()
            while self._dirty:
                self._turn(self._dirty.pop(), 0)
            self._finish_turn()

    def _serve(self, fd: int, events: int) -> None:
        if fd == self._controllers.fd:
            if events & (select.POLLIN | _TROUBLE):
                self._read_controller()
        elif fd in self._controller_fds:
            self._welcome(fd)
        elif fd in self._listeners.fds:
            configs = [peer.config for peer in self._peers.values()]
            for name, sock in self._listeners.accept(fd, configs, self.now):
                self._peers[name].accept(sock)
                self._turn(self._peers[name], 0)
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
        if not self._controllers.flush():
            self._lose_controller()
        limit = RELIEVED if self._congested else CONGESTED
        congested = self._controllers.backlog > limit
        if congested != self._congested:
            self._congested = congested
            for live in self._sessions.values():
                live.session.held = congested
                self._turned.add(live.peer)

    def _tell_written(self, session: Session) -> None:
        live = self._sessions[session.number]
        written = live.written
        if live.told_written != written:
            live.told_written = written
            self._put(Kind.WRITTEN, session.number, WRITTEN.pack(written, time.monotonic_ns()))

    # -- what is waited for --

    def _watch(self) -> None:
        """Wait for what each peer that had a turn waits for now."""
        masks = self._controllers.masks()
        for fd in self._controller_fds - masks.keys():
            self._set_mask(fd, None)
        self._controller_fds = set(masks)
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
        held_back = self._congested or self.now < self._listeners.resume_at
        for fd in self._listeners.fds:
            self._set_mask(fd, 0 if held_back else select.POLLIN)
        for fd, mask in masks.items():
            self._set_mask(fd, mask)

    def _set_mask(self, fd: int, mask: int | None) -> None:
        if mask is None:
            if self._masks.pop(fd, None) is not None:
                self._poll.unregister(fd)
        elif self._masks.get(fd) != mask:
            self._masks[fd] = mask
            self._poll.register(fd, mask)

    # -- the controller --

    def _lose_controller(self) -> None:
        """Hold the sessions for another controller; where none may come, end them at once."""
        self._controllers.lost()
        self._attached = False
        if self._records is None or self._stop_at is not None:
            self.stop()
            return
        report(f"the controller is gone; BGP sessions are held for {self._keep:g} s")
        self._alone_until = self.now + self._keep
        for number in self._records.abandoned():
            peer = self._sessions[number].peer
            peer.end_session(MustNotify(6, 8, b"", "its routes are too many to be remembered"))
            self._dirty.add(peer)

    def _look_for_controller(self) -> None:
        if self._controllers.present:
            if self._records is not None:
                self._records.look()
        elif self._alone_until is not None and self.now >= self._alone_until:
            report("no controller came back: the BGP sessions end")
            self.stop()

    def _welcome(self, fd: int) -> None:
        welcome = self._controllers.serve(fd)
        if welcome is Welcome.OUTDATED:
            report("a controller of another version came: the BGP sessions begin anew")
            self.stop()
        elif welcome is Welcome.ATTACHED:
            self._alone_until = None
            ready = replace(self._ready, sessions=len(self._sessions))
            self._controllers.put(Kind.READY, 0, ready.to_json())
            self._attached = True

    def _say_what_came_before(self, records: Records) -> None:
        """Let a controller that has just come go on with every session."""
        for name in self._peers:
            if name in self._states:
                self._tell_state(name)
        held = {
            number: live
            for number, live in self._sessions.items()
            if live.peer not in self._leaving
        }
        for number, live in held.items():
            live.base, live.told_written = live.session.outbox.total, 0
            self._put(Kind.HELD, number, live.opened.to_json())
            for piece in pieces(records[number].told):
                self._put(Kind.TOLD, number, piece)
        # Only when all of them are known: a route of one is a route for others.
        for number, live in held.items():
            octets = 0
            for piece in pieces(records[number].heard):
                self._put(Kind.UPDATES, number, piece)
                octets += len(piece)
            live.session.said_anew(octets)
            self._turned.add(live.peer)
        self._put(Kind.RESUMED, 0, b"")

    def _ask(self, number: int) -> None:
        self._put(Kind.IMAGE, number, b"")

    def _read_controller(self) -> None:
        frames = self._controllers.receive()
        if frames is None:
            self._lose_controller()
            return
        try:
            for kind, number, payload in frames:
                self._obey(kind, number, payload)
        except FrameError as error:
            report(f"the controller is not understood: {error}")
            self._lose_controller()

    def _obey(self, kind: int, number: int, payload: bytes) -> None:
        if kind == Kind.CONFIGURE:
            self._configure(Configure.from_json(payload))
            return
        if kind == Kind.STOP:
            self.stop()
            return
        live = self._sessions.get(number)
        if live is None:
            return  # for a session that has ended meanwhile
        peer, session, records = live.peer, live.session, self._records
        if kind == Kind.SEND:
            session.outbox.append(payload)
            if records is not None:
                records.tell(number, payload)
        elif kind == Kind.CONSUMED:
            session.consumed(*CONSUMED.unpack(payload))
        elif kind == Kind.NOTIFY:
            code, subcode = NOTIFY.unpack_from(payload)
            peer.end_session(MustNotify(code, subcode, payload[NOTIFY.size :]))
        elif records is not None and kind in (Kind.IMAGE_HEARD, Kind.IMAGE_TOLD):
            records.imaged(number, payload, heard=kind == Kind.IMAGE_HEARD)
        elif records is not None and kind == Kind.IMAGE_DONE:
            records.settle(number)
        else:
            raise FrameError(f"kind {kind} is not for the session process")
        self._dirty.add(peer)

    def _configure(self, desired: Configure) -> None:
        if self._stop_at is not None:
            return
        problems: list[Problem] = []
        wanted = {config.name: config for config in distinct(desired.neighbors, problems)}
        for name, peer in list(self._peers.items()):
            if name not in wanted:
                self._retire(peer, MustNotify(6, 3, b"", "the peer was removed"))
            elif wanted[name] != peer.config or not changes_live(peer.config, wanted[name]):
                self._retire(peer, MustNotify(6, 6, b"", "the peer's configuration changed"))
        self._listen_at(desired.listens, problems)
        for name in self._protect(tuple(wanted.values()), problems):
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
        if self._attached and self._records is not None:
            self._attached = False
            self._say_what_came_before(self._records)
        answer = Configured(desired.serial, self._listeners.addresses, tuple(problems))
        self._put(Kind.CONFIGURED, 0, answer.to_json())

    def _protect(self, wanted: tuple[NeighborConfig, ...], problems: list[Problem]) -> list[str]:
        """Give the listening sockets the keys and TTLs of the peers; whom that failed for."""
        failed = self._listeners.protect(wanted)
        for config in wanted:
            peer = self._peers.get(config.name)
            if peer is not None and (peer.config.md5, peer.config.tcp_ao) != (
                config.md5,
                config.tcp_ao,
            ):
                try:
                    peer.rekey(config)
                except OSError as error:
                    failed[config.name] = error
        for config in wanted:
            if config.name in failed:
                reason = failed[config.name].strerror
                words = f"its TCP connections cannot be protected: {reason}"
                hint = _AO_HINT if config.tcp_ao else _MD5_HINT
                problems.append(Problem(f"neighbor {config.name}", words, hint))
        return list(failed)

    def _retire(self, peer: Peer, cause: MustNotify) -> None:
        del self._peers[peer.config.name]
        self._states.pop(peer.config.name, None)
        self._leaving.add(peer)
        peer.retire(cause)
        self._dirty.add(peer)

    def _listen_at(self, wanted: tuple[Listen, ...], problems: list[Problem]) -> None:
        for fd in self._listeners.close_others(wanted):
            self._set_mask(fd, None)
        self._listeners.open(wanted, problems)
