"""From the tables to the peers: what changed, full tables, and what waits for a slow reader.

What a peer has (its Adj-RIB-Out) is never stored.  A change is told as the difference between
what the peer was to have before and after; while a peer has no room, the keys of its changed
routes wait in its backlog, and their state is looked up when there is room again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby, islice
from typing import Protocol

from vpnctl.model import Family
from vpnctl.routing import update
from vpnctl.routing.changes import Move, Sight
from vpnctl.routing.parcel import Batch, Parcel, Recall, withdrawal
from vpnctl.routing.path_ids import PATH_ID_OCTETS
from vpnctl.routing.rendering import render
from vpnctl.routing.session import FullTable, Session
from vpnctl.routing.table import Entry, LocRib, Path, Tables, TargetGroup, candidates

#: Routes of a slow peer's backlog that are looked up at one go.
_BACKLOG_STEP = 2000

#: Routes that are told at one go before the peer's room is looked at again.
_STEP = 5000

#: The same, where each parcel holds few of them.
_PARCELS_STEP = 500

#: Octets of a full table that are sent at one go.
_FULL_TABLE_OCTETS = 64 * 1024


class Output(Protocol):
    """Where the engine's octets go."""

    def send(self, session: int, octets: bytes) -> None:
        """Send whole BGP messages, in order."""

    def reset(self, session: int, code: int, subcode: int, reason: str) -> None:
        """Send a NOTIFICATION and close the session."""

    def warn(self, session: int, words: str) -> None:
        """Tell the operator what a session's guard has noticed."""


