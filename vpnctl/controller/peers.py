"""The PEs as the controller sees them: between the session process and the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog

from vpnctl.bgp import hard_reset
from vpnctl.bgp.process import Keep
from vpnctl.bgp.speaker import Speaker
from vpnctl.bgp.wire import Configured, SessionClosed, SessionOpened
from vpnctl.controller import terms
from vpnctl.controller.events import EventHub, utc_text
from vpnctl.controller.keys import Keys
from vpnctl.controller.progress import Delivery, Heard
from vpnctl.controller.restarts import Restarts, time_to_say
from vpnctl.errors import SessionProcessError
from vpnctl.model import Guard, Listen, Network
from vpnctl.routing import update
from vpnctl.routing.engine import Engine
from vpnctl.routing.guard import CEASE, OUT_OF_RESOURCES, TOO_MANY_ROUTES
from vpnctl.routing.kept import Told
from vpnctl.routing.rewrite import Rules
from vpnctl.routing.session import Opened

_log = structlog.get_logger()

#: Cease, administrative reset (RFC 4486).
_CEASE_RESET = (6, 4)

#: Seconds that a PE has to send its routes again (RFC 7313 section 4).
REFRESH_TIME = 600.0

#: Seconds that a PE has to say which targets it wants (RFC 4684 section 6).
INTEREST_TIME = 60.0


@dataclass(frozen=True, slots=True)
class SessionState:
    """Where a PE's session stands, since when, and why the last one ended."""

    state: str = "idle"
    reason: str = ""
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """A session that its guard has shut down, and what brings it back, if anything does."""

    reason: str
    timer: asyncio.TimerHandle | None

    def timer_cancel(self) -> None:
        if self.timer is not None:
            self.timer.cancel()


