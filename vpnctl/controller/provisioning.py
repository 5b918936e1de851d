"""The routers' part of a change, and of what is left undone at them."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable

import structlog

from vpnctl.controller import present, views
from vpnctl.controller.candidate import Candidate
from vpnctl.controller.care import Care
from vpnctl.controller.progress import Heard
from vpnctl.controller.work import Work
from vpnctl.errors import ProvisioningError, VpnctlError
from vpnctl.model import Ruleset
from vpnctl.ruleset import adopt, load
from vpnctl.store import Revision

_log = structlog.get_logger()

#: Seconds between attempts to reach a router that is in doubt; they become longer.
_RETRY_S = 2.0
_LONGEST_RETRY_S = 30.0


class Provisioning(Care):
    """A controller that gives its routers what a change asks of them.

    All of it happens while the change has the lock, but the background's `_mend`, which takes it.
    """

    _mending: asyncio.Task[None] | None
    _behind: bool
    _monotonic: Callable[[], int]

    @abstractmethod
    async def _undo(self, number: int, reason: str) -> None:
        """Take back a revision that the routers do not have."""

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

    async def _at_routers(self, work: Work) -> Heard:
        """Put a change in force at the routers, for as long as they wait for the revision.

        Gives who waits for the routes of the new endpoints from now on.
        """
        self._routers.refuse_in_doubt(work)
        begun = self._monotonic()
        heard = Heard(self._routers.announced_by(work), begun, self._monotonic)
        try:
            await work.put_in_force()
        except BaseException:
            self._routers.keep_an_eye_on(work)
            raise
        self._peers.expect(heard)
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
            await work.transaction.confirm()
        except ProvisioningError as error:
            await self._undo(revision.number, error.message)
            raise
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
            async with self._lock:
                for work, failure in await self._routers.resume():
                    if work.transaction.finished:
                        how = "taken back" if work.going_back else "completed"
                        _log.info(f"unfinished change {how}", routers=sorted(work.routers))
                    if work.revision is not None and work.going_back:
                        why = failure.message if failure else "routers were on their way back"
                        await self._undo(work.revision, why)
                if self._behind and not self._routers.unfinished:
                    self._behind = not await self._catch_up()
                self._tell_in_doubt()
            if not self._routers.unfinished and not self._behind:
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_RETRY_S)  # changes wait while routers are asked

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
        doubtful = self._routers.in_doubt
        if doubtful:
            named = "; ".join(f"{name} ({why})" for name, why in sorted(doubtful.items()))
            text = f"in doubt, and asked again until it answers: {named}"
            if self._troubles.get("doubt") != text:
                self._hub.tell("error", "routers", text)
                _log.warning("routers in doubt", why=doubtful)
            self._troubles["doubt"] = text
        elif self._troubles.pop("doubt", None):
            self._hub.tell("router", "routers", "no router is in doubt any more")
