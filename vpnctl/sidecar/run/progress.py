"""How far a migration is, as a value."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from vpnctl.sidecar.elimination.statistics import StageCount, Statistics

#: Rates are those of the last seconds.
_SPAN_S = 2.0
_STAGES = ("delta", "content", "site", "text", "compress")


class Phase(StrEnum):
    """Where a sidecar stands, in this order."""

    MEETING = "meeting the peer"
    WAITING = "waiting for QEMU"
    MOVING = "moving"
    CUT = "cut off"  # moving, without a connection at present
    FINISHING = "finishing"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StageProgress:
    """Of one stage: ``saved`` octets that later stages did not see; see `StageCount`."""

    tried: int
    hits: int
    saved: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a migration is.

    ``guest``: octets of the guest's stream, read from QEMU or handed to it; ``wire``: octets of
    records sent and received; ``resent``: of these, sent again after cuts; ``guest_rate``,
    ``wire_rate``: octets per second of late; ``limit``: octets per second that may be sent, None
    for no limit; ``cuts``, ``cut_s``: connections lost, seconds without one; ``elapsed_s``:
    since the first octet; ``eta_s``: seconds to go, None when nobody knows.
    """

    migration: str
    role: str
    phase: Phase
    guest: int = 0
    wire: int = 0
    resent: int = 0
    guest_rate: float = 0.0
    wire_rate: float = 0.0
    limit: float | None = None
    cuts: int = 0
    cut_s: float = 0.0
    elapsed_s: float = 0.0
    eta_s: float | None = None
    stages: dict[str, StageProgress] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        """In types that JSON knows."""
        return asdict(self) | {"phase": self.phase.value}


def stages_of(statistics: Statistics) -> dict[str, StageProgress]:
    """What each stage that found anything to do has done."""
    counts: dict[str, StageCount] = {name: getattr(statistics, name) for name in _STAGES}
    return {
        name: StageProgress(count.tried, count.hits, count.saved)
        for name, count in counts.items()
        if count.tried
    }


class RateMeter:
    """Octets per second of late, from a counter that is looked at now and then."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, int]] = []

    def rate(self, count: int, now: float) -> float:
        """The rate, now that the counter stands at ``count``; ``now`` in seconds."""
        self._seen.append((now, count))
        while len(self._seen) > 2 and self._seen[1][0] <= now - _SPAN_S:
            del self._seen[0]
        then, before = self._seen[0]
        return (count - before) / (now - then) if now > then else 0.0
