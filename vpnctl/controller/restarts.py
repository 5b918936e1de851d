"""How long routes stay of PEs that are away (RFC 4724, RFC 9494): the engine's timers.

When a session is lost a PE has its time for a restart; after that its routes are long-lived stale
for a time of each family's own.  That one goes on when the PE comes back, until the PE has said
what it has; a session that is lost before does not begin it anew (RFC 9494 section 4.2).

A PE has its time for a restart twice: to come back, and to say what it has.  Where what was stale
when a session is lost stays (RFC 8538 section 4.1), all that is stale goes when that is over,
however often the session is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import ceil

from vpnctl.model import Family, Pe
from vpnctl.routing.engine import Engine
from vpnctl.routing.session import Opened, Session
from vpnctl.routing.table import Path

#: Seconds that a PE has at least to say what it has after we restarted, where others keep our
#: routes for longer than a restart takes (Selection_Deferral_Timer of RFC 4724 section 4.1).
SAYING_TIME = 60


def time_to_say(pe: Pe) -> int:
    """Seconds that a PE has to say what it has after we restarted, 0 for not being waited for."""
    return max(pe.graceful_restart, SAYING_TIME if pe.long_lived_graceful_restart else 0)


class Restarts:
    """Tells the engine of sessions that are lost, and of times that are over.

    ``tell(peer, words)`` tells the operator.
    """

    def __init__(self, engine: Engine, tell: Callable[[str, str], None]) -> None:
        self._engine = engine
        self._tell = tell
        self._restarting: dict[str, asyncio.TimerHandle] = {}
        #: When the routes of PEs that restart go at the latest, by the event loop's clock.
        self._latest: dict[str, float] = {}
        self._lasting: dict[tuple[str, Family], asyncio.TimerHandle] = {}
        #: Families whose time was over before their PE, which is back, has said what it has.
        self._spent: set[tuple[str, Family]] = set()

    def lost(self, number: int, *, restarting: bool) -> None:
        """A session is over; ``restarting``: its PE may come back and go on."""
        session = self._engine.sessions.get(number)
        if session is None:
            return
        opened = session.opened
        self._settle(session)
        again = opened.graceful_notification and any(not path.outlived for path in session.stale)
        spent = frozenset(family for peer, family in self._spent if peer == opened.peer)
        self._engine.session_down(number, restarting=restarting, spent=spent)
        stale = self._engine.stale.get(opened.peer)
        latest = self._latest.get(opened.peer) if again else None
        self._stop_waiting(opened.peer)
        if stale is None:
            self._forget(opened.peer)
        elif all(path.outlived for path in stale.paths):
            self._outlived(opened)
        else:
            self._outlived(opened)
            now = asyncio.get_running_loop().time()
            self._latest[opened.peer] = now + 2 * opened.stale_time if latest is None else latest
            seconds = self._wait(opened, self._not_back)
            self._tell(opened.peer, f"may be restarting: its routes stay for {ceil(seconds)} s")

    def give_up(self, peer: str) -> None:
        """Let everything go that stays of a PE that is away."""
        self._stop_waiting(peer)
        self._forget(peer)
        self._engine.forget_stale(peer)

    def seconds_left(self, path: Path) -> int | None:
        """For how long a stale path stays unless its PE announces it anew; None for not stale."""
        timer = self._restarting.get(path.peer)
        if path.outlived:
            timer = self._lasting.get((path.peer, path.family))
        if timer is None:
            return None
        return max(0, ceil(timer.when() - asyncio.get_running_loop().time()))

    def _settle(self, session: Session) -> None:
        """End the times of the families of which a PE has said what it has."""
        for family in session.end_of_rib:
            self._spent.discard((session.opened.peer, family))
            timer = self._lasting.pop((session.opened.peer, family), None)
            if timer is not None:
                timer.cancel()

    def _stop_waiting(self, peer: str) -> None:
        self._latest.pop(peer, None)
        timer = self._restarting.pop(peer, None)
        if timer is not None:
            timer.cancel()

    def _forget(self, peer: str) -> None:
        for key in [key for key in self._lasting if key[0] == peer]:
            self._lasting.pop(key).cancel()
        self._spent = {key for key in self._spent if key[0] != peer}

    def _wait(self, opened: Opened, then: Callable[[Opened], None]) -> float:
        """Let a PE's time begin; how many seconds that is."""
        loop = asyncio.get_running_loop()
        left = self._latest[opened.peer] - loop.time()
        seconds = max(0.0, min(opened.stale_time, left))
        self._restarting[opened.peer] = loop.call_later(seconds, then, opened)
        return seconds

    def _not_back(self, opened: Opened) -> None:
        if opened.peer in self._engine.stale:
            self._over(opened)
        else:
            self._wait(opened, self._over)

    def _over(self, opened: Opened) -> None:
        del self._restarting[opened.peer], self._latest[opened.peer]
        self._engine.stale_expired(opened.peer, opened.number)
        self._outlived(opened)

    def _outlived(self, opened: Opened) -> None:
        """Begin the times of the families that are long-lived stale now; others go on."""
        stale = self._engine.stale.get(opened.peer)
        loop = asyncio.get_running_loop()
        for family in sorted(
            {path.family for path in stale.paths if path.outlived} if stale else ()
        ):
            key = opened.peer, family
            if key not in self._lasting:
                seconds = opened.long_lived.times[family]
                self._lasting[key] = loop.call_later(seconds, self._expired, *key)
                words = f"stays away: its {family} routes are the last choice for {seconds} s"
                self._tell(opened.peer, words)

    def _expired(self, peer: str, family: Family) -> None:
        del self._lasting[peer, family]
        session = self._engine.by_peer.get(peer)
        if session is not None and family not in session.end_of_rib:
            self._spent.add((peer, family))
        self._engine.outlived_expired(peer, family)