class Peers:
    """Owns the session process and the engine, and carries octets from one to the other.

    It hears the sessions (`vpnctl.bgp.events.SpeakerEvents`) and is where the engine's octets
    go (`vpnctl.routing.engine.Output`).
    """

    def __init__(
        self,
        rules: Rules,
        hub: EventHub,
        now: Callable[[], datetime],
        keep: Keep | None = None,
    ) -> None:
        self.engine = Engine(rules, self)
        self.states: dict[str, SessionState] = {}
        self._refused: tuple[str, ...] = ()
        self.held = False
        self.kept_s = 0.0 if keep is None else keep.seconds
        self.listening: tuple[str, ...] = ()
        self._hub = hub
        self._now = now
        self.restarts = Restarts(self.engine, partial(hub.tell, "session"))
        self._speaker = Speaker(self, keep=keep)
        #: What the peers of held sessions were told, until these are resumed.
        self._told: dict[int, Told] = {}
        self._imaging: set[asyncio.Task[None]] = set()
        self._router_id = b""
        self._deliveries: list[Delivery] = []
        self._expected: list[Heard] = []
        self._network: Network | None = None
        self._keys = Keys()
        self._held: dict[str, Held] = {}
        self._drained: set[str] = set()
        self._resuming: set[asyncio.Task[None]] = set()

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with sessions for as long as nobody does anything about it."""
        held = (f"{name} is held: {held.reason}" for name, held in self._held.items())
        return (*self._refused, *self._without_key(), *held)

    def _without_key(self) -> Iterator[str]:
        return (f"the key of {name}: {words}" for name, words in self._keys.unread.items())

    async def start(self, listens: Iterable[Listen]) -> None:
        """Start the session process and listen; no session can come up before `configure`.

        Raises `SessionProcessError`, also when one of the addresses cannot be had: a route server
        that its PEs cannot reach must not look as if it were there.

        Sessions that outlived another controller are gone on with, and told of by `configure`.
        """
        ready = await self._speaker.start()
        self.held = self._speaker.found
        if self.held:
            words = f"{ready.sessions} sessions go on that another controller left"
            self._hub.tell("session", "bgp", words)
            _log.info("bgp", found=words)
            return
        configured = await self._speaker.configure((), listens)
        self._take_note(configured)
        refused = [
            problem for problem in configured.problems if problem.subject.startswith("listen")
        ]
        if refused:
            raise SessionProcessError(
                "; ".join(f"{problem.subject}: {problem.message}" for problem in refused),
                hint=refused[0].hint,
            )

    async def stop(self, *, leave: bool = False) -> None:
        """End every session and the process, or leave them to another controller."""
        self._network = None
        for held in self._held.values():
            held.timer_cancel()
        await (self._speaker.leave() if leave else self._speaker.stop())
        for imaging in self._imaging:
            imaging.cancel()

    def follow(self, told: Iterable[str], begun_ns: int) -> Delivery:
        """Follow what was just sent to the peers named until `unfollow`."""
        by_peer = self.engine.by_peer
        delivery = Delivery([by_peer[peer] for peer in sorted(told)], begun_ns)
        self._deliveries.append(delivery)
        return delivery

    def unfollow(self, delivery: Delivery) -> None:
        """End what `follow` began."""
        self._deliveries.remove(delivery)

    def expect(self, heard: Heard) -> None:
        """Let somebody look after every UPDATE whether what they wait for is there; `unexpect`."""
        heard.look(self.engine)
        self._expected.append(heard)

    def unexpect(self, heard: Heard) -> None:
        """End what `expect` began."""
        self._expected.remove(heard)

    async def configure(self, network: Network) -> None:
        """Make the session process hold the sessions of a network, and no others.

        What could not be done is in `problems` afterwards.  Raises `SessionProcessError` when the
        process is not running.
        """
        if self._network is None:
            self._expect_all(network)
        self._network = network
        self._router_id = network.controller.router_id.packed
        self.states = {name: self.states.get(name, SessionState()) for name in network.pes}
        for name in self._held.keys() - network.pes.keys():
            self._held.pop(name).timer_cancel()
        for name in self.engine.stale.keys() - network.pes.keys():
            self.restarts.give_up(name)
        for pe in network.pes.values():
            self.engine.regard(pe.name, pe.guard)
            self.engine.drain(pe.name, pe.drain or pe.name in self._drained)
        await self._keys.read(network)
        await self._hold_sessions()

    async def begin_anew(self, name: str) -> None:
        """Let the session of a PE begin anew, also one that its guard has shut down."""
        held = self._held.pop(name, None)
        if held is not None:
            held.timer_cancel()
            await self._hold_sessions()
            return
        session = self.engine.by_peer.get(name)
        if session is not None:
            self._speaker.notify(session.opened.number, *_CEASE_RESET, hard=True)
        self.restarts.give_up(name)

    def drain(self, name: str, *, draining: bool) -> None:
        """Drain a PE until it is told otherwise, or the controller ends."""
        (self._drained.add if draining else self._drained.discard)(name)
        self.engine.drain(name, draining)
        words = "drained: its routes are the last choice" if draining else "drained no more"
        self._hub.tell("session", name, words)

    async def rekey(self) -> tuple[str, ...]:
        """Read every key again and go on with it, sessions included; the PEs whose key changed."""
        network = self._network
        if network is None:
            return ()
        changed = await self._keys.read(network)
        await self._hold_sessions()
        return changed

    async def _hold_sessions(self) -> None:
        """Make the session process hold those sessions of the network that may be."""
        network = self._network
        if network is None:
            return
        pes = [pe for pe in network.pes.values() if pe.name not in self._held]
        # Without its key a session would be there for everybody.
        keys = self._keys
        neighbors = [terms.neighbor(network, pe, keys.of(pe)) for pe in pes if keys.has(pe)]
        listens = network.controller.listen
        self._take_note(await self._speaker.configure(neighbors, listens))

    def _take_note(self, configured: Configured) -> None:
        self.listening = tuple(str(listen) for listen in configured.listening)
        self._refused = tuple(
            f"{problem.subject}: {problem.message}" + (f" ({problem.hint})" if problem.hint else "")
            for problem in configured.problems
        )
        for problem in (*self._refused, *self._without_key()):
            self._hub.tell("error", "bgp", problem)
            _log.error("bgp", problem=problem)

    # What the sessions say (vpnctl.bgp.events.SpeakerEvents)

    def session_up(self, session: int, opened: SessionOpened) -> None:
        """A PE's session is established."""
        self._begun(session, opened, self.engine.session_up, "established")
        self._settle()

    def session_held(self, session: int, opened: SessionOpened) -> None:
        """A PE's session is up since another controller was there."""
        self._told[session] = Told(terms.families_of(opened.paths_sent))
        self._begun(session, opened, self.engine.session_held, "held, and gone on with")

    def _begun(
        self, session: int, opened: SessionOpened, begin: Callable[[Opened], None], words: str
    ) -> None:
        if opened.neighbor not in self.states or opened.neighbor in self._held:
            return  # the PE was just taken out of the policy; the session is being closed
        self.states[opened.neighbor] = SessionState("established", "", self._now())
        with self._contained(session, opened.neighbor):
            pe = self._network.pes.get(opened.neighbor) if self._network is not None else None
            begin(terms.agreed(session, opened, pe, self._router_id))
        if terms.CONSTRAINT in opened.families:
            loop = asyncio.get_running_loop()
            loop.call_later(INTEREST_TIME, self.engine.interest_known, session)
        families = sorted(terms.families_of(opened.families))
        names = ", ".join(family.name for family in families) or "no family in common"
        self._hub.tell("session", opened.neighbor, f"{words} ({names})")

    def told(self, session: int, messages: bytes) -> None:
        """What a held session's PE was told before we came."""
        with self._contained(session):
            self._told[session].add(messages)

    def resumed(self) -> None:
        """All that was heard in held sessions is in the tables: bring their PEs up to date."""
        told, self._told = self._told, {}
        for session, known in told.items():
            with self._contained(session):
                self.engine.resume(session, known)

    def image_wanted(self, session: int) -> None:
        """The session process wants to remember a session with fewer octets."""

        async def image() -> None:
            # Piece by piece: sessions and changes go on meanwhile.
            for heard, piece in self.engine.image(session):
                self._speaker.image(session, piece, heard=heard)
                await asyncio.sleep(0)
            self._speaker.image_done(session)

        task = asyncio.get_running_loop().create_task(image())
        self._imaging.add(task)
        task.add_done_callback(self._imaging.discard)

    def session_down(self, session: int, closed: SessionClosed) -> None:
        """A PE's session ended; its routes go, or stay for a while."""
        if closed.neighbor in self.states:
            self.states[closed.neighbor] = SessionState("idle", closed.reason, self._now())
        known = self.engine.sessions.get(session)
        graceful = known is not None and known.opened.graceful_notification
        restarting = hard_reset.may_return(closed, graceful_notification=graceful)
        self.restarts.lost(session, restarting=restarting)
        for delivery in self._deliveries:
            delivery.lost(session)
        self._hub.tell("session", closed.neighbor, f"down: {closed.reason}")
        held = self._held.get(closed.neighbor)
        if held is not None:
            self.states[closed.neighbor] = SessionState("held", held.reason, self._now())
            self._soon()

    def updates(self, session: int, messages: bytes) -> None:
        """UPDATEs of a PE."""
        if self._hub.macs and (known := self.engine.sessions.get(session)) is not None:
            self._hub.routes(known.opened.peer, messages, sent=False)
        with self._contained(session):
            self.engine.updates(session, messages)
        self._settle()
        for heard in self._expected:
            heard.look(self.engine)

    def refresh(self, session: int, afi: int, subtype: int, safi: int) -> None:
        """A PE asks for its routes again (RFC 2918), or sends its own again (RFC 7313)."""
        family = terms.family_of(afi, safi)
        if family is None:
            return
        with self._contained(session):
            if subtype == update.REFRESH_REQUEST:
                self.engine.refresh(session, family)
            elif subtype == update.BEGINNING_OF_REFRESH:
                self.engine.refresh_begins(session, family)
                loop = asyncio.get_running_loop()
                loop.call_later(REFRESH_TIME, self.engine.refresh_ends, session, family)
            elif subtype == update.END_OF_REFRESH:
                self.engine.refresh_ends(session, family)

    def written(self, session: int, total: int, at_ns: int) -> None:
        """A PE's socket took ``total`` octets so far."""
        with self._contained(session):
            self.engine.written(session, total)
        if self._deliveries:
            known = self.engine.sessions.get(session)
            if known is not None:
                for delivery in self._deliveries:
                    delivery.written(known, total, at_ns)

    def neighbor_state(self, name: str, state: str, reason: str) -> None:
        """A PE's state machine moved."""
        known = self.states.get(name)
        if known is not None and name not in self._held:
            self.states[name] = SessionState(state, reason or known.reason, known.since)

    def process_lost(self, reason: str) -> None:
        """The session process died; it is started again."""
        self._hub.tell("error", "bgp", reason)
        _log.error("the BGP session process was lost", reason=reason)

    @contextmanager
    def _contained(self, session: int, name: str = "") -> Iterator[None]:
        """Let a defect of the engine cost this session only, and no silence.

        The session begins anew, and so do the engine's tables of it; its peer is told, so are
        the operator and the log.
        """
        try:
            yield
        except Exception as error:
            known = self.engine.sessions.get(session)
            peer = name or (known.opened.peer if known else f"session {session}")
            _log.exception("a defect of the route engine", peer=peer)
            self._hub.tell("error", peer, f"session reset by a defect: {error!r}; see the log")
            self._speaker.notify(session, *_CEASE_RESET, hard=True)

    # What the engine says (vpnctl.routing.engine.Output)

    def send(self, session: int, octets: bytes) -> None:
        """Octets for a PE."""
        self._speaker.send(session, octets)
        if self._hub.macs and (known := self.engine.sessions.get(session)) is not None:
            self._hub.routes(known.opened.peer, octets, sent=True)

    def warn(self, session: int, words: str) -> None:
        """A PE is near a limit of its guard, or beyond it."""
        self._hub.tell("error", self.engine.sessions[session].opened.peer, words)

    def reset(self, session: int, code: int, subcode: int, reason: str) -> None:
        """A PE sent what cannot be repaired (RFC 7606 section 2).

        Where NOTIFICATIONs leave routes what it had said before stays (RFC 8538 section 4), unless
        there was too much of it, or the engine has a defect there.
        """
        opened = self.engine.sessions[session].opened
        peer, hard = opened.peer, code == CEASE or (code, subcode) == update.DEFECT
        self._hub.tell("error", peer, f"session reset: {reason}")
        if code == CEASE and subcode in (TOO_MANY_ROUTES, OUT_OF_RESOURCES):
            self._hold(peer, reason)
        self._speaker.notify(session, code, subcode, hard=hard)
        if opened.graceful_notification and not hard:
            self.restarts.lost(session, restarting=True)

    def _hold(self, peer: str, reason: str) -> None:
        """Keep a session down for as long as its guard says."""
        restart = self._guard_of(peer).restart
        timer = None
        ends = "until 'vpnctl session reset'"
        if restart:
            timer = asyncio.get_running_loop().call_later(restart, self._release, peer)
            ends = f"until {utc_text(self._now() + timedelta(seconds=restart))}"
        self._held[peer] = Held(f"{reason}; it stays down {ends}", timer)

    def _release(self, peer: str) -> None:
        if self._held.pop(peer, None) is not None:
            self._soon()

    def _soon(self) -> None:
        """Bring the session process into line with what is held, from within an event."""
        if self._network is None:
            return

        async def hold() -> None:
            with suppress(SessionProcessError):  # while stopping there is nothing to bring in line
                await self._hold_sessions()

        task = asyncio.get_running_loop().create_task(hold())
        self._resuming.add(task)
        task.add_done_callback(self._resuming.discard)

    def _expect_all(self, network: Network) -> None:
        """Hold End-of-RIB back until every PE that restarts gracefully has said what it has."""
        patience = max(map(time_to_say, network.pes.values()), default=0)
        if patience:
            self.engine.unsettled()
            asyncio.get_running_loop().call_later(patience, self.engine.settled)

    def _settle(self) -> None:
        if not self.engine.is_settled and self._all_have_said():
            self.engine.settled()

    def _all_have_said(self) -> bool:
        """One that has agreed on no restart need not mark the end of what it says."""
        pes = self._network.pes.values() if self._network is not None else ()
        sessions = [self.engine.by_peer.get(pe.name) for pe in pes if time_to_say(pe)]
        return all(
            each is not None
            and (not each.opened.restarts or each.end_of_rib >= each.opened.families)
            for each in sessions
        )

    def _guard_of(self, peer: str) -> Guard:
        pe = self._network.pes.get(peer) if self._network is not None else None
        return Guard() if pe is None else pe.guard
