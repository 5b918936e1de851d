"""The daemon's heart: policy, store, engine and sessions, tied together.

A change goes through one path, whoever asks for it::

    candidate -> checked -> allocated -> committed to the store -> engine -> peers
                                         (durable from here on)

Nothing is sent before the revision is durable, and nothing can fail after it but the sending, so
after a crash the controller comes back with the old policy or the new one, and says which.
"""

from __future__ import annotations

import asyncio
import getpass
import time
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from vpnctl import __version__, policyfiles
from vpnctl.controller import present, views
from vpnctl.controller.candidate import Applied, Candidate, edited, from_files, restored
from vpnctl.controller.events import EventHub, utc_text
from vpnctl.controller.metrics import Metrics
from vpnctl.controller.peers import Peers
from vpnctl.controller.progress import Timeline
from vpnctl.controller.requests import PlanRequest
from vpnctl.errors import (
    ControllerError,
    NotFoundError,
    PolicyError,
    StaleError,
    StoreError,
    UsageError,
    VpnctlError,
)
from vpnctl.model import FAMILIES, Family, Network
from vpnctl.planning.plan import Plan, Policy, file_changes, plan, plan_id
from vpnctl.routing.changes import Move
from vpnctl.routing.engine import Engine
from vpnctl.routing.nlri import from_text
from vpnctl.routing.rewrite import RulesChange, compile_rules
from vpnctl.store import Revision, Store
from vpnctl.store import Step as StoredStep

