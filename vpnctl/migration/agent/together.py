"""Machines that go on at the same moment: each waits for the others, but not for long."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from vpnctl.migration.agent.messages import Together

#: Seconds that a machine stands still for the others at most.
PATIENCE_S = 2.0


class Meeting:
    """Where the machines that come to a site wait for each other."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._there: defaultdict[str, set[str]] = defaultdict(set)
        self._complete: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def join(self, migration: str, together: Together) -> bool:
        """Return when all are there, or when it has waited for long enough; whether all are."""
        there, complete = self._there[together.name], self._complete[together.name]
        there.add(migration)
        if len(there) >= together.count:
            complete.set()
        try:
            await asyncio.wait_for(complete.wait(), self._patience_s)
        except TimeoutError:
            return False
        finally:
            there.discard(migration)
            if not there:
                self._there.pop(together.name, None)
                self._complete.pop(together.name, None)
        return True
