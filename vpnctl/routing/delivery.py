"""From the tables to the peers: what changed, full tables, and what waits for a slow reader.

What a peer has (its Adj-RIB-Out) is never stored.  A change is told as the difference between
what the peer was to have before and after; while a peer has no room, the keys of its changed
routes wait in its backlog, and their state is looked up when there is room again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol

from vpnctl.model import Family
from vpnctl.routing import update
from vpnctl.routing.changes import Move, Sight
from vpnctl.routing.parcel import Parcel
from vpnctl.routing.session import FullTable, Session
from vpnctl.routing.table import Entry, LocRib, Path, Tables, TargetGroup, candidates

#: Routes of a slow peer's backlog that are looked up at one go.
_BACKLOG_STEP = 2000

#: Routes that are told at one go before the peer's room is looked at again.
_STEP = 5000

#: Octets of a full table that are sent at one go.
_FULL_TABLE_OCTETS = 64 * 1024

_NOBODY: Mapping[str, tuple[bytes, ...]] = {}


class Output(Protocol):
    """Where the engine's octets go."""

    def send(self, session: int, octets: bytes) -> None:
        """Send whole BGP messages, in order."""

    def reset(self, session: int, code: int, subcode: int, reason: str) -> None:
        """Send a NOTIFICATION and close the session."""


