"""Machines of an application go on together, and none of them waits for ever."""

from __future__ import annotations

import asyncio

from vpnctl.migration.agent.messages import Together
from vpnctl.migration.agent.together import PATIENCE_S, Meeting

BOTH = Together(name="shop-1", count=2)


def test_the_first_waits_for_the_last() -> None:
    async def story() -> None:
        meeting = Meeting(60.0)
        first = asyncio.create_task(meeting.join("web1-1", BOTH))
        other = asyncio.create_task(meeting.join("mail-1", Together(name="mail-2", count=2)))
        await asyncio.sleep(0)
        # The same one twice is not two.
        again = asyncio.create_task(meeting.join("web1-1", BOTH))
        await asyncio.sleep(0)
        assert not first.done()
        assert await meeting.join("db1-1", BOTH)
        assert await first
        assert await again
        assert not other.done()
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)

    asyncio.run(story())


def test_one_whose_others_never_come_goes_on_alone() -> None:
    async def story() -> None:
        meeting = Meeting(0.001)
        assert not await meeting.join("web1-1", BOTH)
        # The next time is a new one.
        assert not await meeting.join("db1-1", BOTH)

    asyncio.run(story())
    assert PATIENCE_S < 20.0, "the owner gives up a guest that stands still for that long"
