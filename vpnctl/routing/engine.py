"""The rewrite engine: UPDATEs of all PEs in, UPDATEs for all PEs out, as bytes.

The engine has no sockets, files or clocks.  It is told what happens (`session_up`, `updates`,
`written`, ...) and calls an `Output` with octets to send::

    UPDATE --> Intake --> Tables --> Delivery --> UPDATE
                            ^
                          Rules

Its state is the Adj-RIB-In of every session and the Loc-RIB; what a peer has (its Adj-RIB-Out)
is never stored, because it follows:

    for each key, the best of the paths that the rules let the peer hear, with its new targets.

Every change is the difference between that function before and after, so what peers hold equals
what a computation from scratch would give them, whatever happened in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vpnctl.model import Family
from vpnctl.routing import update
from vpnctl.routing.changes import Move, moves, shifts
from vpnctl.routing.delivery import Delivery, Output
from vpnctl.routing.intake import Intake
from vpnctl.routing.rewrite import Rules, RulesChange
from vpnctl.routing.session import Opened, Session
from vpnctl.routing.table import LocRib, Tables, TargetGroup

__all__ = ["Engine", "Output"]


class Engine:
    """All routes of all PEs, and who hears which of them with which targets.

    ``sessions``: by number; ``by_peer``: by the name of the PE.
    """

    def __init__(self, rules: Rules, output: Output) -> None:
        self.sessions: dict[int, Session] = {}
        self.by_peer: dict[str, Session] = {}
        self._output = output
        self._tables = Tables(rules)
        self._intake = Intake(self._tables)
        self._delivery = Delivery(self._tables, self.by_peer, output)

    @property
    def rules(self) -> Rules:
        """The rules in force."""
        return self._tables.rules

    @property
    def ribs(self) -> Mapping[Family, LocRib]:
        """The Loc-RIB of each family."""
        return self._tables.ribs

    @property
    def groups(self) -> Mapping[tuple[str, str, frozenset[bytes]], TargetGroup]:
        """The groups of routes by PE, name of the family and targets."""
        return self._tables.groups

    # -- sessions --------------------------------------------------------------------------------

    def session_up(self, opened: Opened) -> None:
        """Begin a session and send it its full table, each family closed by an End-of-RIB.

        An earlier session of the same PE ends, as its router has forgotten it.
        """
        earlier = self.by_peer.get(opened.peer)
        if earlier is not None:
            self.session_down(earlier.opened.number)
        session = Session(opened)
        self.sessions[opened.number] = session
        self.by_peer[opened.peer] = session
        for family in sorted(opened.families):
            self._delivery.begin_full_table(session, family, [], [update.end_of_rib(family)])

    def session_down(self, number: int) -> None:
        """Forget a session; its routes are withdrawn from everybody."""
        session = self.sessions.pop(number, None)
        if session is None:
            return
        del self.by_peer[session.opened.peer]
        self._intake.forget(session)
        self._delivery.flush()

    def refresh(self, number: int, family: Family) -> None:
        """Answer a ROUTE-REFRESH: send the family's full table again (RFC 2918, RFC 7313)."""
        session = self.sessions.get(number)
        if session is None or family not in session.opened.families:
            return
        begin: list[bytes] = []
        end: list[bytes] = []
        if session.opened.enhanced_refresh:
            begin = [update.route_refresh(family, update.BEGINNING_OF_REFRESH)]
            end = [update.route_refresh(family, update.END_OF_REFRESH)]
        self._delivery.begin_full_table(session, family, begin, end)

    def written(self, number: int, total: int) -> None:
        """Take note that a peer's socket took ``total`` octets so far; send what waited."""
        session = self.sessions.get(number)
        if session is None:
            return
        session.written_octets = total
        if session.waiting:
            self._delivery.work(session)

    # -- routes ----------------------------------------------------------------------------------

    def updates(self, number: int, messages: bytes) -> None:
        """Take in whole UPDATE messages of a session, then send what follows from them."""
        session = self.sessions.get(number)
        if session is None:
            return
        try:
            self._intake.take(session, messages)
        except update.SessionResetError as error:
            self._reset(session, error)
        except Exception as error:
            # Whatever a PE says must not cost another PE its routes.
            self._reset(session, update.SessionResetError(3, 0, f"a defect: {error!r}"))
        else:
            self._delivery.flush()

    def _reset(self, session: Session, error: update.SessionResetError) -> None:
        session.complain(error.message)
        number = session.opened.number
        self._output.reset(number, error.code, error.subcode, error.message)
        self.session_down(number)

    # -- rules -----------------------------------------------------------------------------------

    def preview(self, change: RulesChange) -> tuple[Move, ...]:
        """Every route that would change at any PE, without changing anything."""
        return moves(change, shifts(change, self._tables.groups_of), self.rules, self.ribs)

    def audible(self, moves: Iterable[Move]) -> tuple[Move, ...]:
        """Those moves of which a peer can be told now: its session is up, with that family."""
        families = {name: session.opened.families for name, session in self.by_peer.items()}
        return tuple(move for move in moves if move.family in families.get(move.peer, ()))

    def apply(self, change: RulesChange) -> tuple[Move, ...]:
        """Take new rules and send what follows; the moves that peers are told of."""
        shifted = shifts(change, self._tables.groups_of)
        told = self.audible(moves(change, shifted, self.rules, self.ribs))
        for shift in shifted:
            shift.group.verdict = shift.verdict
        self._tables.rules = change.rules
        self._delivery.tell_moves(told)
        return told