_log = structlog.get_logger()


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Controller:
    """A running route server.

    ``policies``: the operator's directory; ``store_url``: see `Store.open`; ``now`` and
    ``monotonic`` (nanoseconds) are the clocks.  Use from one event loop.
    """

    def __init__(
        self,
        policies: Path,
        store_url: str,
        *,
        now: Callable[[], datetime] = _utc_now,
        monotonic: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._directory = policies
        self._store_url = store_url
        self._now = now
        self._monotonic = monotonic
        self._lock = asyncio.Lock()
        self._hub = EventHub(now)
        self._snapshot: policyfiles.Snapshot | None = None
        self._fallback: asyncio.Task[None] | None = None
        self._unconfirmed: Revision | None = None
        self._applied = Applied(None, {}, None)
        self._last_change_s = 0.0
        self._store: Store
        self._peers: Peers

    # Life

    async def start(self) -> None:
        """Take up the applied revision, or the policy directory where there is none yet.

        Raises `PolicyError`, `StoreError` or `SessionProcessError`; nothing is left running then.
        """
        self._store = Store.open(self._store_url, clock=self._now)
        try:
            self._take_up()
            assert self._applied.compiled is not None
            ruleset = self._applied.compiled.ruleset
            self._peers = Peers(compile_rules(ruleset).rules, self._hub, self._now)
            await self._peers.start(ruleset.network)
        except BaseException:
            self._store.close()
            raise
        self._unconfirmed = self._store.unconfirmed()
        if self._unconfirmed is not None:
            self._watch_confirmation(self._unconfirmed)

    async def stop(self) -> None:
        """Close all sessions and the store."""
        if self._fallback is not None:
            self._fallback.cancel()
        await self._peers.stop()
        self._store.close()

    def _take_up(self) -> None:
        latest = self._store.latest()
        if latest is None:
            files = self._read()
            allocations = self._store.allocations()
            candidate = from_files("start", "first policy", files, self._applied, allocations)
            latest = self._store.commit(
                base=None,
                files=self._stored(files),
                allocations=candidate.compiled.allocations,
                summary=candidate.summary,
                author=getpass.getuser(),
                kind=candidate.kind,
            )
            self._applied = Applied(latest.number, files, candidate.compiled)
            return
        stored = self._store.files(latest.number)
        files = {self._shown(name): content for name, content in stored.items()}
        candidate = from_files(
            "start", "", files, Applied(latest.number, {}, None), self._store.allocations()
        )
        self._applied = Applied(latest.number, files, candidate.compiled)
        for operation in self._store.pending():
            if operation.revision is not None:
                _log.warning("completing the policy files", revision=operation.revision)
                self._complete_files(operation.revision)
                self._store.journal_finish(operation.id)

    def _complete_files(self, number: int) -> None:
        """Write the files of a revision that was committed, but maybe not written, to disk."""
        changed = self._store.changed_files(number)
        parent = self._store.revision(number).parent
        before = self._store.files(parent) if parent is not None else {}
        self._write(
            {self._shown(name): content for name, content in changed.items()},
            {self._shown(name): content for name, content in before.items()},
        )

    # Files

    def _shown(self, name: str) -> str:
        return str(self._directory / name)

    def _stored(self, files: Mapping[str, bytes | None]) -> dict[str, bytes | None]:
        return {Path(path).name: content for path, content in files.items()}

    def _read(self) -> Mapping[str, bytes]:
        self._snapshot = policyfiles.read(self._directory, self._snapshot)
        return self._snapshot.files

    def _write(
        self, writes: Mapping[str, bytes | None], before: Mapping[str, bytes]
    ) -> tuple[str, ...]:
        """Bring files to disk; those with edits that were never applied are left alone."""
        left_alone = []
        on_disk = self._read()
        for path, content in writes.items():
            if on_disk.get(path) == content:
                continue
            if on_disk.get(path) != before.get(path):
                left_alone.append(path)
                continue
            if content is None:
                Path(path).unlink()
            else:
                policyfiles.replace(Path(path), content.decode())
        for path in left_alone:
            self._hub.tell("error", path, "left alone: it has edits that were not applied")
        return tuple(left_alone)

    # Planning

    @property
    def _engine(self) -> Engine:
        return self._peers.engine

    @property
    def _network(self) -> Network:
        assert self._applied.compiled is not None
        return self._applied.compiled.ruleset.network

    def _candidate(self, request: PlanRequest) -> Candidate:
        if request.kind == "rollback":
            return self._restored(request.revision, "rollback")
        files = self._read()
        if request.kind in ("extend", "retract"):
            return edited(request, self._applied, files)
        if request.kind != "apply":
            raise UsageError(
                f"no change is called {request.kind!r}",
                hint="there are apply, extend, retract and rollback",
            )
        return from_files("apply", f"apply {self._directory}", files, self._applied)

    def _restored(self, number: int | None, kind: str) -> Candidate:
        if number is None:
            assert self._applied.number is not None
            number = self._store.revision(self._applied.number).parent
            if number is None:
                raise NotFoundError(
                    "the first revision has none before it", hint="see 'vpnctl history'"
                )
        stored = self._store.files(number)
        files = {self._shown(name): content for name, content in stored.items()}
        return restored(kind, number, files, self._applied)

    def _moves(self, change: RulesChange) -> tuple[Move, ...]:
        """The moves of peers that are there to be told."""
        sessions = self._engine.by_peer
        return tuple(
            move
            for move in self._engine.preview(change)
            if move.peer in sessions and move.family in sessions[move.peer].opened.families
        )

    def _plan(self, candidate: Candidate, change: RulesChange, most: int) -> Plan:
        assert self._applied.compiled is not None
        return plan(
            base=self._applied.number,
            summary=candidate.summary,
            old=Policy(
                self._applied.files,
                frozenset(self._applied.compiled.allocations),
                self._applied.compiled.ruleset.network,
            ),
            new=Policy(
                candidate.files,
                frozenset(candidate.compiled.allocations),
                candidate.compiled.ruleset.network,
            ),
            vpns=change.vpns,
            moves=self._moves(change),
            routes=most,
        )

    async def plan(self, request: PlanRequest, *, routes: int = 1000) -> Plan:
        """What a change would do; nothing is done."""
        async with self._lock:
            candidate = self._candidate(request)
            change = compile_rules(candidate.compiled.ruleset, self._engine.rules)
            return self._plan(candidate, change, routes)

    # Changing

    async def apply(
        self,
        request: PlanRequest,
        *,
        plan_id: str | None,
        base: int | None,
        confirm_s: float | None,
        author: str,
        wait_s: float = 10.0,
    ) -> views.Applied:
        """Make a change and wait until the peers have it, at most ``wait_s`` seconds.

        ``plan_id``, ``base``: refuse with `StaleError` when they are not what a plan made now
        would say.  ``confirm_s``: undo the change unless `confirm` is called within that time.
        """
        timeline = Timeline(self._monotonic)
        async with self._lock:
            self._refuse_unconfirmed(request)
            with timeline.step("policy checked"):
                candidate = self._candidate(request)
            self._refuse_stale(candidate, plan_id, base)
            return await self._make(candidate, timeline, confirm_s, author, wait_s)

    def _refuse_unconfirmed(self, request: PlanRequest) -> None:
        if self._unconfirmed is not None and request.kind != "rollback":
            raise ControllerError(
                f"revision {self._unconfirmed.number} is not confirmed yet",
                hint="keep it with 'vpnctl confirm' or undo it with 'vpnctl rollback'",
            )

    def _refuse_stale(self, candidate: Candidate, wanted: str | None, base: int | None) -> None:
        if base is not None and base != self._applied.number:
            raise StaleError(
                f"the plan was made on revision {base}, now it is {self._applied.number}",
                hint="make a new plan and look at it",
            )
        if wanted is None:
            return
        now = plan_id(self._applied.number, self._applied.files, candidate.files)
        if wanted != now:
            raise StaleError(
                f"plan {wanted} is not what would be applied now, that is {now}",
                hint="the policy changed since the plan was made: make a new one and look at it",
            )

    async def _make(
        self,
        candidate: Candidate,
        timeline: Timeline,
        confirm_s: float | None,
        author: str,
        wait_s: float,
    ) -> views.Applied:
        before = self._applied
        assert before.compiled is not None
        new_numbers = candidate.compiled.allocations != before.compiled.allocations
        with timeline.step("allocated", "new numbers" if new_numbers else "nothing new"):
            change = compile_rules(candidate.compiled.ruleset, self._engine.rules)
        confirm_by = self._now() + timedelta(seconds=confirm_s) if confirm_s else None
        with timeline.step("stored"):
            revision = await asyncio.to_thread(self._commit, candidate, author, confirm_by)

        # From here on the revision is durable: whatever happens, it is the applied one.
        shown = self._plan(candidate, change, 1000)
        begun = self._monotonic()
        told = self._engine.apply(change)
        self._applied = Applied(revision.number, candidate.files, candidate.compiled)
        timeline.add("routes rewritten", begun, self._monotonic(), f"{len(told)} peers")
        with self._peers.delivery(told, begun) as delivery:
            if shown.sessions:
                with timeline.step("sessions configured"):
                    await self._peers.configure(candidate.compiled.ruleset.network)
            complete = await delivery.wait(wait_s)
        delivery.record(timeline)
        self._last_change_s = self._now().timestamp()
        self._after(revision, candidate, before, timeline)
        return views.Applied(
            present.revision(revision), shown, timeline.steps, complete, delivery.waiting
        )

    def _commit(self, candidate: Candidate, author: str, confirm_by: datetime | None) -> Revision:
        before = self._applied.files
        changed: dict[str, bytes | None] = {
            path: candidate.files.get(path)
            for path in before.keys() | candidate.files.keys()
            if before.get(path) != candidate.files.get(path)
        }
        reverts = [self._unconfirmed.number] if self._unconfirmed is not None else []
        return self._store.commit(
            base=self._applied.number,
            files=self._stored(changed),
            allocations=candidate.compiled.allocations,
            summary=candidate.summary,
            author=author,
            kind=candidate.kind,
            confirm_by=confirm_by,
            restores=candidate.restores,
            reverts=reverts,
            journal={"files": sorted(candidate.writes)} if candidate.writes else None,
        )

    def _after(
        self, revision: Revision, candidate: Candidate, before: Applied, timeline: Timeline
    ) -> None:
        """What remains when the peers have their routes: files, timeline, the confirmation."""
        self._unconfirmed = revision if revision.state == "unconfirmed" else None
        if self._fallback is not None and self._fallback is not asyncio.current_task():
            self._fallback.cancel()
        self._fallback = None
        if self._unconfirmed is not None:
            self._watch_confirmation(revision)
        self._hub.tell("revision", str(revision.number), candidate.summary)
        try:
            if candidate.writes:
                self._write(candidate.writes, before.files)
                if revision.operation is not None:
                    self._store.journal_finish(revision.operation)
            self._store.record_timeline(
                revision.number,
                [StoredStep(s.name, s.start_ms, s.end_ms, s.detail) for s in timeline.steps],
            )
        except (StoreError, OSError) as error:
            # The revision is applied all the same; what is missing is completed at the next start.
            _log.error("after the change", revision=revision.number, error=str(error))
            self._hub.tell("error", str(revision.number), str(error))

    # Confirming

    def _watch_confirmation(self, revision: Revision) -> None:
        self._fallback = asyncio.get_running_loop().create_task(self._fall_back(revision))

    async def _fall_back(self, revision: Revision) -> None:
        """Undo a revision that nobody confirmed in time."""
        assert revision.confirm_by is not None
        await asyncio.sleep(max(0.0, (revision.confirm_by - self._now()).total_seconds()))
        async with self._lock:
            if self._unconfirmed is None or self._unconfirmed.number != revision.number:
                return
            timeline = Timeline(self._monotonic)
            try:
                with timeline.step("policy checked"):
                    candidate = self._restored(revision.parent, "auto-rollback")
                await self._make(candidate, timeline, None, "vpnctl", 10.0)
            except VpnctlError as error:
                _log.error("cannot undo", revision=revision.number, error=error.message)
                self._hub.tell("error", str(revision.number), f"cannot undo: {error.message}")

    async def confirm(self, *, author: str) -> views.Revision:
        """Keep the unconfirmed revision."""
        async with self._lock:
            if self._unconfirmed is None:
                raise UsageError("there is nothing to confirm", hint="see 'vpnctl history'")
            revision = self._store.set_state(self._unconfirmed.number, "confirmed")
            self._unconfirmed = None
            if self._fallback is not None:
                self._fallback.cancel()
                self._fallback = None
            self._hub.tell("revision", str(revision.number), f"confirmed by {author}")
            return present.revision(revision)

    # Asking

    async def status(self) -> views.Status:
        """The controller itself."""
        try:
            differ = self._read() != self._applied.files
        except PolicyError:
            differ = True
        waiting = self._unconfirmed
        return views.Status(
            version=__version__,
            revision=self._applied.number,
            unconfirmed=waiting.number if waiting else None,
            confirm_by=utc_text(waiting.confirm_by) if waiting and waiting.confirm_by else None,
            policies=str(self._directory),
            policies_differ=differ,
            peers_established=len(self._engine.by_peer),
            peers_configured=len(self._network.pes),
            routes=sum(len(rib.entries) for rib in self._engine.ribs.values()),
            listening=self._peers.listening,
            problems=self._peers.problems,
        )

    async def check(self) -> tuple[views.Problem, ...]:
        """Every mistake of the policy directory as it is on disk now."""
        try:
            from_files("apply", "", self._read(), self._applied)
        except PolicyError as error:
            return present.problems(error)
        return ()

    async def history(
        self, limit: int = 50, before: int | None = None
    ) -> tuple[views.Revision, ...]:
        """Revisions, newest first."""
        return tuple(map(present.revision, self._store.history(limit, before)))

    async def revision(self, number: int) -> tuple[views.Revision, tuple[views.Step, ...]]:
        """One revision and its timeline."""
        steps = self._store.timeline(number)
        return present.revision(self._store.revision(number)), tuple(
            views.Step(step.name, step.start_ms, step.end_ms, step.detail) for step in steps
        )

    async def diff(self, old: int, new: int) -> tuple[views.FileChange, ...]:
        """How the policy files of two revisions differ."""
        before, after = (
            {self._shown(name): content for name, content in self._store.files(number).items()}
            for number in (old, new)
        )
        return file_changes(before, after)

    async def peers(self) -> tuple[views.Peer, ...]:
        """Every configured PE."""
        return present.peers(self._engine, self._network, self._peers.states)

    async def vpns(self) -> tuple[views.Vpn, ...]:
        """Every VPN."""
        return present.vpns(self._engine.rules)

    async def sites(self) -> tuple[views.Site, ...]:
        """Every site."""
        return present.sites(self._engine.rules.ruleset)

    async def targets(self) -> tuple[views.Target, ...]:
        """Every route target that is owned or was announced."""
        return present.targets(self._engine)

    def _known(self, peer: str) -> str:
        if peer not in self._network.pes:
            raise NotFoundError(
                f"no PE is called {peer!r}",
                hint=f"there are: {', '.join(sorted(self._network.pes))}",
            )
        return peer

    @staticmethod
    def _family(name: str | None) -> Family | None:
        if name is None:
            return None
        if name not in FAMILIES:
            raise UsageError(
                f"no family is called {name!r}", hint=f"there are: {', '.join(FAMILIES)}"
            )
        return FAMILIES[name]

    async def rib_in(
        self, peer: str, *, family: str | None, vpn: str | None, limit: int
    ) -> tuple[views.Route, ...]:
        """Routes heard from a PE, at most ``limit``."""
        return present.rib_in(self._engine, self._known(peer), self._family(family), vpn, limit)

    async def rib_out(
        self, peer: str, *, family: str | None, vpn: str | None, limit: int
    ) -> tuple[views.Route, ...]:
        """Routes sent to a PE, at most ``limit``."""
        return present.rib_out(self._engine, self._known(peer), self._family(family), vpn, limit)

    async def explain(self, nlri: str, peer: str) -> views.Explanation:
        """Why a PE has, or has not, a route."""
        try:
            family, key = from_text(nlri)
        except ValueError as error:
            raise UsageError(str(error)) from error
        return present.explanation(self._engine, family, key, nlri, self._known(peer))

    def events(self) -> AsyncIterator[views.Event]:
        """What happens from now on."""
        return self._hub.watch()

    def metrics(self) -> bytes:
        """Metrics in the Prometheus text format."""
        return Metrics(
            self._engine, self._network, self._last_change_s, self._applied.number
        ).text()
