"""The PEs as the controller sees them: between the session process and the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import structlog

from vpnctl.bgp.speaker import Speaker
from vpnctl.bgp.wire import NeighborConfig, SessionClosed, SessionOpened
from vpnctl.controller.events import EventHub
from vpnctl.controller.progress import Delivery
from vpnctl.model import FAMILIES, Network
from vpnctl.routing.engine import Engine
from vpnctl.routing.rewrite import Rules
from vpnctl.routing.session import Opened

_log = structlog.get_logger()

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

    async def start(self, network: Network) -> None:
        """Start the session process; raises `SessionProcessError`."""
        await self._speaker.start()
        await self.configure(network)

    async def stop(self) -> None:
        """End every session and the process."""
        await self._speaker.stop()

    @contextmanager
    def delivery(self, told: Iterable[str], begun_ns: int) -> Iterator[Delivery]:
        """Follow what was just sent to the peers named until their sockets took it."""
        by_peer = self.engine.by_peer
        delivery = Delivery([by_peer[peer] for peer in sorted(told)], begun_ns)
        self._deliveries.append(delivery)
        try:
            yield delivery
        finally:
            self._deliveries.remove(delivery)

    async def configure(self, network: Network) -> None:
        """Make the session process hold the sessions of a network, and no others."""
        controller = network.controller
        self._router_id = controller.router_id.packed
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
        configured = await self._speaker.configure(neighbors, controller.listen)
        self.listening = tuple(str(listen) for listen in configured.listening)
        self.problems = tuple(
            f"{problem.subject}: {problem.message}" + (f" ({problem.hint})" if problem.hint else "")
            for problem in configured.problems
        )
        for problem in self.problems:
            self._hub.tell("error", "bgp", problem)
            _log.error("bgp", problem=problem)
        self.states = {name: self.states.get(name, SessionState()) for name in network.pes}

    # What the sessions say (vpnctl.bgp.SpeakerEvents)

    def session_up(self, session: int, opened: SessionOpened) -> None:
        """A PE's session is established."""
        self.states[opened.neighbor] = SessionState("established", "", self._now())
        families = frozenset(_FAMILY_OF[pair] for pair in opened.families if pair in _FAMILY_OF)
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
        self.states[closed.neighbor] = SessionState("idle", closed.reason, self._now())
        self.engine.session_down(session)
        for delivery in self._deliveries:
            delivery.lost(session)
        self._hub.tell("session", closed.neighbor, f"down: {closed.reason}")

    def updates(self, session: int, messages: bytes) -> None:
        """UPDATEs of a PE."""
        self.engine.updates(session, messages)

    def refresh(self, session: int, afi: int, subtype: int, safi: int) -> None:
        """A PE asks for its routes again (RFC 2918); other subtypes demarcate (RFC 7313)."""
        family = _FAMILY_OF.get((afi, safi))
        if family is not None and subtype == 0:
            self.engine.refresh(session, family)

    def written(self, session: int, total: int, at_ns: int) -> None:
        """A PE's socket took ``total`` octets so far."""
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

    # What the engine says (vpnctl.routing.engine.Output)

    def send(self, session: int, octets: bytes) -> None:
        """Octets for a PE."""
        self._speaker.send(session, octets)

    def reset(self, session: int, code: int, subcode: int, reason: str) -> None:
        """A PE sent what cannot be repaired (RFC 7606 section 2)."""
        peer = self.engine.sessions[session].opened.peer
        self._hub.tell("error", peer, f"session reset: {reason}")
        self._speaker.notify(session, code, subcode)
