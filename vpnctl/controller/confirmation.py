"""Waiting for somebody to confirm a revision, as `commit confirmed` of routers does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

import structlog

from vpnctl.controller.events import EventHub
from vpnctl.errors import VpnctlError
from vpnctl.store import Revision

_log = structlog.get_logger()

#: Seconds between attempts to fall back while the store does not work.
_RETRY_S = 2.0

#: Longest sleep in seconds before the clock is looked at again: it may have been set.
_LONGEST_SLEEP_S = 60.0


class Confirmation:
    """The revision that is undone unless somebody confirms it in time; there is at most one.

    ``undo`` is called when the time is over, and again until it does not raise `VpnctlError`.
    """

    def __init__(
        self,
        undo: Callable[[Revision], Awaitable[object]],
        hub: EventHub,
        now: Callable[[], datetime],
    ) -> None:
        self._undo = undo
        self._hub = hub
        self._now = now
        self._waiting: asyncio.Task[None] | None = None
        #: The revision that waits to be confirmed.
        self.of: Revision | None = None

    def left_s(self, revision: Revision) -> float:
        """Seconds until an unconfirmed revision has to be undone."""
        assert revision.confirm_by is not None
        return (revision.confirm_by - self._now()).total_seconds()

    def expect(self, revision: Revision | None) -> None:
        """Wait for one revision's confirmation, or for none, and for no other any more."""
        if self._waiting is not None:
            self._waiting.cancel()
        self.of, self._waiting = revision, None
        if revision is not None:
            self._waiting = asyncio.get_running_loop().create_task(self._fall_back(revision))

    async def _fall_back(self, revision: Revision) -> None:
        """Undo a revision that nobody confirms in time."""
        while (left := self.left_s(revision)) > 0:  # noqa: ASYNC110 - a clock's time is awaited
            await asyncio.sleep(min(left, _LONGEST_SLEEP_S))
        while self.of is revision:
            try:
                await self._undo(revision)
            except VpnctlError as error:
                _log.error("cannot undo", revision=revision.number, error=error.message)
                self._hub.tell("error", str(revision.number), f"cannot undo: {error.message}")
                await asyncio.sleep(_RETRY_S)
