"""The PEs as the controller sees them: between the session process and the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import structlog

from vpnctl.bgp.speaker import Speaker
from vpnctl.bgp.wire import Configured, NeighborConfig, SessionClosed, SessionOpened
from vpnctl.controller.events import EventHub
from vpnctl.controller.progress import Delivery
from vpnctl.errors import SessionProcessError
from vpnctl.model import FAMILIES, Listen, Network
from vpnctl.routing.engine import Engine
from vpnctl.routing.rewrite import Rules
from vpnctl.routing.session import Opened

_log = structlog.get_logger()

#: Cease, administrative reset (RFC 4486).
_CEASE_RESET = (6, 4)

_FAMILY_OF = {(family.afi, family.safi): family for family in FAMILIES.values()}


@dataclass(frozen=True, slots=True)
class SessionState:
    """Where a PE's session stands, since when, and why the last one ended."""

    state: str = "idle"
    reason: str = ""
    since: datetime | None = None


class Peers:
    """Owns the session process and the engine, and carries octets from one to the other.

    It hears the sessions (`vpnctl.bgp.speaker.SpeakerEvents`) and is where the engine's octets
    go (`vpnctl.routing.engine.Output`).
    """

    def __init__(self, rules: Rules, hub: EventHub, now: Callable[[], datetime]) -> None:
        self.engine = Engine(rules, self)
        self.states: dict[str, SessionState] = {}
        self.problems: tuple[str, ...] = ()
        self.listening: tuple[str, ...] = ()
        self._hub = hub
        self._now = now
        self._speaker = Speaker(self)
        self._router_id = b""
        self._deliveries: list[Delivery] = []

    async def start(self, listens: Iterable[Listen]) -> None:
        """Start the session process and listen; no session can come up before `configure`.

        Raises `SessionProcessError`, also when one of the addresses cannot be had: a route server
        that its PEs cannot reach must not look as if it were there.
        """
        await self._speaker.start()
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

    async def stop(self) -> None:
        """End every session and the process."""
        await self._speaker.stop()

    def follow(self, told: Iterable[str], begun_ns: int) -> Delivery:
        """Follow what was just sent to the peers named until `unfollow`."""
        by_peer = self.engine.by_peer
        delivery = Delivery([by_peer[peer] for peer in sorted(told)], begun_ns)
        self._deliveries.append(delivery)
        return delivery

    def unfollow(self, delivery: Delivery) -> None:
        """End what `follow` began."""
        self._deliveries.remove(delivery)

    async def configure(self, network: Network) -> None:
        """Make the session process hold the sessions of a network, and no others.

        What could not be done is in `problems` afterwards.  Raises `SessionProcessError` when the
        process is not running.
        """
        controller = network.controller
        self._router_id = controller.router_id.packed
        self.states = {name: self.states.get(name, SessionState()) for name in network.pes}
        neighbors = [
            NeighborConfig(
                name=pe.name,
                peer_address=pe.address,
                local_address=pe.listen.address,
                listen_port=pe.listen.port,
                peer_port=pe.bgp_port,
                local_asn=controller.asn,
                peer_asn=pe.asn,
                router_id=controller.router_id,
                families=tuple((family.afi, family.safi) for family in sorted(pe.families)),
                hold_time=pe.hold_time,
                passive=pe.passive,
            )
            for pe in network.pes.values()
        ]
        self._take_note(await self._speaker.configure(neighbors, controller.listen))

    def _take_note(self, configured: Configured) -> None:
        self.listening = tuple(str(listen) for listen in configured.listening)
        self.problems = tuple(
            f"{problem.subject}: {problem.message}" + (f" ({problem.hint})" if problem.hint else "")
            for problem in configured.problems
        )
        for problem in self.problems:
            self._hub.tell("error", "bgp", problem)
            _log.error("bgp", problem=problem)

    # What the sessions say (vpnctl.bgp.SpeakerEvents)

    def session_up(self, session: int, opened: SessionOpened) -> None:
        """A PE's session is established."""
        if opened.neighbor not in self.states:
            return  # the PE was just taken out of the policy; the session is being closed
        self.states[opened.neighbor] = SessionState("established", "", self._now())
        families = frozenset(_FAMILY_OF[pair] for pair in opened.families if pair in _FAMILY_OF)
        with self._contained(session, opened.neighbor):
            self.engine.session_up(
                Opened(
                    number=session,
                    peer=opened.neighbor,
                    peer_address=opened.peer_address.packed,
                    peer_router_id=opened.peer_router_id.packed,
                    peer_asn=opened.peer_asn,
                    local_asn=opened.local_asn,
                    router_id=self._router_id,
                    families=families,
                    asn4=opened.asn4,
                    message_size=opened.message_size,
                    enhanced_refresh=opened.refresh == "enhanced",
                )
            )
        names = ", ".join(family.name for family in sorted(families)) or "no family in common"
        self._hub.tell("session", opened.neighbor, f"established ({names})")

    def session_down(self, session: int, closed: SessionClosed) -> None:
        """A PE's session ended; its routes go."""
        if closed.neighbor in self.states:
            self.states[closed.neighbor] = SessionState("idle", closed.reason, self._now())
        self.engine.session_down(session)
        for delivery in self._deliveries:
            delivery.lost(session)
        self._hub.tell("session", closed.neighbor, f"down: {closed.reason}")

    def updates(self, session: int, messages: bytes) -> None:
        """UPDATEs of a PE."""
        with self._contained(session):
            self.engine.updates(session, messages)

    def refresh(self, session: int, afi: int, subtype: int, safi: int) -> None:
        """A PE asks for its routes again (RFC 2918); other subtypes demarcate (RFC 7313)."""
        family = _FAMILY_OF.get((afi, safi))
        if family is not None and subtype == 0:
            with self._contained(session):
                self.engine.refresh(session, family)

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
        if known is not None:
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
            self._speaker.notify(session, *_CEASE_RESET)

    # What the engine says (vpnctl.routing.engine.Output)

    def send(self, session: int, octets: bytes) -> None:
        """Octets for a PE."""
        self._speaker.send(session, octets)

    def reset(self, session: int, code: int, subcode: int, reason: str) -> None:
        """A PE sent what cannot be repaired (RFC 7606 section 2)."""
        peer = self.engine.sessions[session].opened.peer
        self._hub.tell("error", peer, f"session reset: {reason}")
        self._speaker.notify(session, code, subcode)
