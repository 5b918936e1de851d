"""The rewrite engine: UPDATEs of all PEs in, UPDATEs for all PEs out, as bytes.

The engine has no sockets, files or clocks.  It is told what happens (`session_up`, `updates`,
`written`, ...) and calls an `Output` with octets to send.  Its state is the Adj-RIB-In of every
session and the Loc-RIB; what a peer has (its Adj-RIB-Out) is never stored, because it follows:

    for each key, the best of the paths that the rules let the peer hear, with its new targets.

Every change is the difference between that function before and after, so what peers hold equals
what a computation from scratch would give them, whatever happened in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Protocol

from vpnctl.model import EVPN, FAMILIES, VPNV4, VPNV6, Family
from vpnctl.routing import update
from vpnctl.routing.attributes import Kind, Rendering, TreatAsWithdrawError, parse, render
from vpnctl.routing.changes import Move, Shift, Sight, moves, shifts
from vpnctl.routing.nlri import KEY_OF, MalformedNlriError, NlriFramingError, split
from vpnctl.routing.rewrite import Rules, RulesChange, rewrite
from vpnctl.routing.session import Opened, Session, Template
from vpnctl.routing.table import Entry, LocRib, Path, TargetGroup, candidates

_NO_TARGETS: frozenset[bytes] = frozenset()

#: Routes of a slow peer's backlog that are looked up at one go.
_BACKLOG_STEP = 2000

#: Routes of a full table that are sent at one go.
_FULL_TABLE_STEP = 5000


class Output(Protocol):
    """Where the engine's octets go."""

    def send(self, session: int, octets: bytes) -> None:
        """Send whole BGP messages, in order."""

    def reset(self, session: int, code: int, subcode: int, reason: str) -> None:
        """Send a NOTIFICATION and close the session."""


class _Parcel:
    """NLRI that share a path, packed once for all peers that get them."""

    __slots__ = ("_fields", "_messages", "_renderings", "nlris", "path")

    def __init__(self, path: Path, nlris: list[bytes]) -> None:
        self.path = path
        self.nlris = nlris
        self._renderings: dict[Kind, Rendering] = {}
        self._fields: dict[int, list[bytes]] = {}
        self._messages: dict[
            tuple[Kind, int, tuple[bytes, ...]], tuple[list[bytes], list[bytes]]
        ] = {}

    def messages(
        self, kind: Kind, size: int, targets: tuple[bytes, ...]
    ) -> tuple[list[bytes], list[bytes]]:
        """The UPDATEs for one kind of peer, and the NLRI that fit none beside the attributes."""
        wanted = kind, size, targets
        found = self._messages.get(wanted)
        if found is not None:
            return found
        rendering = self._renderings.get(kind)
        if rendering is None:
            rendering = self._renderings[kind] = render(self.path.attributes, kind)
        attributes = rendering.with_targets(targets)
        path = self.path
        room = update.room_for_nlri(size, path.next_hop, attributes)
        fields = self._fields.get(room)
        if fields is None:
            fields = self._fields[room] = list(update.chunks(self.nlris, room))
        found = (
            [
                update.announce(path.family, path.next_hop, field, attributes)
                for field in fields
                if len(field) <= room
            ],
            [field for field in fields if len(field) > room],
        )
        self._messages[wanted] = found
        return found