class Delivery:
    """Tells peers what the tables say."""

    def __init__(self, tables: Tables, by_peer: Mapping[str, Session], output: Output) -> None:
        self._tables = tables
        self._by_peer = by_peer
        self._output = output
        self._pending: list[Session] = []
        self._listeners: dict[TargetGroup, list[tuple[Session, bytes]]] = {}

    # -- what changed --------------------------------------------------------------------------

    def flush(self) -> None:
        """Tell everybody what follows from the touched keys."""
        for rib in self._tables.ribs.values():
            if rib.touched:
                for (old, new), keys in _alike(rib).items():
                    for at in range(0, len(keys), _STEP):
                        self._tell(rib, old, new, keys[at : at + _STEP] if at else keys[:_STEP])
                rib.settled()
        self._listeners.clear()
        self._send_out()

    def _tell(self, rib: LocRib, old: Entry | None, new: Entry | None, keys: list[bytes]) -> None:
        if isinstance(old, tuple) or isinstance(new, tuple):
            self._tell_contested(rib, old, new, keys)
            return
        before = old.group.verdict.sent if old is not None else _NOBODY
        after = _NOBODY
        if new is not None:
            after = new.group.verdict.sent
            listeners = self._listening(new.group)
            if listeners:
                parcel = Parcel(new, keys)
                for session, targets in listeners:
                    self._give(session, parcel, targets, had=session.opened.peer in before)
        lost = before.keys() - after.keys()
        if lost:
            told = [_told(rib, old, key) for key in keys]
            for peer in sorted(lost):
                self._take_back(peer, rib.family, keys, told)

    def _listening(self, group: TargetGroup) -> list[tuple[Session, bytes]]:
        """The sessions that are to have the routes of a group, with their targets in a row."""
        found = self._listeners.get(group)
        if found is None:
            found = self._listeners[group] = [
                (session, b"".join(targets))
                for peer, targets in group.verdict.sent.items()
                if (session := self._by_peer.get(peer)) is not None
                and group.family in session.opened.families
            ]
        return found

    def _tell_contested(
        self, rib: LocRib, old: Entry | None, new: Entry | None, keys: list[bytes]
    ) -> None:
        sight = Sight(self._tables.rules, {})
        peers = {peer for path in (*candidates(old), *candidates(new)) for peer in sight.of(path)}
        for peer in sorted(peers):
            session = self._by_peer.get(peer)
            if session is None or rib.family not in session.opened.families:
                continue
            for key in keys:
                was, now = (sight.pick(peer, entry, rib.family, key) for entry in (old, new))
                if now is None:
                    if was is not None:
                        self._take_back(peer, rib.family, [key], [_told(rib, was, key)])
                elif now is not was or key in rib.relabelled:
                    parcel = Parcel(now, [key])
                    targets = b"".join(sight.of(now)[peer])
                    self._give(session, parcel, targets, had=was is not None)

    def tell_moves(self, moves: Iterable[Move]) -> frozenset[str]:
        """Tell what a change of the rules moves; the names of the peers that are concerned."""
        # Moves of one path share one tuple of keys, so its identity stands for it.
        parcels: dict[tuple[Path, int], Parcel] = {}
        concerned = set()
        for peer, family, old, new, keys in moves:
            session = self._by_peer.get(peer)
            if session is None or family not in session.opened.families:
                continue
            concerned.add(peer)
            if new is not None:
                path, targets = new
                parcel = parcels.get((path, id(keys)))
                if parcel is None:
                    parcel = parcels[path, id(keys)] = Parcel(path, keys)
                self._give(session, parcel, b"".join(targets), had=old is not None)
            elif old is not None:
                self._take_back(peer, family, keys, [old[0].nlris[key] for key in keys])
        self._send_out()
        return frozenset(concerned)

    # -- one peer ------------------------------------------------------------------------------

    def _give(self, session: Session, parcel: Parcel, targets: bytes, *, had: bool) -> None:
        """Announce a parcel to a peer, or put it off while the peer reads slowly."""
        if session.has_room:
            self._queue(session, self._announcement(session, parcel, targets, had=had))
            return
        family = parcel.path.family
        for key, nlri in zip(parcel.keys, parcel.nlris, strict=True):
            session.defer(family, key, nlri if had else None, gone=False)

    def _announcement(
        self, session: Session, parcel: Parcel, targets: bytes, *, had: bool
    ) -> list[bytes]:
        """UPDATEs that tell a peer of a parcel, which then waits for nothing any more.

        A route that cannot be told must not stay as it was (RFC 8654 section 5).
        """
        messages, too_long = parcel.messages(session.kind, targets)
        if session.backlog_size:
            session.told(parcel.path.family, parcel.keys)
        if not too_long:
            return messages
        session.oversized += len(too_long)
        session.last_error = "attributes too long for this peer's messages; routes withheld"
        if not had:
            return messages
        gone = update.withdraw(parcel.path.family, too_long, session.kind.message_size)
        return [*messages, *gone]

    def _take_back(
        self, peer: str, family: Family, keys: Sequence[bytes], told: Sequence[bytes]
    ) -> None:
        """Withdraw routes from a peer, or put it off while the peer reads slowly."""
        session = self._by_peer.get(peer)
        if session is None or family not in session.opened.families:
            return
        if session.has_room:
            session.told(family, keys)
            self._queue(session, update.withdraw(family, told, session.kind.message_size))
            return
        for key, nlri in zip(keys, told, strict=True):
            session.defer(family, key, nlri, gone=True)

    def _queue(self, session: Session, messages: Iterable[bytes]) -> None:
        outbox = session.outbox
        if not outbox:
            self._pending.append(session)
        for message in messages:
            outbox.append(message)
            session.sent_octets += len(message)

    def _send_out(self) -> None:
        pending, self._pending = self._pending, []
        for session in pending:
            messages, session.outbox = session.outbox, []
            if messages:
                session.updates_sent += len(messages)
                self._output.send(session.opened.number, b"".join(messages))

    # -- slow readers and full tables ----------------------------------------------------------

    def work(self, session: Session) -> None:
        """Send from the backlog and the full tables as long as the peer has room."""
        while session.has_room and session.waiting:
            for family, waiting in session.backlog.items():
                if waiting:
                    self._work_off(session, family)
            if session.jobs and session.has_room:
                messages = next(session.jobs[0].steps, None)
                if messages is None:
                    session.jobs.popleft()
                else:
                    self._queue(session, messages)
            self._send_out()

    def _work_off(self, session: Session, family: Family) -> None:
        """Tell a peer the present state of some routes of its backlog."""
        sight = Sight(self._tables.rules, {})
        entries = self._tables.ribs[family].entries
        peer = session.opened.peer
        gone: list[bytes] = []
        alike: dict[tuple[Path, bool], list[bytes]] = {}
        for key, told in session.next_waiting(family, _BACKLOG_STEP):
            path = sight.pick(peer, entries.get(key), family, key)
            if path is not None:
                alike.setdefault((path, told is not None), []).append(key)
            elif told is not None:
                gone.append(told)
        self._queue(session, update.withdraw(family, gone, session.kind.message_size))
        for (path, had), keys in alike.items():
            parcel = Parcel(path, keys)
            targets = b"".join(sight.of(path)[peer])
            self._queue(session, self._announcement(session, parcel, targets, had=had))

    def begin_full_table(
        self, session: Session, family: Family, begin: list[bytes], end: list[bytes]
    ) -> None:
        """Have everything of a family sent to a peer, between two lists of messages.

        A table that is asked for while one has not begun is that one.
        """
        if not any(job.family == family and not job.begun for job in session.jobs):
            job = FullTable(family)
            job.steps = self._full_table(session, job, begin, end)
            session.jobs.append(job)
        self.work(session)

    def _full_table(
        self, session: Session, job: FullTable, begin: list[bytes], end: list[bytes]
    ) -> Iterator[list[bytes]]:
        """UPDATEs with everything a peer is to have, as things are when each is made."""
        job.begun = True
        messages = list(begin)
        octets = 0
        family, peer = job.family, session.opened.peer
        for group in [g for g in self._tables.groups.values() if g.family == family]:
            for path in list(group.paths):
                every = iter(list(path.nlris))
                while some := list(islice(every, _STEP)):
                    targets = group.verdict.sent.get(peer)
                    if targets is None:
                        break
                    keys = self._of_full_table(path, peer, some)
                    if keys:
                        parcel = Parcel(path, keys)
                        made = self._announcement(session, parcel, b"".join(targets), had=True)
                        messages += made
                        octets += sum(map(len, made))
                    if octets >= _FULL_TABLE_OCTETS:
                        yield messages
                        messages, octets = [], 0
        session.loading.discard(family)
        yield messages + end

    def _of_full_table(self, path: Path, peer: str, keys: list[bytes]) -> list[bytes]:
        """Those keys of a path that a peer is to have from it."""
        rib, nlris = path.rib, path.nlris
        if not rib.contested:
            return [key for key in keys if key in nlris]
        sight = Sight(self._tables.rules, {})
        return [
            key
            for key in keys
            if key in nlris
            and (
                key not in rib.contested
                or sight.pick(peer, rib.entries[key], rib.family, key) is path
            )
        ]


def _alike(rib: LocRib) -> dict[tuple[Entry | None, Entry | None], list[bytes]]:
    """The touched keys by their entries before and after."""
    found: dict[tuple[Entry | None, Entry | None], list[bytes]] = {}
    get = rib.entries.get
    keys: list[bytes] = []
    last_old: Entry | None = None
    last_new: Entry | None = None
    for key, old in rib.touched.items():
        new = get(key)
        if new is not last_new or old is not last_old or not keys:
            keys = found.setdefault((old, new), [])
            last_old, last_new = old, new
        keys.append(key)
    return found


def _told(rib: LocRib, path: Path | None, key: bytes) -> bytes:
    """The NLRI with which a peer that had ``path`` knows the route."""
    if path is not None and key in path.nlris:
        return path.nlris[key]
    return rib.gone[key]
