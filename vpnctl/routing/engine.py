"""The rewrite engine: UPDATEs of all PEs in, UPDATEs for all PEs out, as bytes.

The engine has no sockets, files or clocks.  It is told what happens (`session_up`, `updates`,
`written`, ...) and calls an `Output` with octets to send::

    UPDATE --> Intake --> Tables --> Delivery --> UPDATE
                            ^
                          Rules

Its state is the Adj-RIB-In of every session and the Loc-RIB; what a peer has (its Adj-RIB-Out)
is never stored, because it follows:

    for each key, the best of the paths that the rules let the peer hear, with its new targets.

Flow routes of our own follow from the rules alone, and those that PEs are trusted with from what
they announce; both stand in the tables beside the others.

Every change is the difference between that function before and after, so what peers hold equals
what a computation from scratch would give them, whatever happened in between.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Set
from typing import NamedTuple

from vpnctl.model import Family, Guard
from vpnctl.model.family import RT_CONSTRAINT
from vpnctl.routing import update
from vpnctl.routing.changes import Move, Plural, Shift, Sight, audience_shifts, moves, shifts
from vpnctl.routing.delivery import Delivery, Output
from vpnctl.routing.flowspec.originated import FlowPath, Originated
from vpnctl.routing.flowspec.routes import FlowRoute
from vpnctl.routing.flowspec.taken import Taken
from vpnctl.routing.intake import Intake
from vpnctl.routing.kept import Told, heard_image, in_steps, superfluous, told_image
from vpnctl.routing.membership import default_request
from vpnctl.routing.rewrite import Rules, RulesChange
from vpnctl.routing.session import Opened, Session
from vpnctl.routing.table import LocRib, Path, Tables, TargetGroup

__all__ = ["Engine", "Output"]


class Stale(NamedTuple):
    """Paths that stay while their PE is away; ``number``: of the session that was lost.

    ``lasting``: families whose paths stay for longer than a restart may take (RFC 9494).
    """

    number: int
    paths: set[Path]
    lasting: frozenset[Family]


class Engine:
    """All routes of all PEs, and who hears which of them with which targets.

    ``sessions``: by number; ``by_peer``: by the name of the PE; ``stale``: routes that stay while
    their PE is away (RFC 4724, RFC 9494), by its name; ``taken``: flow routes of PEs trusted with
    them.
    """

    def __init__(self, rules: Rules, output: Output) -> None:
        self.sessions: dict[int, Session] = {}
        self.by_peer: dict[str, Session] = {}
        self.stale: dict[str, Stale] = {}
        self._settled = True
        self._draining: set[str] = set()
        self._output = output
        self._tables = Tables(rules)
        self._originated = Originated(self._tables)
        self.taken = Taken(self._tables)
        self._intake = Intake(self._tables)
        #: The sessions that are told of changes; see `session_held`.
        self._hearing: dict[str, Session] = {}
        self._delivery = Delivery(self._tables, self._hearing, output)

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

    @property
    def no_stale(self) -> Set[str]:
        """The PEs that take no long-lived stale routes."""
        return self._tables.audience.no_stale

    def hears(self, peer: str, target: bytes) -> bool:
        """Whether a PE announces a route with a target (8 octets)."""
        groups = self._tables.groups_of(target)
        return any(group.peer == peer and group.paths for group in groups)

    def flow_path(self, route: FlowRoute) -> FlowPath:
        """The path of a flow route of the rules in force."""
        return self._originated.path(route)

    # -- sessions --------------------------------------------------------------------------------

    def session_up(self, opened: Opened) -> None:
        """Begin a session and send it its full table, each family closed by an End-of-RIB.

        An earlier session of the same PE ends, as its router has forgotten it.
        """
        session = self._begin(opened)
        stale = self.stale.pop(opened.peer, None)
        if stale is not None:
            session.stale = stale.paths
            self._sweep(session, {path for path in stale.paths if not _still_good(path, opened)})
        self._hearing[opened.peer] = session
        if session.membership is not None:
            self._ask_for_everything(session)
            if opened.restarts:
                return  # it sends End-of-RIB: until then it may not have said what it wants
            session.membership.complete = True
        self._send_everything(session)

    def _begin(self, opened: Opened) -> Session:
        earlier = self.by_peer.get(opened.peer)
        if earlier is not None:
            self.session_down(earlier.opened.number, restarting=True)
        session = Session(opened)
        session.draining = opened.peer in self._draining
        self.sessions[opened.number] = session
        self.by_peer[opened.peer] = session
        self._audience_changes(opened.peer, session)
        return session

    def session_held(self, opened: Opened) -> None:
        """Go on with a session that is up since another engine: `updates` say what it heard.

        Its peer is told nothing before `resume`, since it has what it was told then.
        """
        self._begin(opened)

    def resume(self, number: int, told: Told) -> None:
        """Everything was said that was heard in held sessions: bring one peer up to date.

        ``told``: what it was told.  What of it it is not to have any more is taken back first, what
        it is to have as it is is not sent again.
        """
        session = self.sessions.get(number)
        if session is None:
            return
        self._hearing[session.opened.peer] = session
        sight = Sight(self.rules, {})
        for message in superfluous(session, told.routes, sight, self.ribs):
            self._delivery.say(session, message)
        session.known = told.routes
        membership = session.membership
        if membership is not None:
            self._ask_for_everything(session)
            if session.opened.restarts and not membership.complete:
                return
            membership.complete = True
        self._send_everything(session)

    def image(self, number: int) -> Iterator[tuple[bool, bytes]]:
        """What a session's peer has said (True) and was told (False), for another engine.

        UPDATEs, piece by piece; routes may change between two of them.
        """
        session = self.sessions.get(number)
        if session is not None:
            yield from ((True, piece) for piece in in_steps(heard_image(session)))
            groups = self._tables.groups.values()
            yield from ((False, piece) for piece in in_steps(told_image(session, groups)))

    def _send_everything(self, session: Session) -> None:
        if self._hearing.get(session.opened.peer) is not session:
            return
        for family in sorted(session.opened.families):
            now = self._settled or not session.opened.restarts
            end = [update.end_of_rib(family)] if now else []
            self._delivery.begin_full_table(session, family, [], end)

    @property
    def is_settled(self) -> bool:
        """Whether End-of-RIB is sent as soon as a table is."""
        return self._settled

    def unsettled(self) -> None:
        """We have restarted: End-of-RIB is held back, at which peers drop what we do not know yet.

        RFC 4724 section 4.1; `settled` ends it.
        """
        self._settled = False

    def settled(self) -> None:
        """Every PE that was expected has said what it has, or is not waited for any longer."""
        if self._settled:
            return
        self._settled = True
        for session in self._hearing.values():
            waiting = session.membership is not None and not session.membership.complete
            if session.opened.restarts and not waiting:
                for family in sorted(session.opened.families):
                    self._delivery.end_table(session, family)

    def _ask_for_everything(self, session: Session) -> None:
        """Tell a peer our own route target membership (RFC 4684)."""
        self._delivery.say(session, default_request(session.origin))
        self._delivery.say(session, update.end_of_rib(RT_CONSTRAINT))

    def interest_known(self, number: int) -> None:
        """Wait no longer for what a peer wants (RFC 4684 section 6): send what it asked for."""
        session = self.sessions.get(number)
        if session is None or session.membership is None or session.membership.complete:
            return
        session.membership.complete = True
        session.membership.changed = False
        _put_in_force(self._interest_shifts(session.opened.peer))
        self._send_everything(session)

    def _interest_shifts(self, peer: str) -> tuple[Shift, ...]:
        return audience_shifts(peer, self._tables.groups.values(), self._tables.audience)

    def _audience_changes(self, peer: str, session: Session | None) -> None:
        """Take note of what a PE takes whose session begins or, with None, has ended."""
        tables, audience = self._tables, self._tables.audience
        membership = None if session is None else session.membership
        asked = audience.interests.pop(peer, None)
        if membership is not None:
            audience.interests[peer] = membership
        if session is None or session.opened.long_lived.takes_stale:
            audience.no_stale.discard(peer)
        else:
            audience.no_stale.add(peer)
        groups = tables.stale if asked is membership else tables.groups.values()
        _put_in_force(audience_shifts(peer, groups, audience))

    def _interest_changed(self, session: Session) -> None:
        """Send a peer what it wants now, and take back what it wants no more."""
        membership, peer = session.membership, session.opened.peer
        assert membership is not None
        membership.changed = False
        shifted = self._interest_shifts(peer)
        nothing = RulesChange(self.rules, frozenset(), frozenset(), ())
        told = self.audible(moves(nothing, shifted, self.rules, self.ribs, self._plural()))
        _put_in_force(shifted)
        self._delivery.tell_moves(told)

    def session_down(
        self, number: int, *, restarting: bool = False, spent: frozenset[Family] = frozenset()
    ) -> None:
        """Forget a session; its routes are withdrawn from everybody.

        ``restarting``: the peer may come back; where that was agreed on its routes stay, as
        `stale` ones, until it has, or `stale_expired` and `outlived_expired` are called; not so in
        families whose time is ``spent``.
        """
        session = self.sessions.pop(number, None)
        if session is None:
            return
        opened = session.opened
        del self.by_peer[opened.peer]
        self._hearing.pop(opened.peer, None)
        self._audience_changes(opened.peer, None)
        kept = lasting = frozenset[Family]()
        if restarting:
            lasting = frozenset(f for f, s in opened.long_lived.times.items() if s) - spent
            kept = opened.restartable - spent if opened.stale_time else kept
        again = kept if opened.graceful_notification else frozenset()  # RFC 8538 section 4.1
        left = self._intake.forget(session, kept | lasting, lasting, again)
        # Without the time for a restart they are long-lived from the beginning.
        at_once = {path for path in left if path.family not in kept}
        self._leave(opened.peer, number, left - at_once | self._intake.outlive(at_once), lasting)

    def _leave(self, peer: str, number: int, paths: set[Path], lasting: frozenset[Family]) -> None:
        """Let paths stay while their PE is away, and tell everybody what has changed."""
        self.stale.pop(peer, None)
        if paths:
            self.stale[peer] = Stale(number, paths, lasting)
        self._flush()

    def stale_expired(self, peer: str, number: int) -> None:
        """Wait no longer for a PE to announce anew what session ``number`` had.

        What is to stay for longer becomes long-lived stale where the PE is still away.
        """
        stale = self.stale.get(peer)
        if stale is not None and stale.number == number:
            lasting = {path for path in stale.paths if path.family in stale.lasting}
            self._intake.take_out(stale.paths - lasting)
            self._leave(peer, number, self._intake.outlive(lasting), stale.lasting)
        session = self.by_peer.get(peer)
        if session is not None:
            self._sweep(session, {path for path in session.stale if not path.outlived})

    def outlived_expired(self, peer: str, family: Family) -> None:
        """Let a PE's long-lived stale routes of a family go, whether it is back or not."""
        stale = self.stale.get(peer)
        if stale is not None:
            over = {path for path in stale.paths if path.outlived and path.family == family}
            self._intake.take_out(over)
            self._leave(peer, stale.number, stale.paths - over, stale.lasting)
        session = self.by_peer.get(peer)
        if session is not None:
            over = {path for path in session.stale if path.outlived and path.family == family}
            self._sweep(session, over)

    def forget_stale(self, peer: str) -> None:
        """Let everything go that stays of a PE that is away."""
        stale = self.stale.pop(peer, None)
        if stale is not None:
            self._intake.take_out(stale.paths)
            self._flush()

    def stale_paths(self, peer: str) -> Collection[Path]:
        """The paths of a PE that stay although it has not announced them anew."""
        session = self.by_peer.get(peer)
        if session is not None:
            return session.stale
        return self.stale[peer].paths if peer in self.stale else ()

    def drain(self, peer: str, draining: bool) -> None:
        """Make a PE's routes the last choice of everybody who has others, or end that."""
        (self._draining.add if draining else self._draining.discard)(peer)
        session = self.by_peer.get(peer)
        if session is not None and session.draining != draining:
            self._intake.drain(session, draining)
            self._flush()

    def _sweep_families(self, session: Session, families: Container[Family]) -> None:
        """Take out what is still stale of some families."""
        self._sweep(session, {path for path in session.stale if path.family in families})

    def _sweep(self, session: Session, paths: set[Path]) -> None:
        """Take out some stale paths of a session."""
        if not paths:
            return
        session.stale -= paths
        for path in paths:
            slots = session.slots.get(path.rib.octets)
            if slots is not None:
                for key in path.nlris:
                    slots.free(key, path.slot)
        self._intake.take_out(paths)
        self._flush()

    def refresh(self, number: int, family: Family) -> None:
        """Answer a ROUTE-REFRESH: send the family's full table again (RFC 2918, RFC 7313)."""
        session = self.sessions.get(number)
        if session is not None and family == RT_CONSTRAINT and session.membership is not None:
            self._ask_for_everything(session)
        if session is None or family not in session.opened.families:
            return
        if self._hearing.get(session.opened.peer) is not session:
            return  # it is sent everything soon
        session.known.pop(family, None)
        begin: list[bytes] = []
        end: list[bytes] = []
        if session.opened.enhanced_refresh:
            begin = [update.route_refresh(family, update.BEGINNING_OF_REFRESH)]
            end = [update.route_refresh(family, update.END_OF_REFRESH)]
        self._delivery.begin_full_table(session, family, begin, end)

    def refresh_begins(self, number: int, family: Family) -> None:
        """A peer announces a family's routes anew, from here on to `refresh_ends` (RFC 7313)."""
        session = self.sessions.get(number)
        if session is not None and family in session.opened.families:
            session.refreshing.add(family)
            session.end_of_rib.discard(family)
            self._intake.expect_anew(session, family)

    def refresh_ends(self, number: int, family: Family) -> None:
        """What a peer has not announced anew since `refresh_begins` counts as withdrawn."""
        session = self.sessions.get(number)
        if session is not None and family in session.refreshing:
            session.refreshing.discard(family)
            session.end_of_rib.add(family)
            self._sweep_families(session, {family})

    def written(self, number: int, total: int) -> None:
        """Take note that a peer's socket took ``total`` octets so far; send what waited."""
        session = self.sessions.get(number)
        if session is None:
            return
        session.written_octets = total
        if session.waiting:
            self._delivery.work(session)

    def _flush(self) -> None:
        """Tell everybody what follows from what changed in the tables."""
        self.taken.follow()
        self._delivery.flush()

    # -- routes ----------------------------------------------------------------------------------

    def updates(self, number: int, messages: bytes) -> None:
        """Take in whole UPDATE messages of a session, then send what follows from them."""
        session = self.sessions.get(number)
        if session is None:
            return
        try:
            self._intake.take(session, messages)
            if session.stale and session.end_of_rib:
                self._sweep_families(session, session.end_of_rib)
        except update.SessionResetError as error:
            self._reset(session, error)
        except Exception as error:
            # Whatever a PE says must not cost another PE its routes.
            self._reset(session, update.SessionResetError(*update.DEFECT, f"a defect: {error!r}"))
        else:
            self._flush()
            if session.ledger.notices:
                self._warn(session)
            membership = session.membership
            if membership is not None and not membership.complete:
                if RT_CONSTRAINT in session.end_of_rib:
                    self.interest_known(number)
            elif membership is not None and membership.changed:
                self._interest_changed(session)

    def regard(self, peer: str, guard: Guard) -> None:
        """Guard a PE's session differently from now on.

        What it does not allow any more is withdrawn; what was not allowed before is asked for.
        """
        session = self.by_peer.get(peer)
        if session is None or session.ledger.guard == guard:
            return
        again = self._intake.regard(session, guard)
        self._flush()
        if again:
            self.ask_again(session)

    def ask_again(self, session: Session) -> None:
        """Ask a peer for all its routes, if it understands that."""
        if session.opened.refresh:
            for family in sorted(session.opened.families):
                octets = update.route_refresh(family, update.REFRESH_REQUEST)
                self._delivery.say(session, octets)

    def _warn(self, session: Session) -> None:
        notices, session.ledger.notices = session.ledger.notices or [], None
        for words in notices:
            self._output.warn(session.opened.number, words)

    def _reset(self, session: Session, error: update.SessionResetError) -> None:
        session.complain(error.message)
        number = session.opened.number
        self._output.reset(number, error.code, error.subcode, error.message)
        self.session_down(number)

    # -- rules -----------------------------------------------------------------------------------

    def preview(self, change: RulesChange) -> tuple[Move, ...]:
        """Every route that would change at any PE, without changing anything."""
        reflected = moves(
            change,
            shifts(change, self._tables.groups_of, self._tables.audience),
            self.rules,
            self.ribs,
            self._plural(),
        )
        taken = self.taken.moves(self.taken.planned(change))
        return reflected + self._originated.moves(change) + taken

    def _plural(self) -> Plural:
        return {
            (name, family): most
            for name, session in self.by_peer.items()
            for family, most in session.opened.paths_sent.items()
        }

    def audible(self, moves: Iterable[Move]) -> tuple[Move, ...]:
        """Those moves of which a peer can be told now: its session is up, with that family."""
        families = {name: session.opened.families for name, session in self._hearing.items()}
        return tuple(move for move in moves if move.family in families.get(move.peer, ()))

    def apply(self, change: RulesChange) -> tuple[Move, ...]:
        """Take new rules and send what follows; the moves that peers are told of."""
        shifted = shifts(change, self._tables.groups_of, self._tables.audience)
        originated = self._originated.moves(change)
        reflected = moves(change, shifted, self.rules, self.ribs, self._plural())
        planned = self.taken.planned(change)
        told = self.audible(reflected + originated + self.taken.moves(planned))
        _put_in_force(shifted)
        self._originated.apply(change, originated)
        self._tables.rules = change.rules
        self.taken.apply(change.rules, planned)
        self._delivery.tell_moves(told)
        return told


def _still_good(path: Path, opened: Opened) -> bool:
    """Whether a stale path may stay until its PE, which is back, has said what it has."""
    preserved = opened.long_lived.preserved if path.outlived else opened.preserved
    return path.family in preserved and path.family in opened.families


def _put_in_force(shifted: Iterable[Shift]) -> None:
    for shift in shifted:
        shift.group.allowed, shift.group.verdict = shift.allowed, shift.verdict
