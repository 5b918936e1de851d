"""The routers' part of a change, and of what is left undone at them."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable

import structlog

from vpnctl.controller import present, views
from vpnctl.controller.candidate import Candidate
from vpnctl.controller.care import Care, logged
from vpnctl.controller.progress import Heard
from vpnctl.controller.work import Work
from vpnctl.errors import RenderError, VpnctlError
from vpnctl.model import Ruleset
from vpnctl.provisioning.refusal import refusals
from vpnctl.ruleset import adopt, load
from vpnctl.store import Revision

_log = structlog.get_logger()

#: Seconds between attempts to reach a router that is in doubt; they become longer.
_RETRY_S = 2.0
_LONGEST_RETRY_S = 30.0


class Provisioning(Care):
    """A controller that gives its routers what a change asks of them.

    All of it happens while the change has the lock, but the background's `_mend`, which takes it
    where it changes the policy, or gives routers what the policy says.
    """

    _mending: asyncio.Task[None] | None
    _behind: bool
    _told_doubt: str
    _monotonic: Callable[[], int]

    @abstractmethod
    async def _undo(self, number: int, reason: str) -> None:
        """Take back a revision that the routers do not have; raises `StoreError`."""

    @abstractmethod
    async def _put_in_force(self, candidate: Candidate, author: str) -> Revision:
        """Make a candidate the applied policy without asking routers, or waiting for peers."""

    async def adopt(self, router: str, *, author: str) -> views.Adoption:
        """Reserve every number that a router's own configuration has, so that nobody is given it.

        Nothing is changed at the router.  What is reserved is a revision with the same files;
        adopting again takes what is in use then.
        """
        async with self._lock:
            (pe,) = self._managed([router])
            uses = await self._uses(pe)
            compiled = self._applied.policy
            adopted = adopt(compiled, router, uses)
            if adopted.allocations != compiled.allocations:
                files = self._applied.files
                policy = await asyncio.to_thread(load, files, adopted.allocations, compiled)
                await self._put_in_force(
                    Candidate("apply", f"adopt {router}", files, policy, {}, among=()), author
                )
        return views.Adoption(
            router,
            tuple(present.use(use) for use in adopted.reserved),
            tuple(present.use(use, holder) for use, holder in adopted.conflicts),
        )

    async def _work(self, ruleset: Ruleset) -> Work | None:
        """What a ruleset asks of routers; rendered in a thread, so that routes go on meanwhile."""
        if not self._routers.concerned(ruleset.network):
            return None
        return await asyncio.to_thread(self._routers.work, ruleset)

    async def _work_of(self, candidate: Candidate) -> Work | None:
        """What a candidate asks of routers; `RenderError` where they cannot have it."""
        try:
            return await self._work(candidate.compiled.ruleset)
        except RenderError as error:
            if candidate.restores is None:
                raise
            # Its files are not on disk: a line of theirs would lead nowhere.
            wrong = [f"{one.path}: {one.message}" for one in refusals(error)]
            more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            raise RenderError(
                f"revision {candidate.restores} cannot be brought back, because routers cannot have"
                f" it any more: {wrong[0]}{more}",
                hint="write what you want of it into the policy's files, and apply them",
            ) from error

    async def _at_routers(self, work: Work, candidate: Candidate, author: str) -> Heard:
        """Put a change in force at the routers, for as long as they wait for the revision.

        Gives who waits for the routes of the new endpoints from now on.  The way back to an earlier
        policy is not refused because of a route that does not come.
        """
        with logged(candidate.summary, author, work):
            self._routers.refuse_in_doubt(work)
        heard = Heard(self._routers.announced_by(work), self._monotonic)
        back = candidate.restores is not None
        deciding = {} if back else self._routers.deciding(work, self._engine.by_peer)
        self._peers.expect(heard)
        try:
            with logged(candidate.summary, author, work):
                await work.put_in_force(
                    {name: heard.witness(name, seconds) for name, seconds in deciding.items()}
                )
        except BaseException:
            self._forget(heard)
            self._routers.keep_an_eye_on(work)
            raise
        heard.committed()
        return heard

    def _forget(self, heard: Heard | None) -> None:
        if heard is not None:
            self._peers.unexpect(heard)

    async def _take_back(self, work: Work, heard: Heard | None) -> None:
        """Undo at the routers what the store did not take."""
        self._forget(heard)
        if not work.transaction.finished:
            await work.transaction.abort()
        self._routers.keep_an_eye_on(work)

    async def _keep_at_routers(self, work: Work, revision: Revision) -> None:
        """Let the routers keep what is a revision now; raises when that had to be undone."""
        work.revision = revision.number
        work.transaction.decided()
        try:
            with logged(revision.summary, revision.author, work):
                await work.transaction.confirm()
        finally:
            self._routers.keep_an_eye_on(work)
        self._routers.took(work, self._network)
        for name in work.transaction.diffs:
            self._hub.tell("router", name, f"configured, revision {revision.number}")

    def _mend_routers(self, *, behind: bool) -> None:
        """See in the background to what is unfinished at routers.

        ``behind``: they may not have what the applied revision says.
        """
        self._behind |= behind
        mending = self._mending is not None and not self._mending.done()
        if not mending and (self._routers.unfinished or self._behind):
            self._mending = asyncio.get_running_loop().create_task(self._mend())

    async def _mend(self) -> None:
        pause = _RETRY_S
        while True:
            # Without the lock: a router that does not answer holds up nobody, and a change that
            # concerns it is refused.
            for work in await self._routers.resume():
                how = "taken back" if work.going_back else "completed"
                _log.info(f"unfinished change {how}", routers=sorted(work.pes))
            self._tell_in_doubt()
            async with self._lock:
                if self._behind and not self._routers.unfinished:
                    self._behind = not await self._catch_up()
            self._tell_in_doubt()
            if not self._routers.unfinished and not self._behind:
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_RETRY_S)

    async def _undecide(self, work: Work, reason: str) -> None:
        """Take back the revision of a work that was taken back; raises `StoreError`."""
        if work.revision is None:
            return
        if not work.left:
            await self._undo(work.revision, reason)
            return
        async with self._lock:
            await self._undo(work.revision, reason)

    async def _catch_up(self) -> bool:
        """Give the routers what the applied revision says; whether they have it now."""
        work = await self._work(self._applied.policy.ruleset)
        if work is None:
            return True
        try:
            await work.put_in_force()
            await work.decide()
            await work.transaction.confirm()
        except VpnctlError as error:
            self._troubles["behind"] = f"not at the routers yet: {error.message}"
            self._routers.keep_an_eye_on(work)
            return False
        self._routers.took(work, self._network)
        self._troubles.pop("behind", None)
        return True

    def _tell_in_doubt(self) -> None:
        doubt = self._routers.doubt
        if doubt != self._told_doubt:
            if doubt:
                self._hub.tell("error", "routers", doubt)
                _log.warning("routers in doubt", why=self._routers.in_doubt)
            else:
                self._hub.tell("router", "routers", "no router is in doubt any more")
        self._told_doubt = doubt
