"""Whatever dies and whatever is lost, at most one copy of a machine may run; at the end one does.

The world of two agents, two QEMUs and a bad network is small enough to look at all of it: every
state that can be reached is reached, whatever happens in whatever order.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from vpnctl.migration import commit
from vpnctl.migration.commit import Action, Arrival, Departure, Event, Step

_MESSAGES = {
    Action.SEND_OFFER: Event.OFFER,
    Action.SEND_CANCEL: Event.CANCEL,
    Action.ACCEPT: Event.ACCEPTANCE,
    Action.REFUSE: Event.REFUSAL,
}
RUNNING, STOPPED, GONE = "running", "stopped", "gone"


@dataclass(frozen=True)
class World:
    """``disk_*``: what an agent has recorded; ``a``, ``b``: what a living one knows; ``todo_*``:
    what it has still to do, one at a time, so that it can die between any two; ``to_*``: every
    message ever sent: each may be lost, come late, and come again; ``copy_*``: the QEMUs.
    """

    disk_a: Departure = Departure.OPEN
    disk_b: Arrival = Arrival.AWAITING
    a: Departure | None = Departure.OPEN
    b: Arrival | None = Arrival.AWAITING
    todo_a: tuple[Action, ...] = ()
    todo_b: tuple[Action, ...] = ()
    to_a: frozenset[Event] = frozenset()
    to_b: frozenset[Event] = frozenset()
    copy_a: str = RUNNING
    copy_b: str = STOPPED
    streamed: bool = False  # a's QEMU has sent everything
    b_ran: bool = False

    def happens_a(self, event: Event) -> World:
        assert self.a is not None
        step = commit.departure(self.a, event)
        return replace(self, a=step.state, todo_a=self.todo_a + step.actions)

    def happens_b(self, event: Event) -> World:
        assert self.b is not None
        step = commit.arrival(self.b, event)
        return replace(self, b=step.state, todo_b=self.todo_b + step.actions)

    def a_acts(self) -> World:
        action, self = self.todo_a[0], replace(self, todo_a=self.todo_a[1:])
        match action:
            case Action.RECORD:
                assert self.a is not None
                return replace(self, disk_a=self.a)
            case Action.RUN:
                return replace(self, copy_a=RUNNING)
            case Action.DESTROY:
                return replace(self, copy_a=GONE)
        return replace(self, to_b=self.to_b | {_MESSAGES[action]})

    def b_acts(self) -> Iterator[World]:
        action, self = self.todo_b[0], replace(self, todo_b=self.todo_b[1:])
        match action:
            case Action.RECORD:
                assert self.b is not None
                yield replace(self, disk_b=self.b)
            case Action.RUN if self.copy_b == GONE and self.b is Arrival.ACCEPTED:
                yield self.happens_b(Event.DIED)
            case Action.RUN:
                yield replace(self, copy_b=RUNNING, b_ran=True).happens_b(Event.STARTED)
                if self.copy_b == STOPPED:
                    # QEMU may say no: the disk is locked, for example.
                    yield self.happens_b(Event.UNABLE)
            case Action.DESTROY:
                yield replace(self, copy_b=GONE)
            case _:
                yield replace(self, to_a=self.to_a | {_MESSAGES[action]})

    def all_that_can_follow(self) -> Iterator[World]:
        if self.a is None:
            yield replace(self, a=self.disk_a).happens_a(Event.RESTARTED)
        else:
            yield replace(self, a=None, todo_a=())
            if self.todo_a:
                yield self.a_acts()
            else:
                yield self.happens_a(Event.FAILED)
                yield self.happens_a(Event.SILENCE)
                yield from (self.happens_a(message) for message in self.to_a)
                if self.a is Departure.OPEN and self.streamed:
                    yield self.happens_a(Event.LOADED)
        if self.b is None:
            yield replace(self, b=self.disk_b).happens_b(Event.RESTARTED)
        else:
            yield replace(self, b=None, todo_b=())
            if self.todo_b:
                yield from self.b_acts()
            else:
                yield self.happens_b(Event.FAILED)
                yield from (self.happens_b(message) for message in self.to_b)
                if self.copy_b != GONE:
                    yield replace(self, copy_b=GONE).happens_b(Event.DIED)
        if self.copy_b != GONE:
            yield replace(self, copy_b=GONE)  # and nobody has seen it yet
        if (self.a, self.todo_a, self.copy_a) == (Departure.OPEN, (), RUNNING) and (
            self.b,
            self.todo_b,
            self.copy_b,
        ) == (Arrival.AWAITING, (), STOPPED):
            yield replace(self, copy_a=STOPPED, streamed=True).happens_b(Event.LOADED)

    def healed(self) -> World:
        """Both agents live, messages arrive, nothing breaks any more."""
        if self.a is None:
            self = replace(self, a=self.disk_a).happens_a(Event.RESTARTED)
        if self.b is None:
            self = replace(self, b=self.disk_b).happens_b(Event.RESTARTED)
        if self.a is Departure.OPEN and not self.todo_a:
            self = self.happens_a(Event.FAILED)
        self = replace(self, to_a=frozenset(), to_b=frozenset())
        for _ in range(50):
            _check(self)
            if self.todo_a:
                self = self.a_acts()
            elif self.todo_b:
                self = next(self.b_acts())
            elif self.to_a:
                (message,) = self.to_a
                self = replace(self, to_a=frozenset()).happens_a(message)
            elif self.to_b:
                (message,) = self.to_b
                self = replace(self, to_b=frozenset()).happens_b(message)
            elif self.a is Departure.OFFERED:
                self = self.happens_a(Event.SILENCE)
            elif self.b in (Arrival.AWAITING, Arrival.COMPLETE):
                # The owner's cancel was lost: nobody comes any more.
                self = self.happens_b(Event.FAILED)
            elif self.b is Arrival.OURS and self.copy_b == GONE:
                # A machine of ours that crashed is started again, as any other.
                self = self.happens_b(Event.RESTARTED)
            else:
                return self
        raise AssertionError(f"they never agree: {self}")


class ViolationError(Exception):
    """What must never be, was."""


def _check(world: World) -> None:
    if world.copy_a == world.copy_b == RUNNING:
        raise ViolationError(f"two copies run: {world}")
    if world.b_ran and world.copy_a == RUNNING:
        raise ViolationError(f"what the guest did at the other site is undone: {world}")


def _explore() -> set[World]:
    """Every state of the world that can be reached, each one checked."""
    seen = {World()}
    frontier = list(seen)
    while frontier:
        world = frontier.pop()
        _check(world)
        for following in world.all_that_can_follow():
            if following not in seen:
                seen.add(following)
                frontier.append(following)
    return seen


def test_two_copies_never_run_and_at_the_end_one_does() -> None:
    worlds = _explore()
    assert any(world.b_ran for world in worlds)
    ends = set()
    for world in worlds:
        end = world.healed()
        ends.add((end.a, end.b, end.copy_a, end.copy_b))
    assert ends == {
        (Departure.GONE, Arrival.OURS, GONE, RUNNING),
        (Departure.KEPT, Arrival.REFUSED, RUNNING, GONE),
    }


_RECORD, _RUN, _DESTROY, _REFUSE = Action.RECORD, Action.RUN, Action.DESTROY, Action.REFUSE


@pytest.mark.parametrize(
    ("table", "at", "step"),
    [
        (
            commit.DEPARTURE,
            (Departure.OFFERED, Event.FAILED),
            Step(Departure.KEPT, (_RECORD, _RUN)),
        ),
        (
            commit.DEPARTURE,
            (Departure.OPEN, Event.LOADED),
            Step(Departure.OFFERED, (Action.SEND_OFFER, _RECORD)),
        ),
        (
            commit.ARRIVAL,
            (Arrival.COMPLETE, Event.OFFER),
            Step(Arrival.ACCEPTED, (_RUN, _RECORD)),
        ),
        (
            commit.ARRIVAL,
            (Arrival.ACCEPTED, Event.DIED),
            Step(Arrival.REFUSED, (_RECORD, _DESTROY, _REFUSE)),
        ),
        (
            commit.ARRIVAL,
            (Arrival.OURS, Event.FAILED),
            Step(Arrival.REFUSED, (_RECORD, _DESTROY, _REFUSE)),
        ),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_the_search_finds_every_shortcut(
    table: MutableMapping[Any, Any],
    at: Any,
    step: Step[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Offering before it is recorded, taking an offer back, and the like: each ends in harm."""
    monkeypatch.setitem(table, at, step)
    with pytest.raises(ViolationError):
        _explore()
