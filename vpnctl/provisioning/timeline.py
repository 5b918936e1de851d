"""What was done at which router, and when."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RouterStep:
    """One step at one router; times in nanoseconds of the caller's clock.

    ``failure``: empty where it succeeded.
    """

    router: str
    name: str
    begin_ns: int
    end_ns: int
    failure: str = ""
