"""One change at several routers: in the end all of them have it, or none has.

::

    prepare   per router, in parallel: connect, lock, load, diff, check
    commit    per router, in parallel: a confirmed commit, which undoes itself
    verify    per router, in parallel: what was committed is in force, and whatever else the caller
              knows to follow from it has come about
    (decide)  the caller commits the revision: `vpnctl.provisioning.journal` says why there
    confirm   per router, in parallel

Whatever fails before the decision, no router is confirmed: commits are cancelled at once, and the
routers' own timers do the same should we not reach them.  After the decision the way is forward:
a router that did not answer is asked over a new session, and given the change once more where it
has lost it.  Only when that fails, too, the others are brought back (compensation).

A router whose answer is missing may have done what it was asked to or not, so it is never guessed
but settled, over a new session (`vpnctl.provisioning.settling`).  Where even this is not possible,
the router is *in doubt*, and is named.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from vpnctl.errors import (
    ConnectError,
    LockedError,
    ProvisioningError,
    RejectedError,
    StoreError,
    VpnctlError,
)
from vpnctl.provisioning import settling
from vpnctl.provisioning.driver import Driver
from vpnctl.provisioning.foreign import refuse_foreign
from vpnctl.provisioning.journal import (
    AFTER_A_CRASH,
    FOLLOWING,
    SAME,
    SETTLED,
    Journal,
    Note,
    Phase,
    RouterChange,
)
from vpnctl.provisioning.participants import (
    Participant,
    Witness,
    combined,
    each,
    guarded,
    leave,
)
from vpnctl.provisioning.timeline import RouterStep

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a transaction tries.

    ``lock``: pauses in seconds between attempts to get a lock; ``settle``: between attempts to
    find out what became of a router.  ``window_s``: after how many seconds a router undoes a
    commit that was not confirmed; it has to cover the slowest router's commit.
    """

    lock: tuple[float, ...] = (0.1, 0.2, 0.4, 0.8, 1.5)
    settle: tuple[float, ...] = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
    window_s: int = 300


