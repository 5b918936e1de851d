"""Sends what a connection has to say, record by record, as fast as link and limit let it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence

from vpnctl.sidecar.wan.bucket import TokenBucket
from vpnctl.sidecar.wan.changes import Changes
from vpnctl.sidecar.wan.limits import Traffic
from vpnctl.sidecar.wan.met import Met
from vpnctl.sidecar.wan.pace import Pace
from vpnctl.sidecar.wan.stream import Stream


class Speaker:
    """Of one connection after the other: `begin`, then `speak`.

    ``traffic`` is added to; ``changes`` is told of what went, and tells what there is to be said.
    ``is_ending``: nothing is to be sent any more but last words, which are somebody else's.
    """

    def __init__(
        self,
        bucket: TokenBucket,
        traffic: Traffic,
        changes: Changes,
        keepalive_s: float,
        is_ending: Callable[[], bool],
    ) -> None:
        self._bucket = bucket
        self._traffic = traffic
        self._changes = changes
        self._keepalive_s = keepalive_s
        self._is_ending = is_ending
        self._pace = Pace()
        # The connection that has nothing to say.
        self._idle: Met | None = None
        # Octets of a record that was begun for it and is still to be finished.
        self._begun = 0

    @property
    def carried(self) -> tuple[int, float]:
        """Octets that were sent, and seconds in which link or limit took no more of them."""
        return self._pace.octets, self._pace.held_s

    def queue(self, most: int) -> int:
        """Octets that may wait to be sent; ``most`` at most."""
        return self._pace.queue(most)

    def begin(self) -> None:
        """Of another connection."""
        cuts = self._traffic.cuts
        self._pace.began(self._traffic.sent / cuts if cuts else None)

    async def speak(self, met: Met) -> None:
        """Until all that was begun is said, and nothing else is to be; raises `OSError`."""
        connection = met.connection
        while True:
            if met.stream.has_begun:
                await self._finish(met.stream, self._begun)
            if self._is_ending():
                return
            if record := connection.next_record(self._segment):
                await self._send(met.stream, record)
                continue
            self._pace.paused()
            self._idle = met
            try:
                async with asyncio.timeout(self._keepalive_s):
                    await self._changes.until(
                        lambda: (
                            connection.wants_to_send or met.stream.has_begun or self._is_ending()
                        )
                    )
            except TimeoutError:
                connection.alive()
            finally:
                self._idle = None

    def speak_at_once(self) -> None:
        """Send what nobody has to wait for, so that `speak` need not be woken up."""
        met = self._idle
        if met is None or self._bucket.rate is not None or self._is_ending():
            return
        while not met.stream.has_begun:
            if not (record := met.connection.next_record(self._segment)):
                self._pace.paused()
                return
            self._pace.sending(time.monotonic())
            self._begun = sum(map(len, record))
            try:
                all_went = met.stream.begin(*record)
            except OSError:
                # Who receives stumbles over it as well, and it is sent again.
                return
            if all_went:
                self._went(met.stream, self._begun, 0.0)

    async def _send(self, stream: Stream, record: Sequence[bytes | memoryview]) -> None:
        size = sum(map(len, record))
        begun = time.monotonic()
        self._pace.sending(begun)
        while not self._is_ending() and (delay := self._bucket.delay(size, time.monotonic())):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._limit_changed(self._bucket.rate)
        limited_s = time.monotonic() - begun
        stream.begin(*record)
        await self._finish(stream, size, limited_s)
        # The socket may always be ready: let others have their turn.
        await asyncio.sleep(0)

    async def _limit_changed(self, rate: float | None) -> None:
        """Return when the limit is not ``rate`` any more, or nothing is to be sent."""
        await self._changes.until(lambda: self._is_ending() or self._bucket.rate != rate)

    async def _finish(self, stream: Stream, size: int, limited_s: float = 0.0) -> None:
        """Have the kernel take the rest of a record of ``size`` octets that was begun."""
        held_s = stream.held_s
        await stream.finish()
        self._went(stream, size, limited_s + stream.held_s - held_s)

    def _went(self, stream: Stream, octets: int, held_s: float) -> None:
        """``octets`` more are with the kernel, after link or limit had not taken them for
        ``held_s``."""
        self._bucket.spend(octets)
        self._traffic.sent += octets
        self._pace.sent(octets, time.monotonic(), held_s)
        stream.limit_unsent(self._pace.unsent)
        self._changes.tell()

    @property
    def _segment(self) -> int:
        return self._pace.segment(self._bucket.rate)
