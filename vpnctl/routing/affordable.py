"""What stays of several sessions of a PE may cost no more than one session."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from vpnctl.model import Guard
from vpnctl.routing.guard import PATH_OCTETS, ROUTE_OCTETS
from vpnctl.routing.table import Path


def affordable(guard: Guard, paths: Iterable[Path]) -> bool:
    """Whether all of some paths together are within the limits of a guard.

    A PE that is lost again and again, each time after it has announced something else, would
    otherwise leave more each time.
    """
    routes: Counter[str] = Counter()
    there = octets = 0
    for path in paths:
        if path.nlris:
            there += 1
            routes[path.family.name] += len(path.nlris)
            octets += len(path.nlris) * ROUTE_OCTETS + PATH_OCTETS + 2 * len(path.identity)
    return (
        octets <= guard.memory
        and (guard.paths is None or there <= guard.paths)
        and all(routes[family] <= most for family, most in guard.routes.items())
    )
