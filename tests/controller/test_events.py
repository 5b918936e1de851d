from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from tests.routing import wire
from vpnctl.controller.events import EventHub, utc_text
from vpnctl.controller.views import Event
from vpnctl.model import EVPN

pytestmark = pytest.mark.anyio

AT = datetime(2026, 11, 22, 8, 14, 2, 118_999, UTC)


def test_times_are_utc_in_milliseconds() -> None:
    assert utc_text(AT) == "2026-11-22T08:14:02.118Z"


async def test_every_watcher_hears_everything_from_when_it_came() -> None:
    hub = EventHub(lambda: AT)
    hub.tell("session", "pe1", "before anybody listens")
    first, second = hub.watch(), hub.watch()
    waiting = [asyncio.ensure_future(anext(watcher)) for watcher in (first, second)]
    await asyncio.sleep(0)
    hub.tell("session", "pe1", "established")
    expected = Event("2026-11-22T08:14:02.118Z", "session", "pe1", "established")
    assert await asyncio.gather(*waiting) == [expected, expected]
    await first.aclose()
    hub.tell("session", "pe1", "down")
    assert (await anext(second)).message == "down"
    await second.aclose()
    assert hub._watchers == set()


async def test_routes_of_a_mac_address_are_told_while_somebody_watches_it() -> None:
    hub = EventHub(lambda: AT)
    mac = bytes.fromhex("525400000001")
    route = wire.update(wire.reach(EVPN, wire.evpn_mac(1, mac)))
    gone = wire.update(wire.unreach(EVPN, wire.evpn_mac(1, mac)))
    watcher = hub.watch([mac])
    waiting = asyncio.ensure_future(anext(watcher))
    await asyncio.sleep(0)
    hub.routes("pe-c2", route, sent=False)
    hub.routes("pe-e1", route, sent=True)
    hub.routes("pe-c1", gone, sent=False)
    heard = [await waiting, await anext(watcher), await anext(watcher)]
    assert [(event.kind, event.subject, event.message) for event in heard] == [
        ("route", "pe-c2", "52:54:00:00:00:01 announced by pe-c2"),
        ("route", "pe-e1", "52:54:00:00:00:01 announced to pe-e1"),
        ("route", "pe-c1", "52:54:00:00:00:01 withdrawn by pe-c1"),
    ]
    await watcher.aclose()
    assert not hub.macs


async def test_one_who_reads_slowly_is_told_of_the_gap_and_holds_up_nobody() -> None:
    hub = EventHub(lambda: AT)
    watcher = hub.watch()
    reading = asyncio.ensure_future(anext(watcher))
    await asyncio.sleep(0)
    for number in range(5000):
        hub.tell("route", str(number), "")
    heard = [await reading]
    while heard[-1].subject != "4999":
        heard.append(await anext(watcher))
    assert len(heard) <= 1001
    assert any("dropped" in event.message for event in heard)
