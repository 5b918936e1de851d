"""Faults as they are ordered on the command line: ``commit=slow:5``, ``pe2/check=refuse*2``."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import NamedTuple

from vpnctl.errors import UsageError
from vpnctl.lab.junos.faults import (
    FULL_DISK,
    Fault,
    Phase,
    Wrong,
    drop,
    hang,
    pretend,
    refuse,
    slow,
)

_ORDER = re.compile(
    r"(?:(?P<router>[^/=]+)/)?(?P<phase>[a-z]+)=(?P<what>[a-z-]+)"
    r"(?::(?P<detail>.*?))?(?:\*(?P<times>[0-9]{1,6}))?"
)
_SECONDS = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,3})?")

#: What goes wrong, by its word.
_WRONG: dict[str, Callable[[str], Fault]] = {
    "slow": lambda detail: slow(float(detail)),
    "hang": lambda _: hang(),
    "hang-done": lambda _: hang(done=True),
    "drop": lambda _: drop(),
    "drop-done": lambda _: drop(done=True),
    "refuse": lambda detail: refuse(detail or "the router refuses"),
    "full-disk": lambda _: refuse(FULL_DISK),
    "pretend": lambda _: pretend(),
}
#: How a fault is ordered, for ``--help``.
SYNTAX = (
    "[ROUTER/]PHASE=WHAT[*TIMES], with PHASE one of "
    + ", ".join(phase.value for phase in Phase)
    + " and WHAT one of slow:SECONDS, refuse[:MESSAGE], "
    + ", ".join(word for word in _WRONG if word not in ("slow", "refuse"))
    + "; -done: the router does it first; TIMES 0 is always"
)


class Order(NamedTuple):
    """A fault of one router, or with an empty name of each."""

    router: str
    phase: Phase
    fault: Fault


def orders(texts: Iterable[str], routers: Collection[str]) -> tuple[Order, ...]:
    """The faults in these words; raises `UsageError` with everything that is wrong with them."""
    found: list[Order] = []
    wrong: list[str] = []
    for text in texts:
        try:
            found.append(_order(text, routers))
        except ValueError as error:
            wrong.append(f"--fault {text}: {error}")
    if wrong:
        raise UsageError("\n".join(wrong), hint=f"write {SYNTAX}")
    return tuple(found)


def _order(text: str, routers: Collection[str]) -> Order:
    match = _ORDER.fullmatch(text)
    if match is None:
        raise ValueError("is no PHASE=WHAT")
    router, phase, what = match["router"] or "", match["phase"], match["what"]
    detail = match["detail"] or ""
    if router and router not in routers:
        raise ValueError(f"no router is called {router}; there are {', '.join(routers)}")
    if phase not in {one.value for one in Phase}:
        raise ValueError(f"there is no phase {phase}")
    if what not in _WRONG:
        raise ValueError(f"there is no fault {what}")
    if what == "slow" and _SECONDS.fullmatch(detail) is None:
        raise ValueError("say for how many seconds, as in slow:5")
    if detail and what not in ("slow", "refuse"):
        raise ValueError(f"{what} has nothing after a colon")
    fault = _WRONG[what](detail)
    if phase == Phase.CONNECT.value and fault.wrong not in (Wrong.DROP, Wrong.REFUSE):
        raise ValueError("a connection can be dropped or refused")
    if fault.wrong is Wrong.PRETEND and phase != Phase.COMMIT.value:
        raise ValueError("only a commit can be pretended")
    times = 1 if match["times"] is None else int(match["times"])
    return Order(router, Phase(phase), replace(fault, times=times))