class Engine:
    """All routes of all PEs, and who hears which of them with which targets."""

    def __init__(self, rules: Rules, output: Output) -> None:
        self.rules = rules
        self.sessions: dict[int, Session] = {}
        self.by_peer: dict[str, Session] = {}
        self.ribs: dict[Family, LocRib] = {family: LocRib(family) for family in FAMILIES.values()}
        self.groups: dict[tuple[str, Family, frozenset[bytes]], TargetGroup] = {}
        self._by_target: dict[bytes, set[TargetGroup]] = {}
        self._output = output
        self._out: dict[Session, list[bytes]] = {}

    # -- sessions --------------------------------------------------------------------------------

    def session_up(self, opened: Opened) -> None:
        """Begin a session and send it its full table, each family closed by an End-of-RIB."""
        session = Session(opened)
        self.sessions[opened.number] = session
        self.by_peer[opened.peer] = session
        for family in sorted(opened.families):
            session.jobs.append(self._full_table(session, family, [], [update.end_of_rib(family)]))
        self._work(session)
        self._send_out()

    def session_down(self, number: int) -> None:
        """Forget a session; its routes are withdrawn from everybody."""
        session = self.sessions.pop(number, None)
        if session is None:
            return
        if self.by_peer.get(session.opened.peer) is session:
            del self.by_peer[session.opened.peer]
        for path in list(session.paths.values()):
            rib = self.ribs[path.family]
            for key, nlri in path.nlris.items():
                rib.touched.setdefault(key, rib.entries.get(key))
                rib.gone.setdefault(key, nlri)
                rib.remove(key, path)
            path.nlris = {}
            self._retire(session, path)
        self._flush()

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
        session.jobs.append(self._full_table(session, family, begin, end))
        self._work(session)
        self._send_out()

    def written(self, number: int, total: int) -> None:
        """Take note that a peer's socket took ``total`` octets so far; send what waited."""
        session = self.sessions.get(number)
        if session is None:
            return
        session.written_octets = total
        if session.waiting:
            self._work(session)
            self._send_out()

    # -- routes in ---------------------------------------------------------------------------------

    def updates(self, number: int, messages: bytes) -> None:
        """Take in whole UPDATE messages of a session, then send what follows from them."""
        session = self.sessions.get(number)
        if session is None:
            return
        template = session.template
        at, end = 0, len(messages)
        try:
            while at < end:
                size = messages[at + 16] << 8 | messages[at + 17]
                start, at = at + update.HEADER_OCTETS, at + size
                session.updates_heard += 1
                if (
                    size == template.size
                    and messages.startswith(template.before, start)
                    and messages.startswith(template.after, at - len(template.after))
                    and template.path is not None
                ):
                    nlri = messages[start + len(template.before) : at - len(template.after)]
                    if self._is_one(template.path.family, nlri):
                        self._announce(session, template.path, nlri)
                        continue
                self._take(session, messages[start:at])
        except update.SessionResetError as error:
            session.last_error = error.message
            session.malformed += 1
            self._output.reset(number, error.code, error.subcode, error.message)
            self.session_down(number)
            return
        self._flush()

    @staticmethod
    def _is_one(family: Family, nlri: bytes) -> bool:
        """Whether octets of the same length as one NLRI are one NLRI again, not two short ones."""
        if family is VPNV4 or family is VPNV6:
            return (nlri[0] + 15) // 8 == len(nlri)
        if family is EVPN:
            return nlri[1] + 2 == len(nlri)
        return nlri[0] << 8 | nlri[1] == len(nlri) - 2

    def _take(self, session: Session, body: bytes) -> None:
        """Take in one UPDATE that is not like the one before."""
        session.template.size = -1
        received = update.parse(body)
        if received.unreach is not None:
            family, field = received.unreach
            if family not in session.opened.families:
                self._complain(session, f"routes of {family}, which was not negotiated")
            elif not field and received.reach is None and not received.attributes:
                session.end_of_rib.add(family)
            else:
                for nlri in self._split(family, field):
                    self._withdraw(session, family, nlri)
        if received.reach is None:
            return
        family, next_hop, field = received.reach
        if family not in session.opened.families:
            self._complain(session, f"routes of {family}, which was not negotiated")
            return
        nlris = self._split(family, field)
        try:
            if received.malformed:
                raise TreatAsWithdrawError(received.malformed)
            path = self._path(session, (family, next_hop, received.attributes))
        except TreatAsWithdrawError as error:
            self._complain(session, f"{error}; {len(nlris)} {family} routes taken as withdrawn")
            for nlri in nlris:
                self._withdraw(session, family, nlri)
            return
        for nlri in nlris:
            self._announce(session, path, nlri)
        if not path.nlris:
            self._retire(session, path)
        elif len(nlris) == 1 and received.unreach is None:
            begin, stop = received.nlri_at
            session.template.size = update.HEADER_OCTETS + len(body)
            session.template.before = body[:begin]
            session.template.after = body[stop:]
            session.template.path = path

    @staticmethod
    def _split(family: Family, field: bytes) -> list[bytes]:
        try:
            return split(family, field)
        except NlriFramingError as error:
            raise update.SessionResetError(3, 10, str(error)) from error

    @staticmethod
    def _complain(session: Session, what: str) -> None:
        session.malformed += 1
        session.last_error = what

    def _path(self, session: Session, identity: tuple[Family, bytes, bytes]) -> Path:
        """The session's path with these attributes, new or known; `TreatAsWithdrawError`."""
        path = session.paths.get(identity)
        if path is not None:
            return path
        attributes = parse(identity[2], session.origin)
        if attributes.discarded:
            self._complain(session, f"discarded: {', '.join(attributes.discarded)}")
        targets = _NO_TARGETS if attributes.loop else attributes.targets
        peer, family = session.opened.peer, identity[0]
        group = self.groups.get((peer, family, targets))
        if group is None:
            group = TargetGroup(peer, family, targets, rewrite(self.rules, peer, family, targets))
            self.groups[peer, family, targets] = group
            for target in targets:
                self._by_target.setdefault(target, set()).add(group)
        path = Path(peer, session.opened.peer_address, identity, attributes, group)
        group.paths.add(path)
        session.paths[identity] = path
        return path

    def _retire(self, session: Session, path: Path) -> None:
        """Forget a path that announces nothing any more."""
        session.paths.pop(path.identity, None)
        if session.template.path is path:
            session.template = Template()
        group = path.group
        group.paths.discard(path)
        if group.paths:
            return
        self.groups.pop((group.peer, group.family, group.targets), None)
        for target in group.targets:
            left = self._by_target.get(target)
            if left is not None:
                left.discard(group)
                if not left:
                    del self._by_target[target]

    def _announce(self, session: Session, path: Path, nlri: bytes) -> None:
        family = path.family
        try:
            key = KEY_OF[family](nlri)
        except (MalformedNlriError, IndexError) as error:
            self._complain(session, f"{family}: {error or 'truncated NLRI'}")
            return
        rib = self.ribs[family]
        entry = rib.entries.get(key)
        if entry is None:
            rib.touched.setdefault(key, None)
            path.nlris[key] = nlri
            rib.entries[key] = path
            return
        known = path.nlris.get(key)
        if known == nlri:
            return
        rib.touched.setdefault(key, entry)
        path.nlris[key] = nlri
        if known is not None:
            # The same path with another label: whoever has the route needs it again.
            rib.relabelled.add(key)
            return
        for other in candidates(entry):
            if other.peer == path.peer:
                rib.gone.setdefault(key, other.nlris.pop(key))
                if not other.nlris:
                    self._retire(session, other)
        rib.add(key, path)

    def _withdraw(self, session: Session, family: Family, nlri: bytes) -> None:
        try:
            key = KEY_OF[family](nlri)
        except (MalformedNlriError, IndexError) as error:
            self._complain(session, f"{family}: {error or 'truncated NLRI'}")
            return
        rib = self.ribs[family]
        entry = rib.entries.get(key)
        for path in candidates(entry):
            if path.peer == session.opened.peer:
                rib.touched.setdefault(key, entry)
                rib.gone.setdefault(key, path.nlris.pop(key))
                rib.remove(key, path)
                if not path.nlris:
                    self._retire(session, path)

    # -- routes out --------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Send what follows from the touched keys."""
        for family, rib in self.ribs.items():
            if not rib.touched:
                continue
            entries = rib.entries
            alike: dict[tuple[Entry | None, Entry | None], list[bytes]] = {}
            for key, old in rib.touched.items():
                pair = old, entries.get(key)
                keys = alike.get(pair)
                if keys is None:
                    alike[pair] = [key]
                else:
                    keys.append(key)
            for (old, new), keys in alike.items():
                if isinstance(old, tuple) or isinstance(new, tuple):
                    self._flush_contested(family, old, new, keys)
                else:
                    self._flush_plain(family, old, new, keys)
            rib.touched.clear()
            rib.gone.clear()
            rib.relabelled.clear()
        self._send_out()

    def _flush_plain(
        self, family: Family, old: Path | None, new: Path | None, keys: list[bytes]
    ) -> None:
        before = old.group.verdict.sent if old is not None else {}
        after = new.group.verdict.sent if new is not None else {}
        if new is not None and after:
            parcel = _Parcel(new, [new.nlris[key] for key in keys])
            for peer, targets in after.items():
                session = self.by_peer.get(peer)
                if session is not None and family in session.opened.families:
                    self._give(session, parcel, targets, keys, had=peer in before)
        lost = [peer for peer in before if peer not in after]
        if lost:
            told = [self._told(family, old, key) for key in keys]
            for peer in lost:
                self._tell_gone(peer, family, keys, told)

    def _flush_contested(
        self, family: Family, old: Entry | None, new: Entry | None, keys: list[bytes]
    ) -> None:
        sight = Sight(self.rules, {})
        peers = {peer for path in (*candidates(old), *candidates(new)) for peer in sight.of(path)}
        for peer in sorted(peers):
            for key in keys:
                was, now = (sight.pick(peer, entry, family, key) for entry in (old, new))
                if now is None:
                    if was is not None:
                        self._tell_gone(peer, family, [key], [self._told(family, was, key)])
                elif now is not was or key in self.ribs[family].relabelled:
                    session = self.by_peer.get(peer)
                    if session is not None and family in session.opened.families:
                        parcel = _Parcel(now, [now.nlris[key]])
                        targets = sight.of(now)[peer]
                        self._give(session, parcel, targets, [key], had=was is not None)

    def _told(self, family: Family, path: Path | None, key: bytes) -> bytes:
        """The NLRI with which a peer that had ``path`` knows the route."""
        if path is not None and key in path.nlris:
            return path.nlris[key]
        return self.ribs[family].gone[key]

    def _give(
        self,
        session: Session,
        parcel: _Parcel,
        targets: tuple[bytes, ...],
        keys: Sequence[bytes],
        *,
        had: bool,
    ) -> None:
        """Announce a parcel to a peer, or put it off while the peer reads slowly."""
        family = parcel.path.family
        if not session.has_room:
            for key, nlri in zip(keys, parcel.nlris, strict=True):
                session.defer(family, key, nlri if had else None, gone=False)
            return
        opened = session.opened
        found, too_long = parcel.messages(session.kind, opened.message_size, targets)
        out = self._out.setdefault(session, [])
        out.extend(found)
        if too_long:
            # A route that cannot be told must not stay as it was (RFC 8654 section 5).
            session.oversized += len(too_long)
            session.last_error = "attributes too long for this peer's messages; routes withheld"
            if had:
                out.extend(update.withdraw(family, too_long, opened.message_size))
        session.told(family, keys)

    def _tell_gone(
        self, peer: str, family: Family, keys: Sequence[bytes], told: Sequence[bytes]
    ) -> None:
        """Withdraw routes from a peer, or put it off while the peer reads slowly."""
        session = self.by_peer.get(peer)
        if session is None or family not in session.opened.families:
            return
        if not session.has_room:
            for key, nlri in zip(keys, told, strict=True):
                session.defer(family, key, nlri, gone=True)
            return
        found = update.withdraw(family, told, session.opened.message_size)
        self._out.setdefault(session, []).extend(found)
        session.told(family, keys)

    def _send_out(self) -> None:
        for session, messages in self._out.items():
            self._emit(session, messages)
        self._out.clear()

    def _emit(self, session: Session, messages: list[bytes]) -> None:
        if messages and session.opened.number in self.sessions:
            octets = b"".join(messages)
            session.sent_octets += len(octets)
            session.updates_sent += len(messages)
            self._output.send(session.opened.number, octets)

    def _work(self, session: Session) -> None:
        """Send from the backlog and the full tables as long as the peer has room."""
        while session.has_room and session.waiting:
            for family in sorted(session.backlog):
                self._work_off(session, family)
            self._send_out()
            if session.jobs and session.has_room:
                messages = next(session.jobs[0], None)
                if messages is None:
                    session.jobs.popleft()
                else:
                    self._emit(session, messages)

    def _work_off(self, session: Session, family: Family) -> None:
        """Tell a peer the present state of some routes of its backlog."""
        waiting = session.backlog[family]
        keys = list(islice(waiting, _BACKLOG_STEP))
        sight = Sight(self.rules, {})
        entries = self.ribs[family].entries
        peer = session.opened.peer
        gone: list[bytes] = []
        alike: dict[tuple[Path, bool], list[bytes]] = {}
        for key in keys:
            told = waiting.pop(key)
            path = sight.pick(peer, entries.get(key), family, key)
            if path is not None:
                alike.setdefault((path, told is not None), []).append(key)
            elif told is not None:
                gone.append(told)
        if gone:
            found = update.withdraw(family, gone, session.opened.message_size)
            self._out.setdefault(session, []).extend(found)
        for (path, had), shared in alike.items():
            parcel = _Parcel(path, [path.nlris[key] for key in shared])
            self._give(session, parcel, sight.of(path)[peer], shared, had=had)

    def _full_table(
        self, session: Session, family: Family, begin: list[bytes], end: list[bytes]
    ) -> Iterator[list[bytes]]:
        """UPDATEs with everything a peer is to have, as things are when each is made."""
        yield begin
        peer = session.opened.peer
        rib = self.ribs[family]
        for group in [group for group in self.groups.values() if group.family is family]:
            if peer not in group.verdict.sent:
                continue
            for path in list(group.paths):
                every = list(path.nlris)
                for at in range(0, len(every), _FULL_TABLE_STEP):
                    targets = group.verdict.sent.get(peer)
                    if targets is None:
                        break
                    sight = Sight(self.rules, {})
                    keys = [
                        key
                        for key in every[at : at + _FULL_TABLE_STEP]
                        if key in path.nlris
                        and (
                            key not in rib.contested
                            or sight.pick(peer, rib.entries[key], family, key) is path
                        )
                    ]
                    if keys:
                        parcel = _Parcel(path, [path.nlris[key] for key in keys])
                        opened = session.opened
                        messages, _ = parcel.messages(session.kind, opened.message_size, targets)
                        session.told(family, keys)
                        yield messages
        session.loading.discard(family)
        yield end

    # -- rules -------------------------------------------------------------------------------------

    def preview(self, change: RulesChange) -> tuple[Move, ...]:
        """Every route that would change at any PE, without changing anything."""
        return moves(change, self._shifts(change), self.rules, self.ribs)

    def apply(self, change: RulesChange) -> frozenset[str]:
        """Take new rules and send what follows; the names of the peers that are told something."""
        shifted = self._shifts(change)
        found = moves(change, shifted, self.rules, self.ribs)
        for shift in shifted:
            shift.group.verdict = shift.verdict
        self.rules = change.rules
        parcels: dict[tuple[Path, int], _Parcel] = {}
        told = set()
        for move in found:
            session = self.by_peer.get(move.peer)
            if session is None or move.family not in session.opened.families:
                continue
            told.add(move.peer)
            if move.new is None:
                # A move without a new path has an old one.
                assert move.old is not None
                nlris = [move.old[0].nlris[key] for key in move.keys]
                self._tell_gone(move.peer, move.family, move.keys, nlris)
                continue
            path, targets = move.new
            # Moves of one path share one tuple of keys, which ``found`` keeps alive.
            parcel = parcels.get((path, id(move.keys)))
            if parcel is None:
                parcel = _Parcel(path, [path.nlris[key] for key in move.keys])
                parcels[path, id(move.keys)] = parcel
            self._give(session, parcel, targets, move.keys, had=move.old is not None)
        self._send_out()
        return frozenset(told)

    def _shifts(self, change: RulesChange) -> tuple[Shift, ...]:
        return shifts(change, lambda target: self._by_target.get(target, ()))
