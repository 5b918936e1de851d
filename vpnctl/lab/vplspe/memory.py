"""What neighbors have announced, and what stays of it while they are away (RFC 4724, RFC 9494)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Route = TypeVar("Route")


class Memory(Generic[Key, Route]):
    """``heard``: routes by neighbor and key; ``stays``: seconds for which they outlive a session.

    Times are seconds of a clock that is never set.
    """

    def __init__(self, stays: float) -> None:
        self.heard: dict[str, dict[Key, Route]] = {}
        self._stays = stays
        self._stale: dict[str, set[Key]] = {}
        self._until: dict[str, float] = {}

    def announced(self, neighbor: str, key: Key, route: Route) -> None:
        """A route is there, or there is another one in its place."""
        self.heard.setdefault(neighbor, {})[key] = route
        self._stale.get(neighbor, set()).discard(key)

    def withdrawn(self, neighbor: str, key: Key) -> None:
        """A route is gone."""
        self.heard.get(neighbor, {}).pop(key, None)
        self._stale.get(neighbor, set()).discard(key)

    def complete(self, neighbor: str, concerned: Callable[[Key], bool]) -> None:
        """A neighbor has said all that it has of some keys: what is still stale of them goes."""
        stale = self._stale.get(neighbor, set())
        for key in [key for key in stale if concerned(key)]:
            self.withdrawn(neighbor, key)
        if not stale:
            self._until.pop(neighbor, None)

    def lost(self, neighbor: str, now: float) -> None:
        """A session is over; what is stale already is not given more time."""
        if not self._stays:
            self.forget(neighbor)
        elif self.heard.get(neighbor):
            self._stale[neighbor] = set(self.heard[neighbor])
            self._until.setdefault(neighbor, now + self._stays)

    def forget(self, neighbor: str) -> None:
        """A neighbor takes along what it has announced."""
        for each in (self.heard, self._stale, self._until):
            each.pop(neighbor, None)

    def sweep(self, now: float) -> bool:
        """Let everything go whose time is over; whether that was anything."""
        over = [neighbor for neighbor, until in self._until.items() if until <= now]
        for neighbor in over:
            self.complete(neighbor, lambda _: True)
        return bool(over)

    def kept(self, neighbor: str) -> int:
        """How many routes of a neighbor are stale."""
        return len(self._stale.get(neighbor, ()))
