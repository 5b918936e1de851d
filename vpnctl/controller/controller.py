"""The daemon's heart: policy, store, engine and sessions, tied together.

A change goes through one path, whoever asks for it::

    candidate -> checked -> allocated -> committed to the store -> engine -> peers
                                   |     (durable from here on)
                                   v               |
                         routers: commit,          +-> routers: confirm
                                  which undoes itself

Nothing is sent before the revision is durable, and nothing can fail after it but the sending, so
after a crash the controller comes back with the old policy or the new one, and says which.

Routers that the controller configures itself commit before the revision does, and keep what they
have committed after it (`vpnctl.provisioning.transaction`).  In this order a failure on either
side costs nothing but a cancelled commit: had the routers confirmed first, a store that fails
would leave them with what no revision says; had the revision come first, a router that refuses
would leave a policy that is not in force.  What is left is a router that cannot be brought to
keep it after all: then the others are brought back, and so is the revision.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import structlog

from vpnctl.bgp.process import Keep
from vpnctl.controller import present, views
from vpnctl.controller.candidate import NOTHING, Applied, Candidate, from_files
from vpnctl.controller.confirmation import Confirmation
from vpnctl.controller.directory import AppliedFiles, PolicyDirectory, Written
from vpnctl.controller.events import EventHub
from vpnctl.controller.impossible import refuse_impossible, refuse_unprotected
from vpnctl.controller.peers import Peers
from vpnctl.controller.progress import Delivery, Timeline
from vpnctl.controller.proposals import Proposals
from vpnctl.controller.provisioning import Provisioning
from vpnctl.controller.requests import PlanRequest
from vpnctl.controller.revisions import Commitment, Revisions
from vpnctl.controller.routers import Routers, open_by_access
from vpnctl.controller.work import OpenRouter, Work
from vpnctl.errors import (
    ControllerError,
    SessionProcessError,
    StaleError,
    StoreError,
    UsageError,
    VpnctlError,
)
from vpnctl.model import Network
from vpnctl.planning.plan import Plan, Policy, plan, plan_id
from vpnctl.provisioning.transaction import Patience
from vpnctl.routing.changes import Move
from vpnctl.routing.rewrite import RulesChange, compile_rules
from vpnctl.ruleset import load
from vpnctl.store import Revision, Store
from vpnctl.store import Step as StoredStep

__all__ = ["Controller", "Keep"]

_log = structlog.get_logger()

#: Who changes the policy when nobody asked: the first start and the fall-back.
_NOBODY = "vpnctl"

#: Routes that the plan of an applied change lists; all of them are counted.
_ROUTES_SHOWN = 1000

#: Seconds between the last UPDATE and the words about it.  Putting a change into words takes longer
#: than sending it; where cores are few, whoever takes the routes on this machine would wait for it.
_ROUTES_FIRST_S = 0.001

#: Allocated numbers that a timeline names.
_NUMBERS_SHOWN = 6

_Result = TypeVar("_Result")


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Controller(Provisioning):
    """A running route server.

    ``policies``: the operator's directory; ``store_url``: see `Store.open`; ``take_directory``:
    start with the directory as it is now instead of the applied revision; ``now`` and
    ``monotonic`` (nanoseconds) are the clocks; ``open_router`` makes sessions with routers to be
    configured, ``patience`` is had with them; ``keep``: how BGP sessions outlive the controller.
    Use from one event loop.

    Changes are made one after the other.  One that has begun is completed even if whoever asked
    for it goes away; one that still waits for its turn then is not begun.
    """

    def __init__(
        self,
        policies: Path,
        store_url: str,
        *,
        take_directory: bool = False,
        now: Callable[[], datetime] = _utc_now,
        monotonic: Callable[[], int] = time.monotonic_ns,
        open_router: OpenRouter = open_by_access,
        patience: Patience | None = None,
        keep: Keep | None = None,
    ) -> None:
        self._directory = PolicyDirectory(policies)
        self._store_url = store_url
        self._take_directory = take_directory
        self._now = now
        self._monotonic = monotonic
        self._open_router = open_router
        self._patience = patience
        self._keep = keep
        self._hub = EventHub(now)
        self._lock = asyncio.Lock()
        self._running: set[asyncio.Task[Any]] = set()
        self._applied = NOTHING
        self._confirmation = Confirmation(self._fall_back, self._hub, now)
        self._mending: asyncio.Task[None] | None = None
        self._behind = False
        self._told_doubt = ""
        self._last_change_s = 0.0
        self._troubles = {}

    # Life

    async def start(self) -> None:
        """Take up the applied revision, or the policy directory where there is none yet.

        Raises `PolicyError`, `StoreError` or `SessionProcessError`; nothing is left running then,
        and a first policy is not stored.
        """
        self._store = Store.open(self._store_url, clock=self._now)
        self._files = AppliedFiles(self._directory, self._store)
        self._proposals = Proposals(self._directory, self._store)
        self._revisions = Revisions(self._directory, self._store, self._troubles)
        self._routers = Routers(
            self._store,
            self._directory.path,
            self._open_router,
            clock=self._monotonic,
            on_unfinished=lambda: self._mend_routers(behind=False),
            undo=self._undecide,
            patience=self._patience,
        )
        try:
            candidate = await self._take_up()
            if candidate is not None and candidate.restores is None:
                refuse_unprotected(candidate.compiled.ruleset.network)
                refuse_impossible(candidate.compiled.ruleset, self._directory.path)
            policy = candidate.compiled if candidate else self._applied.policy
            self._routers.take_up((self._applied.compiled or policy).ruleset)
            await self._routers.find_unfinished()
            self._tell_in_doubt()
            await asyncio.to_thread(self._routers.warm_up)
            rules = compile_rules(policy.ruleset).rules
            self._peers = Peers(rules, self._hub, self._now, self._keep)
            try:
                await self._peers.start(policy.ruleset.network.controller.listen)
                if candidate is not None:
                    revision = self._revisions.commit_now(
                        self._commitment(candidate, _NOBODY), self._applied
                    )
                    self._applied = Applied(revision.number, candidate.files, candidate.compiled)
                    self._confirmation.of = None
                self._tell_written(self._files.complete(self._applied))
                await self._peers.configure(policy.ruleset.network)
            except BaseException:
                # What was found here is there for the next attempt.
                await self._peers.stop(leave=self._peers.held)
                raise
        except BaseException:
            self._store.close()
            raise
        self._confirmation.expect(self._confirmation.of)
        self._mend_routers(behind=candidate is not None)

    async def _take_up(self) -> Candidate | None:
        """Take up the policy in the store; gives one that has to be committed in its place."""
        latest = self._store.latest()
        if latest is None:
            files = self._directory.read()
            allocations = self._store.allocations()
            return from_files("start", "first policy", files, NOTHING, allocations)
        files = self._directory.shown(self._store.files(latest.number))
        self._applied = Applied(latest.number, files, load(files, self._store.allocations()))
        unconfirmed = self._confirmation.of = self._store.unconfirmed()
        if self._take_directory:
            now = from_files(
                "apply", f"start with {self._directory.path}", self._directory.read(), self._applied
            )
            return now if now.files != self._applied.files else None
        if unconfirmed is None or self._confirmation.left_s(unconfirmed) > 0:
            return None
        # The time to confirm ran out while nobody was there to fall back.
        return await self._proposals.restored(unconfirmed.parent, "auto-rollback", self._applied)

    async def stop(self, *, leave: bool = False) -> None:
        """Close all sessions and the store; a change that has begun is completed first.

        ``leave``: leave the sessions to another controller, where they are kept at all.
        """
        await self._peers.stop(leave=leave)
        if self._mending is not None:
            self._mending.cancel()
            await asyncio.wait({self._mending})
        if self._running:
            await asyncio.wait(self._running)
        self._confirmation.expect(None)
        self._store.close()

    def _run(self, work: Coroutine[Any, Any, _Result]) -> asyncio.Task[_Result]:
        """Do something that goes on when whoever asked for it does not wait any more."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    # Planning

    async def plan(self, request: PlanRequest, *, routes: int = 1000, check: bool = True) -> Plan:
        """What a change would do; nothing is done.  ``check``: managed routers check it, too."""
        async with self._lock:
            await self._settle()
            candidate = await self._proposals.candidate(request, self._applied)
            change = self._rules_change(candidate)
            moves = self._engine.audible(self._engine.preview(change))
            shown = self._plan(self._applied, candidate, change, moves, routes)
            work = await self._work_of(candidate)
        return await self._with_routers(shown, work, check=check)

    def _rules_change(self, candidate: Candidate) -> RulesChange:
        """From the rules in force to those of a candidate."""
        compiled, rules = candidate.compiled, self._engine.rules
        differing = compiled.differing if compiled.since is rules.ruleset else None
        return compile_rules(compiled.ruleset, rules, differing)

    @staticmethod
    def _plan(
        before: Applied,
        candidate: Candidate,
        change: RulesChange,
        moves: tuple[Move, ...],
        most: int,
    ) -> Plan:
        old, new = before.policy, candidate.compiled
        return plan(
            base=before.number,
            summary=candidate.summary,
            old=Policy(before.files, old.allocations, old.ruleset.network),
            new=Policy(candidate.files, new.allocations, new.ruleset.network),
            vpns=change.vpns,
            moves=moves,
            routes=most,
        )

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

        async def prepare() -> Candidate:
            self._refuse_stale(base)
            self._refuse_unconfirmed(request)
            candidate = await self._proposals.candidate(request, self._applied)
            self._refuse_other(candidate, plan_id)
            return candidate

        return await self._change(prepare, confirm_s=confirm_s, author=author, wait_s=wait_s)

    def _refuse_unconfirmed(self, request: PlanRequest) -> None:
        unconfirmed = self._confirmation.of
        if unconfirmed is not None and request.kind != "rollback":
            raise ControllerError(
                f"revision {unconfirmed.number} is not confirmed yet",
                hint="keep it with 'vpnctl confirm' or undo it with 'vpnctl rollback'",
            )

    def _refuse_stale(self, base: int | None) -> None:
        if base is not None and base != self._applied.number:
            raise StaleError(
                f"the plan was made on revision {base}, now it is {self._applied.number}",
                hint="make a new plan and look at it",
            )

    def _refuse_other(self, candidate: Candidate, wanted: str | None) -> None:
        """Refuse what is not what a plan has shown."""
        if wanted is None:
            return
        now = plan_id(self._applied.number, self._applied.files, candidate.files)
        if wanted != now:
            raise StaleError(
                f"plan {wanted} is not what would be applied now, that is {now}",
                hint="the policy changed since the plan was made: make a new one and look at it",
            )

    async def _change(
        self,
        prepare: Callable[[], Awaitable[Candidate]],
        *,
        confirm_s: float | None,
        author: str,
        wait_s: float,
    ) -> views.Applied:
        """Make the change that ``prepare`` gives when it is its turn."""
        timeline = Timeline(self._monotonic)
        await self._lock.acquire()
        try:
            await self._settle()
            with timeline.step("policy checked"):
                candidate = await prepare()
            if candidate.kind == "apply" and candidate.files == self._applied.files:
                answer = await self._nothing_to_do(candidate, timeline)
                self._lock.release()
                return answer
            making = self._run(self._make(candidate, timeline, confirm_s, author, wait_s))
        except BaseException:
            self._lock.release()
            raise
        return await asyncio.shield(making)

    async def _nothing_to_do(self, candidate: Candidate, timeline: Timeline) -> views.Applied:
        """The answer to an apply of what is applied: no revision is made."""
        assert self._applied.number is not None
        revision = await asyncio.to_thread(self._store.revision, self._applied.number)
        change = self._rules_change(candidate)
        shown = self._plan(self._applied, candidate, change, (), 0)
        return views.Applied(present.revision(revision), shown, timeline.steps, True, ())

    async def _make(
        self,
        candidate: Candidate,
        timeline: Timeline,
        confirm_s: float | None,
        author: str,
        wait_s: float,
    ) -> views.Applied:
        """Make a change; it holds the lock, and lets it go once the change is in force."""
        before = self._applied
        try:
            begun = self._monotonic()
            change = self._rules_change(candidate)
            allocated = self._monotonic()
            work = await self._work_of(candidate)
            heard = await self._at_routers(work, candidate, author) if work else None
            confirm_by = self._now() + timedelta(seconds=confirm_s) if confirm_s else None
            try:
                with timeline.step("stored"):
                    commitment = self._commitment(candidate, author, confirm_by, work)
                    revision = await self._revisions.commit(commitment, before)
            except BaseException:
                if work is not None:
                    await self._take_back(work, heard)
                raise
            moves, delivery = self._enforce(candidate, change, revision, timeline)
            sessions = self._configure(before.policy.ruleset.network, timeline)
            if work is not None:
                try:
                    await self._keep_at_routers(work, revision)
                except BaseException:
                    self._peers.unfollow(delivery)
                    self._forget(heard)
                    raise
            if candidate.writes:
                # In a thread: the UPDATEs go out meanwhile.
                written = await asyncio.to_thread(self._files.write, candidate, before, revision)
                self._tell_written(written)
        finally:
            self._lock.release()
        if sessions is not None:
            await asyncio.wait({sessions}, timeout=wait_s)
        complete = await delivery.wait(wait_s)
        self._peers.unfollow(delivery)
        if work is not None and heard is not None:
            await heard.wait(wait_s, self._engine.by_peer)
            self._forget(heard)
            heard.record(timeline)
            work.record(timeline)
        if moves:
            await asyncio.sleep(_ROUTES_FIRST_S)
        # Told in words only now: a thousand routes take longer to print than to send.
        shown = self._plan(before, candidate, change, moves, _ROUTES_SHOWN)
        timeline.add("allocated", begun, allocated, _numbers(shown))
        delivery.record(timeline)
        await self._record(revision, timeline)
        silent = heard.waiting if heard is not None else ()
        return views.Applied(
            present.revision(revision), shown, timeline.steps, complete, delivery.waiting, silent
        )

    def _enforce(
        self, candidate: Candidate, change: RulesChange, revision: Revision, timeline: Timeline
    ) -> tuple[tuple[Move, ...], Delivery]:
        """Put a durable revision in force: whatever happens from here on, it is the applied one.

        Gives what it changes at the peers, and follows how far that has come.
        """
        self._applied = Applied(revision.number, candidate.files, candidate.compiled)
        self._confirmation.expect(revision if revision.state == "unconfirmed" else None)
        begun = self._monotonic()
        moves = self._engine.apply(change)
        told = {move.peer for move in moves}
        timeline.add(
            "routes rewritten",
            begun,
            self._monotonic(),
            f"{len(told)} peer{'' if len(told) == 1 else 's'}",
        )
        self._last_change_s = self._now().timestamp()
        self._hub.tell("revision", str(revision.number), candidate.summary)
        return moves, self._peers.follow(told, begun)

    def _configure(self, before: Network, timeline: Timeline) -> asyncio.Task[None] | None:
        """Bring the BGP sessions into line where the network changed."""
        network = self._network
        if network is before or network == before:
            return None

        async def configure() -> None:
            try:
                with timeline.step("sessions configured"):
                    await self._peers.configure(network)
            except SessionProcessError as error:
                # Only while stopping: a process that died is started again with this network.
                _log.warning("sessions not configured", error=error.message)

        return self._run(configure())

    def _tell_written(self, written: Written) -> None:
        for path in written.left_alone:
            self._hub.tell("error", path, "left alone: it has edits that were not applied")
        if written.error:
            self._troubles["files"] = written.error
            self._hub.tell("error", str(self._directory.path), written.error)
            _log.error(written.error)
        else:
            self._troubles.pop("files", None)

    async def _record(self, revision: Revision, timeline: Timeline) -> None:
        steps = [
            StoredStep(s.name, s.start_ms, s.end_ms, s.detail, s.router) for s in timeline.steps
        ]
        try:
            await asyncio.to_thread(self._store.record_timeline, revision.number, steps)
        except StoreError as error:
            _log.error("timeline not stored", revision=revision.number, error=error.message)
            self._hub.tell("error", str(revision.number), error.message)

    # Undoing

    async def _undo(self, number: int, reason: str) -> None:
        """Take back a revision that the routers do not have; raises `StoreError`."""
        if self._applied.number != number:
            if await asyncio.to_thread(self._stands, number):
                self._troubles["routers"] = (
                    f"routers were brought back from what revision {number} gave them, on which "
                    f"revision {self._applied.number} builds: 'vpnctl drift --fix' mends that"
                )
            return
        _log.error("revision undone", revision=number, reason=reason)
        self._hub.tell("error", str(number), f"undone: {reason}")
        try:
            parent = (await asyncio.to_thread(self._store.revision, number)).parent
            candidate = await self._proposals.restored(parent, "auto-rollback", self._applied)
            await self._put_in_force(candidate, _NOBODY)
        except VpnctlError as error:
            self._troubles["routers"] = (
                f"revision {number} is in force, but routers do not have it: {error.message}"
            )
            if isinstance(error, StoreError):
                raise  # it is tried again, which mends no policy that has mistakes by now
        else:
            self._troubles.pop("routers", None)
            self._routers.take_up(self._applied.policy.ruleset)

    def _stands(self, number: int) -> bool:
        """Whether nothing has brought back since what was before a revision."""
        assert self._applied.number is not None
        revision = self._store.revision(self._applied.number)
        while revision.number > number and revision.parent is not None:
            if revision.restores is not None and revision.restores < number:
                return False
            revision = self._store.revision(revision.parent)
        return revision.number == number

    async def _put_in_force(self, candidate: Candidate, author: str) -> Revision:
        """Make a candidate the applied policy without asking routers, or waiting for peers."""
        before = self._applied
        change = self._rules_change(candidate)
        revision = await self._revisions.commit(self._commitment(candidate, author), before)
        self._take_effect(candidate, change, revision)
        self._tell_written(await asyncio.to_thread(self._files.write, candidate, before, revision))
        return revision

    def _take_effect(self, candidate: Candidate, change: RulesChange, revision: Revision) -> None:
        """Put a durable revision in force that nobody waits for."""
        network, timeline = self._network, Timeline(self._monotonic)
        _, delivery = self._enforce(candidate, change, revision, timeline)
        self._peers.unfollow(delivery)
        self._configure(network, timeline)

    # Storing

    def _commitment(
        self,
        candidate: Candidate,
        author: str,
        confirm_by: datetime | None = None,
        work: Work | None = None,
    ) -> Commitment:
        """What a candidate's revision shall say; it takes the place of an unconfirmed one."""
        unconfirmed = self._confirmation.of
        reverts = unconfirmed.number if unconfirmed is not None else None
        return Commitment(candidate, author, confirm_by, reverts, work)

    async def _settle(self) -> None:
        """Do what an earlier change left undone.

        That is to write files that could not be written, and to find out what became of a commit
        that was cut off; raises `StoreError` if that cannot be found out.
        """
        if self._files.behind:
            self._tell_written(await asyncio.to_thread(self._files.complete, self._applied))
        before = self._applied
        settled = await self._revisions.settled(before)
        if settled is not None:
            candidate, revision = settled
            self._take_effect(candidate, self._rules_change(candidate), revision)
            self._tell_written(self._files.write(candidate, before, revision))
            self._mend_routers(behind=True)

    # Confirming

    async def _fall_back(self, revision: Revision) -> None:
        """Undo a revision that nobody confirmed in time."""

        async def prepare() -> Candidate:
            parent = revision.parent
            return await self._proposals.restored(parent, "auto-rollback", self._applied)

        await self._change(prepare, confirm_s=None, author=_NOBODY, wait_s=10.0)

    async def confirm(self, *, author: str) -> views.Revision:
        """Keep the unconfirmed revision."""
        async with self._lock:
            await self._settle()
            if self._confirmation.of is None:
                raise UsageError("there is nothing to confirm", hint="see 'vpnctl history'")
            number = self._confirmation.of.number
            revision = await asyncio.to_thread(self._store.set_state, number, "confirmed")
            self._confirmation.expect(None)
            self._hub.tell("revision", str(number), f"confirmed by {author}")
            return present.revision(revision)


def _numbers(shown: Plan) -> str:
    """The numbers that a plan takes from pools, for its timeline."""
    taken = [f"{each.pool} {each.number}" for each in shown.allocations if each.action != "release"]
    more = f", {len(taken) - _NUMBERS_SHOWN} more" if len(taken) > _NUMBERS_SHOWN else ""
    return ", ".join(taken[:_NUMBERS_SHOWN]) + more or "nothing new"
