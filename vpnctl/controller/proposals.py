"""From what is asked for to the policy that would be applied for it."""

from __future__ import annotations

import asyncio
from functools import partial

from vpnctl.controller.candidate import (
    Applied,
    Candidate,
    beside,
    edited,
    from_files,
    restored,
    some_files,
)
from vpnctl.controller.directory import PolicyDirectory
from vpnctl.controller.impossible import refuse_unprotected
from vpnctl.controller.requests import PlanRequest
from vpnctl.errors import NotFoundError, UsageError
from vpnctl.store import Store


class Proposals:
    """The candidates that requests ask for, by the operator's files and by earlier revisions.

    All of them raise `PolicyError` for what is no policy, and change nothing.
    """

    def __init__(self, directory: PolicyDirectory, store: Store) -> None:
        self._directory = directory
        self._store = store

    async def candidate(self, request: PlanRequest, applied: Applied) -> Candidate:
        """What a request would make of the applied policy; raises `UsageError`, too."""
        if request.kind == "rollback":
            return await self.restored(request.revision, "rollback", applied)
        if request.kind in ("extend", "retract"):
            return edited(request, applied, self._directory.content)
        if request.kind != "apply":
            raise UsageError(
                f"no change is called {request.kind!r}",
                hint="there are apply, extend, retract and rollback",
            )
        if request.files:
            some = self._directory.some(request.files)
            candidate = await beside(some, applied, partial(some_files, some, applied))
        else:
            files = self._directory.read()
            summary = f"apply {self._directory.path}"
            make = partial(from_files, "apply", summary, files, applied)
            candidate = await beside(files, applied, make)
        refuse_unprotected(candidate.compiled.ruleset.network)
        return candidate

    async def restored(self, number: int | None, kind: str, applied: Applied) -> Candidate:
        """The policy of an earlier revision, by default the one before the applied one."""
        assert applied.number is not None
        if number == applied.number:
            raise UsageError(
                f"revision {number} is the applied one", hint="see 'vpnctl history' for others"
            )
        if number is None:
            number = await asyncio.to_thread(self._one_before, applied.number)
        files = self._directory.shown(await asyncio.to_thread(self._store.files, number))
        return await beside(files, applied, partial(restored, kind, number, files, applied))

    def _one_before(self, applied: int) -> int:
        """What a rollback that names no revision goes back to."""
        number = self._store.revision(applied).parent
        if number is None:
            raise NotFoundError(
                "the first revision has none before it", hint="see 'vpnctl history'"
            )
        if self._store.revision(number).state == "reverted":
            raise UsageError(
                f"revision {number}, the one before, was undone",
                hint="name the revision to go back to; 'vpnctl history' lists them",
            )
        return number
