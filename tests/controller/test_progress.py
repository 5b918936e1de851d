"""Timelines and deliveries, with time and octets as the test says."""

from __future__ import annotations

from typing import cast

import pytest

from tests.routing.wire import opened
from vpnctl.controller.progress import Announcement, Delivery, Heard, Timeline
from vpnctl.controller.views import Step
from vpnctl.errors import UnverifiedError
from vpnctl.model import VPNV4
from vpnctl.routing.engine import Engine
from vpnctl.routing.session import Session

pytestmark = pytest.mark.anyio

MS = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.at = 5 * MS

    def __call__(self) -> int:
        return self.at


def session(number: int, *, sent: int = 0, written: int = 0, waiting: int = 0) -> Session:
    found = Session(opened(number, f"pe{number}"))
    found.sent_octets, found.written_octets = sent, written
    for index in range(waiting):
        found.defer(VPNV4, bytes((index,)), None, gone=False)
    return found


def test_a_timeline_counts_from_its_beginning() -> None:
    clock = Clock()
    timeline = Timeline(clock)
    clock.at += 2 * MS
    with timeline.step("second", "detail"):
        clock.at += 3 * MS
    timeline.add("first", 6 * MS, 6 * MS + 500_000)
    assert timeline.steps == (Step("first", 1.0, 1.5), Step("second", 2.0, 5.0, "detail"))


def test_a_step_that_fails_is_none() -> None:
    timeline = Timeline(Clock())
    with pytest.raises(ValueError, match="no"), timeline.step("tried"):
        raise ValueError("no")
    assert timeline.steps == ()


async def test_a_delivery_is_done_when_every_socket_took_everything() -> None:
    one, two = session(1, sent=100, written=40), session(2, sent=300, written=0)
    delivery = Delivery([one, two], 10 * MS)
    assert delivery.waiting == ("pe1", "pe2")
    delivery.written(one, 100, 11 * MS)
    assert delivery.waiting == ("pe2",)
    delivery.written(two, 299, 12 * MS)
    assert not await delivery.wait(0)
    delivery.written(two, 300, 13 * MS)
    assert await delivery.wait(0)
    assert delivery.waiting == ()
    clock = Clock()
    timeline = Timeline(clock)
    delivery.record(timeline)
    assert timeline.steps == (
        Step("first UPDATE out", 5.0, 6.0),
        Step("last peer's last UPDATE out", 5.0, 8.0),
    )


async def test_what_is_sent_later_is_not_waited_for() -> None:
    one = session(1, sent=100)
    delivery = Delivery([one], 0)
    one.sent_octets = 10_000
    delivery.written(one, 100, 1)
    assert await delivery.wait(0)


async def test_a_backlog_is_part_of_it() -> None:
    one = session(1, sent=100, waiting=2)
    delivery = Delivery([one], 0)
    delivery.written(one, 100, 1)
    assert delivery.waiting == ("pe1",)
    one.told(VPNV4, [bytes((index,)) for index in range(2)])
    one.sent_octets = 250
    delivery.written(one, 200, 2)
    assert delivery.waiting == ("pe1",)
    delivery.written(one, 250, 3)
    assert await delivery.wait(0)


async def test_a_peer_that_goes_away_is_not_waited_for() -> None:
    one, two = session(1, sent=100), session(2, sent=100)
    delivery = Delivery([one, two], 0)
    delivery.lost(1)
    delivery.lost(1)
    delivery.lost(7)
    assert delivery.waiting == ("pe2",)
    delivery.lost(2)
    assert await delivery.wait(0)
    timeline = Timeline(Clock())
    delivery.record(timeline)
    assert timeline.steps == ()


async def test_nothing_to_send_is_done_at_once() -> None:
    assert await Delivery([], 0).wait(0)
    # Told something of which nothing fits a message: there is nothing to wait for.
    assert await Delivery([session(1, sent=100, written=100)], 0).wait(0)


class Routes:
    """What PEs announce: pairs of a PE and a target."""

    def __init__(self, *announced: tuple[str, bytes]) -> None:
        self.announced = set(announced)

    def hears(self, peer: str, target: bytes) -> bool:
        return (peer, target) in self.announced


async def test_a_new_endpoint_is_heard_when_each_of_its_vpns_has_a_route() -> None:
    clock = Clock()
    heard = Heard(
        {
            "pe1": [Announcement("E1", (b"a", b"b")), Announcement("E2", (b"c",))],
            "pe2": [Announcement("E3", (b"d",))],
        },
        clock,
    )
    routes = Routes(("pe1", b"b"), ("pe9", b"c"), ("pe2", b"d"))
    clock.at += MS
    heard.look(cast(Engine, routes))
    assert heard.waiting == ("pe1",)
    clock.at += MS
    routes.announced.add(("pe1", b"c"))
    heard.look(cast(Engine, routes))
    await heard.wait(0, ["pe1", "pe2"])
    timeline = Timeline(Clock())
    heard.record(timeline)
    assert [(step.router, step.end_ms) for step in timeline.steps] == [("pe2", 1.0), ("pe1", 2.0)]


async def test_a_pe_without_a_session_is_not_waited_for() -> None:
    clock = Clock()
    heard = Heard({"pe1": [Announcement("E1", (b"a",))]}, clock)
    await heard.wait(3600, ["pe2"])
    await heard.wait(0, ["pe1"])
    assert heard.waiting == ("pe1",)


async def test_what_decides_names_what_has_not_come() -> None:
    clock = Clock()
    missing = [Announcement("E1 at cloud", (b"a",)), Announcement("E2 at cloud", (b"b",))]
    heard = Heard({"pe1": missing}, clock)
    witness = heard.witness("pe1", 0.01)
    with pytest.raises(UnverifiedError, match=r"in 0.01 s no route of E1 at cloud and 1 more"):
        await witness.see()
    heard.look(cast(Engine, Routes(("pe1", b"a"), ("pe1", b"b"))))
    await witness.see()
    timeline = Timeline(Clock())
    heard.record(timeline)
    assert timeline.steps == ()  # whoever waited for it tells how long
