"""When to pause a guest that keeps changing its memory (CloudNet, "Smart Stop and Copy").

A migration goes in passes: each sends what the guest changed during the one before.  Once a pass
finds at least as much changed as it had sent, more passes do not shrink what is left: it only goes
up and down from here.  From this crossover on the best moment is a local minimum: a pass that
begins with less to send than all of the few passes before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

#: Passes looked back at for a local minimum.
WINDOW = 5
#: A pause so short is not worth another pass.
SHORT_S = 0.05
#: What a pause takes besides memory: devices, and the answer of the other site.
FIXED_S = 0.06
#: Passes after the crossover, in windows, until any pass that is no worse than usual is taken.
_PATIENCE = 3


class Advice(StrEnum):
    """What to do with a migration."""

    GO_ON = "go on"
    STOP = "stop"
    NOT_CONVERGING = "not converging"  # go on, but only the operator can help


@dataclass(frozen=True, slots=True)
class Verdict:
    """``pause_s``: how long the guest would stand still if it were paused now, None when nobody
    knows yet; ``why`` in words."""

    advice: Advice
    pause_s: float | None
    why: str


def crossover(left: Sequence[int]) -> int | None:
    """The pass that began with at least as much to send as the one before; None before that."""
    for number in range(1, len(left)):
        if left[number] >= left[number - 1]:
            return number
    return None


def predicted_pause(left: int, rate: float) -> float | None:
    """Seconds for ``left`` octets at ``rate`` octets per second, and what is fixed."""
    return left / rate + FIXED_S if rate > 0 else None


def judge(
    left: Sequence[int], rate: float, max_pause_s: float | None = None, window: int = WINDOW
) -> Verdict:
    """What to do at the beginning of a pass.

    ``left``: octets to send at the beginning of each pass so far, this one last; ``rate``: octets
    per second of late; ``max_pause_s``: no longer pause is wanted, None for any.
    """
    pause = predicted_pause(left[-1], rate) if left else None
    if len(left) < 2 or pause is None:
        return Verdict(Advice.GO_ON, pause, "the first pass sends everything once")
    allowed = max_pause_s is None or pause <= max_pause_s
    if pause - FIXED_S <= SHORT_S and allowed:
        return Verdict(Advice.STOP, pause, "little is left")
    crossed = crossover(left)
    if crossed is None:
        return Verdict(Advice.GO_ON, pause, "each pass leaves less than the one before")
    since = left[crossed:]
    before = left[max(crossed - 1, len(left) - 1 - window) : -1]
    if allowed:
        if len(since) > window and left[-1] < min(before):
            return Verdict(Advice.STOP, pause, f"least of the last {len(before) + 1} passes")
        if len(since) > _PATIENCE * window and left[-1] <= sorted(since)[len(since) // 2]:
            return Verdict(Advice.STOP, pause, "no pass leaves clearly less any more")
    elif len(since) > _PATIENCE * window:
        return Verdict(
            Advice.NOT_CONVERGING,
            pause,
            "the guest changes memory faster than it can be sent within the longest pause allowed",
        )
    return Verdict(Advice.GO_ON, pause, "looking for a pass that leaves little")