class Delivery:
    """Tells peers what the tables say."""

    def __init__(self, tables: Tables, by_peer: Mapping[str, Session], output: Output) -> None:
        self._tables = tables
        self._by_peer = by_peer
        self._output = output
        self._pending: list[Session] = []

    # -- what changed --------------------------------------------------------------------------

    def flush(self) -> None:
        """Tell everybody what follows from the touched keys."""
        for rib in self._tables.ribs.values():
            if rib.touched:
                self._flush(rib)
                rib.settled()
        self._send_out()

    def _flush(self, rib: LocRib) -> None:
        come: dict[TargetGroup, list[Parcel]] = {}
        gone: dict[TargetGroup, tuple[list[bytes], list[Path]]] = {}
        for (old, new), every in _alike(rib).items():
            if old is None and isinstance(new, Path) and len(every) <= _STEP:
                # Nearly every change: a route comes, and one PE has it.
                if new.group.verdict.sent:
                    come.setdefault(new.group, []).append(Parcel(new, every))
                continue
            for at in range(0, len(every), _STEP):
                keys = every[at : at + _STEP]
                if isinstance(old, tuple) or isinstance(new, tuple):
                    self._tell_contested(rib, old, new, keys)
                elif old is not None and new is not None:
                    if old is new:
                        # Another PE came and went, which concerns nobody who hears this one.
                        keys = [key for key in keys if (key, new) in rib.relabelled]
                    elif old.identity == new.identity and old.group is new.group:
                        # A PE has restarted, and announces what was stale.
                        gone_nlri = rib.gone.get
                        keys = [k for k in keys if gone_nlri(k) != new.nlris[k] or k in rib.plural]
                    if keys:
                        self._tell_changed(rib, old, new, keys)
                elif new is not None:
                    if new.group.verdict.sent:
                        come.setdefault(new.group, []).append(Parcel(new, keys))
                elif old is not None:
                    leaving = gone.setdefault(old.group, ([], []))
                    leaving[0].extend(keys)
                    leaving[1].extend([old] * len(keys))
        for group, parcels in come.items():
            listening = self._listening(group)
            for at in range(0, len(parcels), _PARCELS_STEP):
                batch = Batch(parcels[at : at + _PARCELS_STEP])
                for session, targets in listening:
                    self._give(session, batch, targets, had=False)
        for group, (every, paths) in gone.items():
            listening = self._listening(group)
            for at in range(0, len(every), _STEP):
                keys = every[at : at + _STEP]
                nlris = [rib.gone[key] for key in keys]
                recall = Recall(rib.family, keys, nlris, paths[at : at + _STEP])
                for session, _ in listening:
                    self._take_back(session, recall)

    def _tell_changed(self, rib: LocRib, old: Path, new: Path, keys: list[bytes]) -> None:
        """Tell of routes that one PE announces and one announced before."""
        before, after = old.group.verdict.sent, new.group.verdict.sent
        batch = Batch([Parcel(new, keys)])
        beside: frozenset[Session] | set[Session] = frozenset()
        if old.peer != new.peer or old.slot != new.slot:
            # To who is told path identifiers it is another route.
            listening = self._listening(old.group)
            beside = {each for each, _ in listening if rib.family in each.opened.paths_sent}
        for session, targets in self._listening(new.group):
            had = session.opened.peer in before and session not in beside
            self._give(session, batch, targets, had=had)
        leaving = [
            each
            for each, _ in self._listening(old.group)
            if each.opened.peer not in after or each in beside
        ]
        if leaving:
            nlris = [_told(rib, old, key) for key in keys]
            recall = Recall(rib.family, keys, nlris, [old] * len(keys))
            for session in leaving:
                self._take_back(session, recall)

    def _listening(self, group: TargetGroup) -> list[tuple[Session, bytes]]:
        """The sessions that are to have the routes of a group, with their targets in a row."""
        return [
            (session, b"".join(targets))
            for peer, targets in group.verdict.sent.items()
            if (session := self._by_peer.get(peer)) is not None
            and group.family in session.opened.families
        ]

    def _tell_contested(
        self, rib: LocRib, old: Entry | None, new: Entry | None, keys: list[bytes]
    ) -> None:
        sight = Sight(self._tables.rules, {})
        peers = {peer for path in (*candidates(old), *candidates(new)) for peer in sight.of(path)}
        for peer in sorted(peers):
            session = self._by_peer.get(peer)
            if session is None or rib.family not in session.opened.families:
                continue
            most = session.opened.paths_sent.get(rib.family)
            if most is not None:
                for key in keys:
                    had = sight.leading(peer, old, rib.family, key, most)
                    has = sight.leading(peer, new, rib.family, key, most)
                    self._tell_paths(session, sight, key, had, has)
                continue
            for key in keys:
                was, now = (sight.pick(peer, entry, rib.family, key) for entry in (old, new))
                if now is None:
                    if was is not None:
                        recall = Recall(rib.family, [key], [_told(rib, was, key)], [was])
                        self._take_back(session, recall)
                elif now is not was or (key, now) in rib.relabelled:
                    batch = Batch([Parcel(now, [key])])
                    targets = b"".join(sight.of(now)[peer])
                    self._give(session, batch, targets, had=was is not None)

    def _tell_paths(
        self, session: Session, sight: Sight, key: bytes, had: list[Path], has: list[Path]
    ) -> None:
        """Tell a peer that is told path identifiers which paths to one destination it has now."""
        before = {path.path_id: path for path in had}
        now = {path.path_id for path in has}
        for path in has:
            known = before.get(path.path_id)
            if known is not path or (key, path) in path.rib.relabelled:
                targets = b"".join(sight.of(path)[session.opened.peer])
                batch = Batch([Parcel(path, [key])])
                self._give(session, batch, targets, had=known is not None)
        for path in had:
            if path.path_id not in now:
                recall = Recall(path.family, [key], [_told(path.rib, path, key)], [path])
                self._take_back(session, recall)

    def tell_moves(self, moves: Iterable[Move]) -> None:
        """Tell peers, whose sessions are up, what a change of the rules moves."""
        # Moves of one path share one tuple of keys, so its identity stands for it.
        parcels: dict[tuple[Path, int], Parcel] = {}
        recalls: dict[tuple[Path, int], Recall] = {}
        batch: Batch | None = None
        for (peer, family, targets, had), alike in groupby(moves, _recipient):
            session = self._by_peer[peer]
            if targets is None:
                for _, _, old, _, keys in alike:
                    if old is not None:
                        recall = recalls.get((old[0], id(keys)))
                        if recall is None:
                            nlris = [old[0].nlris[key] for key in keys]
                            recall = Recall(family, keys, nlris, [old[0]] * len(keys))
                            recalls[old[0], id(keys)] = recall
                        self._take_back(session, recall)
                continue
            while some := list(islice(alike, _PARCELS_STEP)):
                together = []
                for _, _, _, new, keys in some:
                    assert new is not None
                    parcel = parcels.get((new[0], id(keys)))
                    if parcel is None:
                        parcel = parcels[new[0], id(keys)] = Parcel(new[0], keys)
                    together.append(parcel)
                if batch is None or batch.parcels != together:
                    # Mostly the next peer gets what the one before got.
                    batch = Batch(together)
                self._give(session, batch, b"".join(targets), had=had)
        self._send_out()

    # -- one peer ------------------------------------------------------------------------------

    def _give(self, session: Session, batch: Batch, targets: bytes, *, had: bool) -> None:
        """Announce a batch to a peer, or put it off while the peer reads slowly.

        ``had``: whether the peer has its routes already, in another way.
        """
        if session.has_room:
            self._announce(session, batch, targets, had=had)
            return
        family = batch.family
        for parcel in batch.parcels:
            places = session.places(parcel.path, parcel.keys)
            for place, nlri in zip(places, parcel.nlris, strict=True):
                session.defer(family, place, nlri if had else None, gone=False)

    def _announce(self, session: Session, batch: Batch, targets: bytes, *, had: bool) -> int:
        """Tell a peer of a batch, which then waits for nothing any more; how many octets."""
        before = session.sent_octets
        sheet = batch.sheet(session.kind_for(batch.family), len(targets))
        if session.backlog_size:
            for parcel in batch.parcels:
                session.told(batch.family, session.places(parcel.path, parcel.keys))
        self._queue(session, sheet.filled(targets), sheet.updates)
        if sheet.withheld:
            session.oversized += len(sheet.withheld)
            session.last_error = "attributes too long for this peer's messages; routes withheld"
            if had:
                # What cannot be told must not stay as it was (RFC 8654 section 5).
                size = session.kind.message_size
                self._queue(session, *withdrawal(batch.family, sheet.withheld, size))
        return session.sent_octets - before

    def _take_back(self, session: Session, recall: Recall) -> None:
        """Withdraw routes from a peer, or put it off while the peer reads slowly."""
        kind = session.kind_for(recall.family)
        if session.has_room:
            if session.backlog_size:
                session.told(recall.family, recall.places(kind))
            self._queue(session, *recall.messages(kind))
            return
        for place, nlri in zip(recall.places(kind), recall.nlris, strict=True):
            session.defer(recall.family, place, nlri, gone=True)

    def _queue(self, session: Session, messages: bytes, count: int) -> None:
        """Put ``count`` messages on their way to a peer."""
        if not messages:
            return
        if not session.outbox:
            self._pending.append(session)
        session.outbox.append(messages)
        session.sent_octets += len(messages)
        session.updates_sent += count

    def say(self, session: Session, message: bytes) -> None:
        """Send a peer one message that is no UPDATE."""
        session.sent_octets += len(message)
        self._output.send(session.opened.number, message)

    def _send_out(self) -> None:
        pending, self._pending = self._pending, []
        for session in pending:
            messages, session.outbox = session.outbox, []
            self._output.send(session.opened.number, b"".join(messages))

    # -- slow readers and full tables ----------------------------------------------------------

    def work(self, session: Session) -> None:
        """Send from the backlog and the full tables as long as the peer has room.

        An `Output` that reports octets as written while it is given them comes back here; the
        work goes on where it was.
        """
        if session.working:
            return
        session.working = True
        try:
            while session.has_room and session.waiting:
                for family, waiting in session.backlog.items():
                    if waiting:
                        self._work_off(session, family)
                full_table = session.jobs[0] if session.jobs and session.has_room else None
                if full_table is not None and next(full_table.steps, None) is None:
                    session.jobs.popleft()
                self._send_out()
        finally:
            session.working = False

    def _work_off(self, session: Session, family: Family) -> None:
        """Tell a peer the present state of some routes of its backlog."""
        sight = Sight(self._tables.rules, {})
        entries = self._tables.ribs[family].entries
        peer = session.opened.peer
        most = session.opened.paths_sent.get(family)
        gone: list[bytes] = []
        alike: dict[tuple[Path, bool], list[bytes]] = {}
        for place, told in session.next_waiting(family, _BACKLOG_STEP):
            if most is None:
                key, path_id = place, b""
                path = sight.pick(peer, entries.get(key), family, key)
            else:
                key, path_id = place[PATH_ID_OCTETS:], place[:PATH_ID_OCTETS]
                paths = sight.leading(peer, entries.get(key), family, key, most)
                path = next((each for each in paths if each.path_id == path_id), None)
            if path is not None:
                alike.setdefault((path, told is not None), []).append(key)
            elif told is not None:
                gone.append(path_id + told)
        self._queue(session, *withdrawal(family, gone, session.kind.message_size))
        for (path, had), keys in alike.items():
            batch = Batch([Parcel(path, keys)])
            self._announce(session, batch, b"".join(sight.of(path)[peer]), had=had)

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

    def end_table(self, session: Session, family: Family) -> None:
        """Send End-of-RIB behind everything that is on its way already."""
        job = FullTable(family)
        job.steps = self._end_of_table(session, job)
        session.jobs.append(job)
        self.work(session)

    def _end_of_table(self, session: Session, job: FullTable) -> Iterator[int]:
        job.begun = True
        self._queue(session, update.end_of_rib(job.family), 1)
        yield 0

    def _full_table(
        self, session: Session, job: FullTable, begin: list[bytes], end: list[bytes]
    ) -> Iterator[int]:
        """Queue everything a peer is to have, as things are at each step; yields octets."""
        job.begun = True
        octets = 0
        family, peer = job.family, session.opened.peer
        self._queue(session, b"".join(begin), len(begin))
        for group in [g for g in self._tables.groups.values() if g.family == family]:
            for path in list(group.paths):
                every = iter(list(path.nlris))
                while some := list(islice(every, _STEP)):
                    targets = group.verdict.sent.get(peer)
                    if targets is None:
                        break
                    keys = self._of_full_table(path, session, some)
                    if family in session.known:
                        keys = _otherwise(session, path, keys, b"".join(targets))
                    if keys:
                        batch = Batch([Parcel(path, keys)])
                        octets += self._announce(session, batch, b"".join(targets), had=True)
                    if octets >= _FULL_TABLE_OCTETS:
                        yield octets
                        octets = 0
        session.loading.discard(family)
        session.known.pop(family, None)
        self._queue(session, b"".join(end), len(end))

    def _of_full_table(self, path: Path, session: Session, keys: list[bytes]) -> list[bytes]:
        """Those keys of a path that a peer is to have from it."""
        rib, nlris = path.rib, path.nlris
        if not rib.contested:
            return [key for key in keys if key in nlris]
        sight = Sight(self._tables.rules, {})
        peer, most = session.opened.peer, session.opened.paths_sent.get(rib.family, 1)
        return [
            key
            for key in keys
            if key in nlris
            and (
                key not in rib.contested
                or path in sight.leading(peer, rib.entries[key], rib.family, key, most)
            )
        ]


def _otherwise(session: Session, path: Path, keys: list[bytes], targets: bytes) -> list[bytes]:
    """Those keys of a path that a peer does not know as it is to have them."""
    known, kind = session.known[path.family], session.kind_for(path.family)
    before, after = render(path.attributes, kind).around(len(targets))
    attributes = before + targets + after
    path_id = path.path_id if kind.path_ids else b""
    return [
        key
        for key in keys
        if known.get(path_id + key) != (path_id + path.nlris[key], path.next_hop, attributes)
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


def _recipient(move: Move) -> tuple[str, Family, tuple[bytes, ...] | None, bool]:
    """Who is told of a move with which targets, and whether the peer has the routes already."""
    new = move.new
    return move.peer, move.family, None if new is None else new[1], move.old is not None


def _told(rib: LocRib, path: Path, key: bytes) -> bytes:
    """The NLRI with which a peer that had ``path`` knows the route."""
    return path.nlris[key] if key in path.nlris else rib.gone[key]
