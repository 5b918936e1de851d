"""A controller that only writes down what the `Speaker` tells it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, ip_address
from typing import Any

from tests.support.rawbgp import ALL_FAMILIES, RawPeer, split_messages
from vpnctl.bgp.speaker import Speaker
from vpnctl.bgp.wire import NeighborConfig, SessionClosed, SessionOpened
from vpnctl.model import Listen

PATIENCE = 40.0


class Recorder:
    def __init__(self) -> None:
        self.opened: dict[int, SessionOpened] = {}
        self.up: dict[str, int] = {}
        self.closed: list[tuple[int, SessionClosed]] = []
        self.octets: dict[int, bytes] = {}
        self.refreshes: list[tuple[int, int, int, int]] = []
        self.total_written: dict[int, int] = {}
        self.states: list[tuple[str, str, str]] = []
        self.lost: list[str] = []
        self.held: list[int] = []
        self.tellings: dict[int, bytes] = {}
        self.resumptions = 0
        self.images_wanted: list[int] = []
        self._waiting: list[tuple[Callable[[], bool], asyncio.Event]] = []

    def session_up(self, session: int, opened: SessionOpened) -> None:
        assert session not in self.octets, "a session number was used again"
        self.opened[session] = opened
        self.up[opened.neighbor] = session
        self.octets[session] = b""
        self.total_written[session] = 0
        self._changed()

    def session_down(self, session: int, closed: SessionClosed) -> None:
        del self.opened[session]
        del self.up[closed.neighbor]
        self.closed.append((session, closed))
        self._changed()

    def updates(self, session: int, messages: bytes) -> None:
        assert session in self.opened
        self.octets[session] += messages
        self._changed()

    def refresh(self, session: int, afi: int, subtype: int, safi: int) -> None:
        self.refreshes.append((session, afi, subtype, safi))
        self._changed()

    def written(self, session: int, total: int, at_ns: int) -> None:
        assert total > self.total_written[session]
        assert at_ns > 0
        self.total_written[session] = total
        self._changed()

    def neighbor_state(self, name: str, state: str, reason: str) -> None:
        self.states.append((name, state, reason))
        self._changed()

    def process_lost(self, reason: str) -> None:
        self.lost.append(reason)
        self._changed()

    def session_held(self, session: int, opened: SessionOpened) -> None:
        self.held.append(session)
        self.session_up(session, opened)

    def told(self, session: int, messages: bytes) -> None:
        self.tellings[session] = self.tellings.get(session, b"") + messages

    def resumed(self) -> None:
        self.resumptions += 1
        self._changed()

    def image_wanted(self, session: int) -> None:
        self.images_wanted.append(session)
        self._changed()

    def _changed(self) -> None:
        for condition, event in self._waiting:
            if condition():
                event.set()

    async def until(self, condition: Callable[[], bool], what: str = "the event") -> None:
        if condition():
            return
        event = asyncio.Event()
        self._waiting.append((condition, event))
        try:
            await asyncio.wait_for(event.wait(), PATIENCE)
        except TimeoutError:
            raise AssertionError(
                f"waited in vain for {what}; up {self.up}, closed {self.closed}, {self.states}"
            ) from None
        finally:
            self._waiting.remove((condition, event))

    async def session(self, neighbor: str) -> int:
        """Number of the neighbor's session, once it is up."""
        await self.until(lambda: neighbor in self.up, f"the session of {neighbor}")
        return self.up[neighbor]

    async def messages(self, session: int, octets: int) -> list[bytes]:
        """The UPDATEs received, once there are ``octets`` of them."""
        await self.until(lambda: len(self.octets[session]) >= octets, f"{octets} octets")
        return split_messages(self.octets[session])

    def reasons(self, name: str) -> list[str]:
        return [reason for neighbor, _, reason in self.states if neighbor == name and reason]


@asynccontextmanager
async def running_speaker(**options: Any) -> AsyncIterator[tuple[Speaker, Recorder]]:
    recorder = Recorder()
    speaker = Speaker(recorder, **options)
    await speaker.start()
    try:
        yield speaker, recorder
    finally:
        await speaker.stop()


def neighbor(name: str, peer: str, local: str, port: int, **changes: Any) -> NeighborConfig:
    """A passive eBGP neighbor with every family, unless ``changes`` say otherwise."""
    values: dict[str, Any] = {
        "name": name,
        "peer_address": ip_address(peer),
        "local_address": ip_address(local),
        "listen_port": port,
        "peer_port": 179,
        "local_asn": 65000,
        "peer_asn": 65001,
        "router_id": IPv4Address("10.255.0.100"),
        "families": ALL_FAMILIES,
        "hold_time": 90,
        "passive": True,
    }
    return NeighborConfig(**{**values, **changes})


def listen(address: str, port: int) -> Listen:
    return Listen(ip_address(address), port)


async def established(peer: RawPeer, **options: Any) -> None:
    """Connect ``peer`` and wait until it is up at its side."""
    await asyncio.to_thread(peer.connect, **options)
    await asyncio.to_thread(peer.wait_established)
