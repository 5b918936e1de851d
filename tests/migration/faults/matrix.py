"""What can go wrong with a move, as a matrix: who, at which moment, how long after it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import product

#: All of them; which ones of the matrix is the same every time.
COUNT, SEED = 200, 8


class Victim(StrEnum):
    """What is killed, cut or told; here is where the machine is, there where it goes."""

    AGENT_HERE = "agent here"
    AGENT_THERE = "agent there"
    SIDECAR_HERE = "sidecar here"
    SIDECAR_THERE = "sidecar there"
    QEMU_HERE = "QEMU here"
    QEMU_THERE = "QEMU there"
    LINK = "link"  # cut for a while, agents' own connections included
    OPERATOR = "operator"  # cancels it


#: Moments by how a migration's timeline names them; SITE is where the machine goes.
MOMENTS = (
    "SITE is ready",
    "sidecars connected",
    "disks follow",
    "told to stop the guest",
    "guest stopped",
    "disks are equal",
    "memory complete at the other site",
    "runs at SITE",
)
#: One that only machines on a newer QEMU know: their writes wait for the link from then on.
SYNCHRONOUS = "disks follow synchronously"
DELAYS_S = (0.0, 0.02, 0.1)
#: Steps of the commit protocol at which an agent kills itself, see `tests.migration.mortal`.
STEPS = tuple(
    f"{half}:{state}:{action}:{when}"
    for (half, state, action), when in product(
        (
            ("departing", "offered", "record"),
            ("departing", "offered", "send offer"),
            ("departing", "gone", "record"),
            ("departing", "gone", "destroy"),
            ("arriving", "accepted", "record"),
            ("arriving", "accepted", "run"),
            ("arriving", "ours", "record"),
            ("arriving", "ours", "accept"),
        ),
        ("before", "after"),
    )
)
#: Those of a move that the operator cancels.
STEPS_OF_CANCELLED = tuple(
    f"departing:kept:{action}:{when}"
    for action, when in product(("record", "send cancel", "run"), ("before", "after"))
)


@dataclass(frozen=True, slots=True)
class Fault:
    """``step``: an agent's own, else ``victim`` at ``moment`` and ``delay_s`` later; ``host``: with
    the agent dies everything that it has started."""

    victim: Victim
    moment: str
    delay_s: float = 0.0
    step: str = ""
    host: bool = False

    def __str__(self) -> str:
        if self.step:
            return f"{'host' if self.host else 'agent'} dies: {self.step}"
        who = self.victim.replace("agent", "host") if self.host else self.victim
        return f"{who}, {self.delay_s * 1000:.0f} ms after '{self.moment}'"


def _at(step: str, host: bool = False) -> Fault:
    departing = step.startswith("departing")
    return Fault(Victim.AGENT_HERE if departing else Victim.AGENT_THERE, "", 0, step, host)


def _timed(moments: Sequence[str] = MOMENTS) -> list[Fault]:
    return [Fault(*one) for one in product(Victim, moments, DELAYS_S)]


def named(words: str) -> tuple[Fault, ...]:
    """Every fault there is with these words in what it is called, also those that are not in the
    matrix: a host that dies, and steps of a move that is cancelled."""
    steps = [_at(*one) for one in product((*STEPS, *STEPS_OF_CANCELLED), (False, True))]
    timed = _timed((*MOMENTS, SYNCHRONOUS))
    hosts = [replace(one, host=True) for one in timed if "agent" in one.victim]
    return tuple(fault for fault in (*steps, *timed, *hosts) if words in str(fault))


def synchronous(times: int) -> tuple[Fault, ...]:
    """Each that strikes while disks follow synchronously, so often, in a mixed order."""
    found = times * _timed((SYNCHRONOUS,))
    random.Random(SEED).shuffle(found)
    return tuple(found)


def matrix(count: int = COUNT) -> tuple[Fault, ...]:
    """So many faults in a mixed order: every step of the protocol twice, and of the others as many
    as there is room for.  A small ``count`` gives each victim before any twice, and some steps."""
    dice = random.Random(SEED)
    steps, timed = [_at(step) for step in STEPS], _timed()
    dice.shuffle(timed)
    if count < COUNT:
        dice.shuffle(steps)
        one_each = list({fault.victim: fault for fault in timed}.values())
        found = (one_each + steps)[:count]
    else:
        found = 2 * steps + timed[: count - 2 * len(steps)]
    dice.shuffle(found)
    return tuple(found)
