"""From UPDATE messages to the tables: one session's Adj-RIB-In and its share of the Loc-RIB.

Whatever is wrong with a message ends in one of the ways of RFC 7606: the routes count as
withdrawn, an attribute is discarded, an NLRI is skipped, or `SessionResetError` is raised.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

from vpnctl.model import EVPN, Family, Guard
from vpnctl.model.family import RT_CONSTRAINT
from vpnctl.routing import update
from vpnctl.routing.affordable import affordable
from vpnctl.routing.asking import take_membership
from vpnctl.routing.attributes import (
    Attributes,
    TreatAsWithdrawError,
    check,
    of_segment,
    parse,
    with_kept,
)
from vpnctl.routing.drain import drained
from vpnctl.routing.guard import Account, check_as_path, check_next_hop
from vpnctl.routing.likeness import Likeness, likeness
from vpnctl.routing.long_lived import keeps, marked
from vpnctl.routing.nlri import (
    LEAD_OCTETS,
    MalformedNlriError,
    NlriFramingError,
    is_segment,
    split,
)
from vpnctl.routing.path_ids import split as split_paths
from vpnctl.routing.session import Session
from vpnctl.routing.table import LocRib, Path, Tables, candidates


class Intake:
    """Writes what sessions announce and withdraw into the tables."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._known = {rib.octets: rib for rib in tables.ribs.values()}
        #: By session number: the attributes of the last UPDATE with one NLRI, and what it had in
        #: common with the one before.
        self._last: dict[int, list[bytes]] = {}
        self._alike: dict[int, Likeness] = {}

    def take(self, session: Session, messages: bytes) -> None:
        """Take in whole UPDATE messages.

        Most UPDATEs differ from the one before in their one NLRI alone or in one more value; a
        few comparisons of octets then save taking them apart.  Raises `SessionResetError`.
        """
        template = session.template
        number = session.opened.number
        alike = self._alike.get(number)
        at, end = 0, len(messages)
        try:
            while at < end:
                size = messages[at + 16] << 8 | messages[at + 17]
                start = at + update.HEADER_OCTETS
                at += size
                session.updates_heard += 1
                path = template.path
                if (
                    size == template.size
                    and path is not None
                    and messages.startswith(template.before, start)
                    and messages.endswith(template.after, start, at)
                ):
                    nlri = messages[start + template.nlri_from : at - template.nlri_until]
                    self._announce(session, path, nlri)
                elif (
                    alike is not None
                    and size == alike.size
                    and messages.startswith(alike.first, start)
                    and messages.startswith(alike.second, start + alike.second_at)
                    and messages.startswith(alike.third, start + alike.third_at)
                ):
                    template.size = -1
                    self._take_alike(session, alike, messages[start:at])
                elif size < update.HEADER_OCTETS:
                    raise update.SessionResetError(1, 2, f"a message of {size} octets")
                else:
                    template.size = -1
                    self._take_one(session, messages[start:at])
                    alike = self._alike.get(number)
        except NlriFramingError as error:
            raise update.SessionResetError(3, 10, str(error)) from error

    def forget(
        self,
        session: Session,
        families: Container[Family] = (),
        outlived: Container[Family] = (),
        stale: Container[Family] = (),
    ) -> set[Path]:
        """Take out everything that a session announced, but for paths of some families.

        Those are what is left; they are the session's no more.  ``outlived`` and ``stale``:
        families of which long-lived stale paths and stale paths of earlier sessions are left, too,
        unless all of that is more than the session's guard allows.
        """
        left = {path for path in session.paths.values() if path.family in families}
        earlier = {
            path for path in session.stale if path.family in (outlived if path.outlived else stale)
        }
        if earlier and affordable(session.ledger.guard, left | earlier):
            left |= earlier
        every = (*session.paths.values(), *session.stale)
        self.take_out(path for path in every if path not in left)
        session.paths.clear()
        session.stale.clear()
        session.template.size = -1
        self._last.pop(session.opened.number, None)
        self._alike.pop(session.opened.number, None)
        return left

    def expect_anew(self, session: Session, family: Family) -> None:
        """Make all that a session announced of a family stale; what it announces anew is not."""
        account = Account(family)
        for path in [path for path in session.paths.values() if path.family == family]:
            del session.paths[path.identity]
            session.ledger.close_path(len(path.identity))
            path.account.routes -= len(path.nlris)
            path.account = account
            session.stale.add(path)
        session.template.size = -1
        self._last.pop(session.opened.number, None)
        self._alike.pop(session.opened.number, None)

    def take_out(self, paths: Iterable[Path]) -> None:
        """Withdraw all routes of some paths."""
        for path in paths:
            rib = path.rib
            for key, nlri in path.nlris.items():
                rib.touched.setdefault(key, rib.entries.get(key))
                rib.gone.setdefault(key, nlri)
                if path.slot:
                    rib.plural.add(key)
                rib.remove(key, path)
            path.nlris = {}
            self._tables.drop_path(path)

    def outlive(self, paths: Iterable[Path]) -> set[Path]:
        """Make paths of a PE that stays away long-lived stale (RFC 9494 section 4.2).

        What they are then; those that may not become so are taken out.
        """
        found = set()
        for path in paths:
            if path.outlived:
                found.add(path)
                continue
            if not keeps(path.family, path.heard):
                self.take_out((path,))
                continue
            rib = path.rib
            after = self._tables.new_path(
                path.peer,
                path.peer_address,
                rib,
                path.next_hop,
                path.identity,
                marked(path.attributes),
                path.account,
                path.slot,
            )
            after.heard, after.outlived = path.heard, True
            after.nlris, path.nlris = path.nlris, {}
            for key, nlri in after.nlris.items():
                rib.touched.setdefault(key, rib.entries.get(key))
                rib.gone.setdefault(key, nlri)
                if path.slot:
                    rib.plural.add(key)
                rib.add(key, after)
            self._tables.drop_path(path)
            found.add(after)
        return found

    def drain(self, session: Session, draining: bool) -> None:
        """Make the routes of a session the last choice, or what they were."""
        session.draining = draining
        for path in session.paths.values():
            path.attributes = drained(path.heard) if draining else path.heard
            rib = path.rib
            for key in path.nlris:
                entry = rib.entries[key]
                rib.touched.setdefault(key, entry)
                # Another PE's route to the same place may be the better one now.
                rib.relabelled.update((key, each) for each in candidates(entry))

    def regard(self, session: Session, guard: Guard) -> bool:
        """Take another guard; what it does not allow counts as withdrawn.

        Whether the peer has to be asked for its routes again.
        """
        again = session.ledger.regard(guard)
        for path in list(session.paths.values()):
            try:
                self._check(session, path.next_hop, path.attributes)
            except TreatAsWithdrawError as error:
                session.complain(f"{error}; {len(path.nlris)} {path.family} routes withdrawn")
                for key in list(path.nlris):
                    self._withdraw_key(session, path.rib, key, path.slot)
        session.template.size = -1
        self._last.pop(session.opened.number, None)
        self._alike.pop(session.opened.number, None)
        return again

    @staticmethod
    def _check(session: Session, next_hop: bytes, attributes: Attributes) -> None:
        guard = session.ledger.guard
        check_next_hop(next_hop, guard.next_hops)
        check_as_path(attributes, session.opened.peer_asn, guard)

    def _take_alike(self, session: Session, alike: Likeness, body: bytes) -> None:
        """Take in one UPDATE that has another NLRI and one other value than those before."""
        value_at, value_to = alike.value
        value = body[value_at:value_to]
        before, after = alike.identity
        identity = before + value + after
        path = session.paths.get(identity)
        if path is None:
            base = alike.path
            try:
                session.ledger.open_path(len(identity))
            except TreatAsWithdrawError as error:
                session.complain(f"{error}; 1 {base.family} route taken as withdrawn")
                begin, stop = alike.nlri
                self._withdraw(session, base.rib, body[begin:stop])
                return
            attributes = with_kept(base.heard, alike.kept_at, alike.kept_head + value)
            path = self._tables.path_beside(base, identity, attributes)
            session.paths[identity] = path
            if session.draining:
                path.attributes = drained(attributes)
        begin, stop = alike.nlri
        self._announce(session, path, body[begin:stop])
        if not path.nlris:
            self._retire(session, path)
        elif len(path.nlris) > 1:
            _expect_again(session, path, body, begin, stop)

    def _take_one(self, session: Session, body: bytes) -> None:
        """Take in one UPDATE that is not like the one before."""
        received = update.parse(body)
        if received.attributes and not received.announces:
            try:
                check(received.attributes, session.origin)
            except TreatAsWithdrawError as error:
                # Were there routes that we failed to see?  RFC 7606 section 5.2.
                raise update.SessionResetError(3, 1, f"{error}, and no routes") from error
        if session.membership is not None:
            received = take_membership(session, session.membership, received)
        if received.unreach is not None:
            self._take_unreach(session, received)
        if received.reach is None:
            return
        family, _, field = received.reach
        rib = self._rib(session, family)
        if rib is None:
            return
        if session.slots and rib.octets in session.slots:
            self._take_paths(session, rib, received)
            return
        nlris = split(rib.family, field)
        segments = [nlri for nlri in nlris if rib.family is EVPN and is_segment(nlri)]
        if not segments or len(segments) == len(nlris):
            self._take_reach(session, rib, body, received, nlris, bool(segments))
            return
        others = [nlri for nlri in nlris if not is_segment(nlri)]
        self._take_reach(session, rib, body, received, segments, True)
        self._take_reach(session, rib, body, received, others, False)

    def _take_reach(
        self,
        session: Session,
        rib: LocRib,
        body: bytes,
        received: update.Received,
        nlris: list[bytes],
        segments: bool,
    ) -> None:
        """Take in the routes of an UPDATE; ``segments``: they are Ethernet Segment routes."""
        assert received.reach is not None
        try:
            if received.malformed:
                raise TreatAsWithdrawError(received.malformed)
            path = self._path(session, rib, received.reach[1], received.attributes, segments)
        except TreatAsWithdrawError as error:
            session.complain(f"{error}; {len(nlris)} {rib.family} routes taken as withdrawn")
            for nlri in nlris:
                self._withdraw(session, rib, nlri)
            return
        for nlri in nlris:
            self._announce(session, path, nlri)
        if not path.nlris:
            self._retire(session, path)
            return
        begin, stop = received.nlri_at
        if len(nlris[0]) == stop - begin and received.unreach is None:
            # The message is about this one NLRI and nothing else.
            if len(path.nlris) > 1:
                _expect_again(session, path, body, begin, stop)
            elif not path.attributes.discarded:
                self._expect_alike(session, path, body, received)

    def _take_paths(self, session: Session, rib: LocRib, received: update.Received) -> None:
        """Take in the routes of an UPDATE that have path identifiers (RFC 7911)."""
        assert received.reach is not None
        slots = session.slots[rib.octets]
        refused, untold = 0, True
        for path_id, nlri in split_paths(rib.family, received.reach[2]):
            try:
                key = rib.key_of(nlri)
            except MalformedNlriError as error:
                session.complain(f"{error}; skipped")
                continue
            slot = slots.take(key, path_id)
            if slot is None:
                refused += 1
                continue
            try:
                if received.malformed:
                    raise TreatAsWithdrawError(received.malformed)
                segment = rib.family is EVPN and is_segment(nlri)
                hop, attributes = received.reach[1], received.attributes
                path = self._path(session, rib, hop, attributes, segment, slot)
            except TreatAsWithdrawError as error:
                if untold:
                    session.complain(f"{error}; {rib.family} routes taken as withdrawn")
                untold = False
                self._withdraw_key(session, rib, key, slot)
                continue
            self._announce(session, path, nlri)
            if key not in path.nlris:
                slots.free(key, slot)
            if not path.nlris:
                self._retire(session, path)
        if refused:
            session.ledger.accounts[rib.octets].refused += refused
            session.complain(
                f"{refused} {rib.family} routes not taken in: more than {slots.most} paths to one"
                " destination (add_path.receive)"
            )

    def _expect_alike(
        self, session: Session, path: Path, body: bytes, received: update.Received
    ) -> None:
        """Be ready for UPDATEs that differ from the last two as those do."""
        number = session.opened.number
        before = self._last.get(number)
        self._last[number] = received.attributes
        if before is not None:
            lead_octets = LEAD_OCTETS[path.family]
            found = likeness(before, body, received, path, lead_octets)
            if found is not None:
                self._alike[number] = found

    def _take_unreach(self, session: Session, received: update.Received) -> None:
        assert received.unreach is not None
        family, field = received.unreach
        rib = self._rib(session, family)
        if rib is None:
            return
        if not field and not received.announces and not received.attributes:
            session.end_of_rib.add(rib.family)
        if session.slots and family in session.slots:
            self._withdraw_paths(session, rib, field)
            return
        for nlri in split(rib.family, field):
            self._withdraw(session, rib, nlri)

    def _rib(self, session: Session, family: bytes) -> LocRib | None:
        """The Loc-RIB of a family that the session may speak of."""
        rib = self._known.get(family)
        if rib is not None and family in session.negotiated:
            return rib
        name = RT_CONSTRAINT if rib is None else rib.family
        session.complain(f"routes of {name}, which was not negotiated")
        return None

    def _path(
        self,
        session: Session,
        rib: LocRib,
        next_hop: bytes,
        attributes: list[bytes],
        segments: bool,
        slot: int = 0,
    ) -> Path:
        """The session's path with these attributes, new or known; `TreatAsWithdrawError`."""
        # The length of the next hop keeps two different cuts of the same octets apart.
        lead = bytes((segments | slot << 1, len(next_hop)))
        identity = b"".join((rib.octets, lead, next_hop, *attributes))
        path = session.paths.get(identity)
        if path is not None:
            return path
        parsed = parse(attributes, session.origin)
        if parsed.discarded:
            session.complain(f"discarded: {', '.join(parsed.discarded)}")
        if segments:
            parsed = of_segment(parsed)
        opened, ledger = session.opened, session.ledger
        self._check(session, next_hop, parsed)
        ledger.open_path(len(identity))
        path = self._tables.new_path(
            opened.peer,
            opened.peer_address,
            rib,
            next_hop,
            identity,
            parsed,
            ledger.accounts[rib.octets],
            slot,
        )
        session.paths[identity] = path
        if session.draining:
            path.attributes = drained(parsed)
        return path

    def _retire(self, session: Session, path: Path) -> None:
        """Forget a path that announces nothing any more."""
        if path in session.stale:
            session.stale.discard(path)
        else:
            del session.paths[path.identity]
            session.ledger.close_path(len(path.identity))
        if session.template.path is path:
            session.template.size = -1
        self._tables.drop_path(path)

    def _announce(self, session: Session, path: Path, nlri: bytes) -> None:
        rib = path.rib
        try:
            key = rib.key_of(nlri)
        except MalformedNlriError as error:
            session.complain(f"{error}; skipped")
            return
        entry = rib.entries.get(key)
        account = path.account
        if entry is None:
            if account.routes >= account.mark and not session.ledger.admits(account):
                return
            account.routes += 1
            rib.touched.setdefault(key, None)
            if key in rib.gone:
                rib.relabelled.add((key, path))
            path.nlris[key] = nlri
            rib.entries[key] = path
            return
        known = path.nlris.get(key)
        if known == nlri:
            return
        own: list[Path] = []
        if known is None:
            own = [
                other
                for other in candidates(entry)
                if other.peer == path.peer and other.slot == path.slot
            ]
            if not own or own[0] in session.stale:
                if account.routes >= account.mark and not session.ledger.admits(account):
                    return
                account.routes += 1
        rib.touched.setdefault(key, entry)
        path.nlris[key] = nlri
        if known is not None:
            # The same path with another label: whoever has the route needs it again.
            rib.relabelled.add((key, path))
            return
        if key in rib.gone:
            rib.relabelled.add((key, path))
        for other in own:
            rib.gone.setdefault(key, other.nlris.pop(key))
            if not other.nlris:
                self._retire(session, other)
        if path.slot:
            rib.plural.add(key)
        rib.add(key, path)

    def _withdraw(self, session: Session, rib: LocRib, nlri: bytes) -> None:
        try:
            key = rib.key_of(nlri)
        except MalformedNlriError as error:
            session.complain(f"{error}; skipped")
            return
        self._withdraw_key(session, rib, key, 0)

    def _withdraw_paths(self, session: Session, rib: LocRib, field: bytes) -> None:
        """Withdraw routes that have path identifiers; one that is not known is none."""
        slots = session.slots[rib.octets]
        for path_id, nlri in split_paths(rib.family, field):
            try:
                key = rib.key_of(nlri)
            except MalformedNlriError as error:
                session.complain(f"{error}; skipped")
                continue
            slot = slots.find(key, path_id)
            if slot is not None:
                self._withdraw_key(session, rib, key, slot)

    def _withdraw_key(self, session: Session, rib: LocRib, key: bytes, slot: int) -> None:
        if session.slots and rib.octets in session.slots:
            session.slots[rib.octets].free(key, slot)
        entry = rib.entries.get(key)
        for path in candidates(entry):
            if path.peer == session.opened.peer and path.slot == slot:
                if slot:
                    rib.plural.add(key)
                rib.touched.setdefault(key, entry)
                rib.gone.setdefault(key, path.nlris.pop(key))
                path.account.routes -= 1
                rib.remove(key, path)
                if not path.nlris:
                    self._retire(session, path)


def _expect_again(session: Session, path: Path, body: bytes, begin: int, stop: int) -> None:
    """Be ready for UPDATEs with the path's attributes: a second one came, so a third one may."""
    template = session.template
    template.size = update.HEADER_OCTETS + len(body)
    template.before = body[: begin + LEAD_OCTETS[path.family]]
    template.after = body[stop:]
    template.nlri_from = begin
    template.nlri_until = len(body) - stop
    template.path = path
