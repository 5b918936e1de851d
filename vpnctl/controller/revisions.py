"""Making a candidate durable, and finding out whether it is after the store went away."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from dataclasses import dataclass
from datetime import datetime

import structlog

from vpnctl.controller.candidate import Applied, Candidate
from vpnctl.controller.directory import AppliedFiles, PolicyDirectory
from vpnctl.controller.work import Work
from vpnctl.errors import StoreError
from vpnctl.planning.plan import changed_files
from vpnctl.store import Revision, Store

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Commitment:
    """A candidate, and what its revision shall say besides.

    ``confirm_by``: until when somebody has to confirm it; ``reverts``: the revision that it takes
    back; ``work``: what routers wait for it to be decided.
    """

    candidate: Candidate
    author: str
    confirm_by: datetime | None = None
    reverts: int | None = None
    work: Work | None = None


class Revisions:
    """Commits candidates to the store.

    A connection cut in the middle of a commit does not tell whether the database took it.  Until
    that is known (`settled`) no other candidate may be committed.  ``troubles`` is where an
    operator is told.
    """

    def __init__(
        self, directory: PolicyDirectory, store: Store, troubles: MutableMapping[str, str]
    ) -> None:
        self._directory = directory
        self._store = store
        self._troubles = troubles
        self._in_doubt: Candidate | None = None

    async def commit(self, wanted: Commitment, base: Applied) -> Revision:
        """Commit in a thread.

        Raises `StoreError` when the store has it not, or it is not known whether it has.
        """
        try:
            return await asyncio.to_thread(self.commit_now, wanted, base)
        except StoreError:
            self._in_doubt = wanted.candidate
            try:
                taken = await self._taken(base)
            except StoreError as unknown:
                text = "the store does not answer whether it has the last change"
                self._troubles["store"] = f"{text}: {unknown.message}"
                _log.error(text, error=unknown.message)
                taken = None
            if taken is None:
                raise
            return taken

    def commit_now(self, wanted: Commitment, base: Applied) -> Revision:
        """Commit, and leave what is in doubt then to the caller, who starts anew."""
        candidate, work = wanted.candidate, wanted.work
        changed = changed_files(base.files, candidate.files, candidate.among)
        return self._store.commit(
            base=base.number,
            files=self._directory.stored({path: after for path, (_, after) in changed.items()}),
            allocations=candidate.compiled.allocations,
            summary=candidate.summary,
            author=wanted.author,
            kind=candidate.kind,
            confirm_by=wanted.confirm_by,
            restores=candidate.restores,
            reverts=[wanted.reverts] if wanted.reverts is not None else [],
            journal=AppliedFiles.OPERATION if candidate.writes else None,
            decides=work.decides if work is not None else None,
        )

    async def settled(self, base: Applied) -> tuple[Candidate, Revision] | None:
        """The candidate in doubt with its revision, if the store turns out to have it.

        There is no doubt afterwards, or `StoreError`.
        """
        candidate = self._in_doubt
        revision = await self._taken(base) if candidate is not None else None
        return (candidate, revision) if candidate is not None and revision is not None else None

    async def _taken(self, base: Applied) -> Revision | None:
        """The revision of the candidate in doubt if the store has it, which settles the doubt."""
        latest = await asyncio.to_thread(self._store.latest)
        self._in_doubt = None
        self._troubles.pop("store", None)
        return latest if latest is not None and latest.number != base.number else None