class Transaction:
    """One change at the routers of ``changes``, from `prepare` to `confirm` or `abort`.

    ``open_driver`` gives a new session with a router, not connected yet; ``persist`` names our
    commits at the routers, and nobody else's.  ``phase`` is where a transaction that was cut off
    had come to; such a one is only good for `resume`, and ``changes`` are without the routers that
    had dropped out or were settled (their notes say `SAME` and `SETTLED`).

    ``undecide`` is called with the reason when a change that had been decided is taken back after
    all, before the journal says that it was; a `StoreError` of it makes that wait for `resume`.
    """

    def __init__(
        self,
        changes: Iterable[RouterChange],
        open_driver: Callable[[RouterChange], Driver],
        journal: Journal,
        *,
        persist: str,
        phase: Phase | None = None,
        undecide: Callable[[str], Awaitable[None]] | None = None,
        patience: Patience | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._routers = [
            Participant(change, "" if phase is None else "not known any more")
            for change in sorted(changes, key=lambda change: change.router)
        ]
        self._open = open_driver
        self._journal = journal
        self._persist = persist
        self._undecide = undecide
        self._patience = patience or Patience()
        self._clock = clock
        self._sleep = sleep
        self._notes: list[Note] = []
        self.phase = phase
        #: What was done at each router, and when, by ``clock``.
        self.steps: list[RouterStep] = []

    # What is known

    @property
    def diffs(self) -> Mapping[str, str]:
        """What each router that changes will change, in its own syntax; once prepared."""
        return {router.name: router.diff for router in self._routers if router.diff}

    @property
    def in_doubt(self) -> Mapping[str, ProvisioningError]:
        """The routers of which it is not known whether they have the change, and why."""
        return {router.name: router.doubt for router in self._routers if router.doubt}

    @property
    def concerned(self) -> frozenset[str]:
        """The routers that it may still change."""
        return frozenset(router.name for router in self._changing)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do, and the journal says so."""
        return self.phase in (Phase.DONE, Phase.UNDONE)

    # The way forward

    async def prepare(self) -> None:
        """Bring every router to where it only has to commit.

        Raises a `ProvisioningError` with every router's trouble; no router is changed then, and
        no lock or session is left.  Routers that have what they shall have drop out; where that
        are all, the transaction is done.
        """
        await self._enter(Phase.PREPARE)
        failures = await each(self._routers, self._prepare)
        if failures:
            await self.abort()
            raise combined(failures, "no router was changed")
        await each([one for one in self._routers if not one.diff], leave)
        if not self._changing:
            await self._end(Phase.DONE)

    async def commit(self) -> None:
        """Put the change in force everywhere, for as long as the routers' timers run.

        Raises a `ProvisioningError`; no router has the change then, or `in_doubt` names it.
        """
        if self._changing:
            await self._enter(Phase.COMMIT)
            failures = await each(self._changing, self._commit)
            if failures:
                await self.abort()
                raise self._combined(failures, "no router was changed")

    async def verify(self, witnesses: Mapping[str, Witness] | None = None) -> None:
        """See that what was committed is there, at every router, before anybody keeps it.

        ``witnesses``: by router, what else has to be seen, and under which name it is told; each
        raises a `ProvisioningError` where it was not, in bounded time.  They are asked once the
        configuration is right everywhere.

        Raises a `ProvisioningError`; no router has the change then, or `in_doubt` names it.
        """
        asked = witnesses or {}
        failures = await each(self._changing, self._verify)
        if not failures:
            failures = await each(
                [router for router in self._changing if router.name in asked],
                lambda router: self._step(
                    router, asked[router.name].name, asked[router.name].see()
                ),
            )
        if failures:
            await self.abort()
            raise self._combined(failures, "no router was changed")

    def decided(self) -> None:
        """The revision is stored: from here on the routers shall keep the change."""
        if self._changing:
            self._follow(Phase.DECIDED)

    async def confirm(self) -> None:
        """Make every router keep the change.

        Raises a `ProvisioningError` where one cannot be brought to; the others were brought back
        then (or are named by `in_doubt`), so the revision has to be undone, too.
        """
        if self._changing:
            await self._finish(self._confirm)

    # The way back

    async def abort(self) -> None:
        """Undo, at once, what was done before the decision; never raises, see `in_doubt`."""
        if self.phase is Phase.PREPARE:
            await each(self._routers, leave)
            await self._end(Phase.UNDONE)
            return
        if self.phase is Phase.COMMIT:
            await self._end(Phase.CANCEL)
        await self._take_back(self._cancel)

    async def resume(self) -> None:
        """Go on, or back, after being cut off or in doubt; see `AFTER_A_CRASH`.

        Raises a `ProvisioningError` where the change was decided, and had to be undone.  Not
        `finished` after it: routers could not be reached; resume again later.
        """
        assert self.phase is not None
        for router in self._routers:
            router.doubt = None
            router.committed = None  # whatever was known is asked again
        goal = AFTER_A_CRASH[self.phase]
        if goal is Phase.DONE:
            await self._finish(self._forward)
        elif goal is Phase.COMPENSATE:
            await self._compensate("routers were on their way back")
        else:
            await self.abort()

    def be_brief(self) -> None:
        """From now on try once only to settle a router: somebody calls `resume` again."""
        self._patience = replace(self._patience, settle=())

    async def _finish(self, last: Callable[[Participant], Awaitable[None]]) -> None:
        failures = await each(self._changing, last)
        if failures:
            await self._end(Phase.COMPENSATE)
            await self._compensate("; ".join(failure.message for failure in failures))
            raise self._combined(failures, "the other routers were brought back")
        await each(self._changing, leave)
        await self._end(Phase.DONE)

    async def _compensate(self, reason: str) -> None:
        await self._take_back(self._bring_back, reason)

    async def _take_back(
        self, work: Callable[[Participant], Awaitable[None]], reason: str = ""
    ) -> None:
        routers = self._changing
        await each(routers, self._doubting(work))
        await each(routers, leave)
        if self.phase is Phase.COMPENSATE and self._undecide is not None:
            try:
                await self._undecide(reason)
            except StoreError:
                return  # a journal that says "undone" would let nobody come back to it
        if self.phase in (Phase.CANCEL, Phase.COMPENSATE):
            # What was settled is written down: it is not to be touched again after a restart.
            await self._end(self.phase if self.in_doubt else Phase.UNDONE)

    # One router

    @property
    def _changing(self) -> list[Participant]:
        """The routers that have a part in it, and are not settled yet."""
        return [router for router in self._routers if router.diff and not router.settled]

    async def _prepare(self, router: Participant) -> None:
        driver = router.driver = self._new_session(router)
        await self._step(router, "connect", driver.connect())
        await self._lock(router, driver)
        await self._step(router, "load", self._load(router, driver))
        router.diff = await self._step(router, "diff", driver.diff())
        if router.diff:
            await self._step(router, "check", driver.check())
        else:
            self._notes.append(Note(router.name, "diff", SAME))

    async def _load(self, router: Participant, driver: Driver) -> None:
        await refuse_foreign(driver, router.change)
        await driver.load(router.change.after)

    async def _lock(self, router: Participant, driver: Driver) -> None:
        """Take a lock; whoever waits gives up in bounded time, so nobody waits in a circle."""
        for pause in self._patience.lock:
            try:
                return await self._step(router, "lock", driver.lock())
            except LockedError:
                await self._sleep(pause)
        return await self._step(router, "lock", driver.lock())

    async def _commit(self, router: Participant) -> None:
        assert router.driver is not None
        router.committed = None
        try:
            await self._step(
                router,
                "commit",
                router.driver.commit_confirmed(self._persist, self._patience.window_s),
            )
        except RejectedError:
            router.committed = False
            raise
        router.committed = True

    async def _verify(self, router: Participant) -> None:
        assert router.driver is not None
        await self._step(router, "verify", router.driver.verify())

    async def _confirm(self, router: Participant) -> None:
        assert router.driver is not None
        try:
            await self._step(router, "confirm", router.driver.confirm(self._persist))
        except ProvisioningError:
            await leave(router)
            await self._forward(router)

    async def _forward(self, router: Participant) -> None:
        await self._settle(router, "confirm again", settling.keep)
        router.committed = True

    async def _cancel(self, router: Participant) -> None:
        """Take back a commit that was not confirmed."""
        if router.committed is False:
            return
        if router.committed and router.driver is not None:
            try:
                await self._step(router, "cancel", router.driver.cancel(self._persist))
            except ProvisioningError:
                pass  # asked over a new session
            else:
                return
        await leave(router)
        await self._settle(router, "roll back", settling.withdraw)

    async def _bring_back(self, router: Participant) -> None:
        """Take back a commit that may have been confirmed."""
        await leave(router)
        await self._settle(router, "roll back", settling.restore)

    def _doubting(
        self, work: Callable[[Participant], Awaitable[None]]
    ) -> Callable[[Participant], Awaitable[None]]:
        """Note a failure as doubt: there is no other way left to go."""

        async def doubting(router: Participant) -> None:
            try:
                await work(router)
            except ProvisioningError as error:
                router.doubt = error
            else:
                router.committed, router.doubt, router.settled = False, None, True
                self._notes.append(Note(router.name, "taken back", SETTLED))

        return doubting

    # Finding out what a router has, and giving it what it shall have

    async def _settle(
        self,
        router: Participant,
        name: str,
        towards: Callable[[RouterChange, Driver, str, int], Awaitable[None]],
    ) -> None:
        """Go ``towards`` what a router shall have, over new sessions until one gets there."""

        async def once() -> None:
            driver = self._new_session(router)
            try:
                await driver.connect()
                await towards(router.change, driver, self._persist, self._patience.window_s)
                await driver.unlock()
            finally:
                await driver.close()

        for pause in self._patience.settle:
            try:
                return await self._step(router, name, once())
            except ProvisioningError:
                await self._sleep(pause)
        return await self._step(router, name, once())

    def _new_session(self, router: Participant) -> Driver:
        try:
            return self._open(router.change)
        except VpnctlError as error:
            raise ConnectError(
                f"{router.name}: {error.message}", hint=error.hint, router=router.name
            ) from error

    # Bookkeeping

    async def _step(self, router: Participant, name: str, doing: Awaitable[_Result]) -> _Result:
        begun = self._clock()
        try:
            result = await guarded(router, name, doing)
        except ProvisioningError as error:
            self._note(router, name, begun, error.message)
            raise
        self._note(router, name, begun, "")
        return result

    def _note(self, router: Participant, name: str, begun: int, failure: str) -> None:
        self.steps.append(RouterStep(router.name, name, begun, self._clock(), failure))
        self._notes.append(Note(router.name, name, failure or "ok"))

    async def _enter(self, phase: Phase) -> None:
        await self._journal.enter(phase, self._notes)
        self._notes = []
        self._follow(phase)

    async def _end(self, phase: Phase) -> None:
        """Enter a phase, or stay in the one before if the journal does not take it.

        What is done at the routers then does not depend on it; `resume` does it once more.
        """
        try:
            await self._enter(phase)
        except StoreError:
            return

    def _follow(self, phase: Phase) -> None:
        follows = self.phase in (None, phase) or phase in FOLLOWING[self.phase]
        assert follows, f"{self.phase} -> {phase}"
        self.phase = phase

    def _combined(self, failures: list[ProvisioningError], otherwise: str) -> ProvisioningError:
        """One error for all of them, and what has become of the routers."""
        doubt = ", ".join(self.in_doubt)
        told = f"in doubt, and asked again until it answers: {doubt}" if doubt else otherwise
        return combined(failures, told, doubt=bool(doubt))
