"""Keeps one migration's transfer going over as many connections as it takes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator

from vpnctl.errors import SidecarError, SidecarProtocolError, VpnctlError
from vpnctl.sidecar.wan.bucket import TokenBucket
from vpnctl.sidecar.wan.changes import Changes
from vpnctl.sidecar.wan.connection import (
    Arrived,
    ConnectionEvent,
    PeerAborted,
    PeerLeft,
)
from vpnctl.sidecar.wan.inbox import Inbox
from vpnctl.sidecar.wan.limits import Limits, Traffic
from vpnctl.sidecar.wan.messages import Message, MessageReader, encode
from vpnctl.sidecar.wan.met import CutError, Meeting, Met
from vpnctl.sidecar.wan.speaker import Speaker
from vpnctl.sidecar.wan.transfer import Transfer

#: Seconds that the last words of either side are given.
_LAST_WORDS_S = 2.0
#: Seconds that a side which has said everything waits for the other's goodbye.
_GOODBYE_S = 5.0
#: After so many reads, others have their turn: each turn costs as much as many octets do.
_TURN = 8


def incarnation() -> str:
    """A name for this process that no other has."""
    return secrets.token_hex(8)


class Lifeline:
    """One end of a migration's transfer: `send` and `receive` while it is `kept`.

    ``notice`` is told why the peer is not met, while it is tried again.
    Whatever waits here raises the reason, a `SidecarError` or what `abort` was given, once the
    migration has failed.
    """

    def __init__(
        self,
        meeting: Meeting,
        limits: Limits,
        bucket: TokenBucket,
        reader: MessageReader,
        notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.limits = limits
        self.traffic = Traffic()
        self.transfer = Transfer(limits.window)
        self.connected = False
        #: Seconds to the peer and back, when it was met last.
        self.round_trip_s = 0.0
        self._meeting = meeting
        self._bucket = bucket
        self._inbox = Inbox(reader)
        self._notice = notice
        self._failure: VpnctlError | None = None
        self._leaving = False
        self._staying = False
        # Why the last attempt to meet the peer came to nothing.
        self._why_not = ""
        self._ended = asyncio.Event()
        self._changes = Changes()
        self._speaker = Speaker(
            bucket, self.traffic, self._changes, limits.keepalive_s, lambda: self._is_ending
        )

    @property
    def rate(self) -> float | None:
        """The limit in octets per second."""
        return self._bucket.rate

    @property
    def carried(self) -> tuple[int, float]:
        """Octets that were sent, and seconds in which link or limit took no more of them."""
        return self._speaker.carried

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Keeps connections while the block runs; at its end all must be said (`leave`, `stay`).

        A `VpnctlError` in the block, or the end of the task, is told to the peer.
        """
        running = asyncio.create_task(self._run())
        try:
            try:
                yield
            except asyncio.CancelledError:
                await self._abort(SidecarError("it was stopped by its operator"))
                raise
            except VpnctlError as error:
                await self._abort(error)
                raise
            await running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def connect(self) -> None:
        """Return when the peer is there."""
        await self._until(lambda: self.connected)

    async def drained(self) -> None:
        """Return when nothing waits to be sent."""
        await self._until(lambda: not self.transfer.unsent)

    async def failed(self) -> None:
        """Never return; for those who wait for something else beside."""
        await self._until(lambda: False)

    async def send(self, *messages: Message) -> None:
        """Queue messages as soon as there is room, to go together where that can be had."""
        await self._until(self._has_room)
        self.transfer.put(*(part for message in messages for part in encode(message)))
        self._speaker.speak_at_once()
        self._tell()

    async def receive(self) -> Message:
        """The next message of the peer; those that came before a failure come first."""
        while not self._inbox:
            await self._until(lambda: bool(self._inbox))
        message = self._inbox.take()
        self._tell()
        return message

    def set_rate(self, rate: float | None) -> None:
        """Limit what is sent, in octets per second, from now on; None: no limit."""
        self._bucket.set_rate(rate, time.monotonic())
        self._tell()

    def leave(self) -> None:
        """All is done: say goodbye, without what still waits, and keep no more connections."""
        self._leaving = self._staying = True
        self._tell()

    def stay(self) -> None:
        """All was heard: keep connections only until we were heard, too, and the peer says goodbye
        or does not come back; what it says beside is dropped."""
        self._staying = True
        self._inbox.shut()
        self._tell()

    async def _abort(self, error: VpnctlError) -> None:
        """Fail, and give the peer a moment to be told why."""
        self._fail(error)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * _LAST_WORDS_S):
                await self._ended.wait()

    async def _run(self) -> None:
        """Keep the transfer going until it is done; raises the failure."""
        try:
            cut_at = None
            while (met := await self._next(cut_at)) is not None:
                if cut_at is not None:
                    self.traffic.cut_s += time.monotonic() - cut_at
                try:
                    await self._serve(met)
                    return
                except CutError:
                    self.traffic.cuts += 1
                    cut_at = time.monotonic()
        except VpnctlError as error:
            self._fail(error)
            raise
        except Exception as error:
            self._fail(SidecarError(f"a defect of vpnctl: {type(error).__name__}: {error}"))
            raise
        finally:
            self._ended.set()
            await self._meeting.close()

    async def _next(self, cut_at: float | None) -> Met | None:
        """The next connection; None when none comes, and none is needed any more."""
        limit = self.limits.connect_s if cut_at is None else self.limits.resume_s
        settled = self._settled
        if settled:
            limit = _GOODBYE_S
        met = asyncio.create_task(self._meet())
        met.add_done_callback(lambda _: self._tell())
        try:
            async with asyncio.timeout(limit):
                await self._until(met.done)
            return met.result()
        except (TimeoutError, VpnctlError) as error:
            if settled:
                return None
            if isinstance(error, VpnctlError):
                raise
            raise self._not_met(cut_at, limit) from None
        finally:
            met.cancel()

    @property
    def _settled(self) -> bool:
        """Whether nothing is left but goodbyes."""
        return self._leaving or (self._staying and not self.transfer.unacknowledged)

    async def _meet(self) -> Met:
        while True:
            try:
                met = await self._meeting.meet(self.transfer.received)
                self._why_not = ""
                return met
            except CutError as error:
                # Once, and when it changes: it is tried every other second.
                if str(error) != self._why_not:
                    self._notice(f"the other site is not there, trying again: {error}")
                self._why_not = str(error)

    def _not_met(self, cut_at: float | None, limit: float | None) -> SidecarError:
        why = f": {self._why_not}" if self._why_not else ""
        if cut_at is None:
            return SidecarError(
                f"the peer could not be met within {limit:g} s{why}",
                hint="start 'vpnctl sidecar destination' at the other site first",
            )
        return SidecarError(
            f"the connection was cut and not made again within {limit:g} s{why}",
            hint="the guest runs on at the source; when the link is back, migrate again",
        )

    async def _serve(self, met: Met) -> None:
        """One connection until all is done; raises `CutError` when it was cut before."""
        self._speaker.begin()
        sender = asyncio.create_task(self._send_records(met))
        receiver = asyncio.create_task(self._receive_records(met))
        replaced = asyncio.create_task(self._meeting.replaced())
        tasks = (sender, receiver, replaced)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if _stumbled(sender):
                # Why the peer gave up may lie behind what the sender stumbled over.
                await asyncio.wait((receiver,), timeout=_LAST_WORDS_S)
            elif _failed(receiver):
                # The sender tells the peer before it ends.
                await asyncio.wait((sender,), timeout=_LAST_WORDS_S)
            ended = [task for task in (receiver, sender) if task.done()]
            if not ended:
                await _cancelled(receiver)
                self._take_waiting(met)
                raise CutError("the peer came again")
            if sender in ended and sender.exception() is None:
                # We said goodbye; that the peer has closed since is no cut.
                ended = [sender]
            ended[0].result()
            await met.stream.close_gently()
        except OSError as error:
            raise CutError(str(error)) from error
        except VpnctlError:
            await met.stream.close_gently()
            raise
        finally:
            self.connected = False
            await _cancelled(*tasks)
            met.stream.close()

    async def _send_records(self, met: Met) -> None:
        """Until goodbye was said; raises the failure once the peer was told."""
        await self._speaker.speak(met)
        if self._failure is not None:
            met.connection.abort(self._failure.message)
            await met.stream.send(met.connection.last_words())
            raise self._failure
        met.connection.leave()
        await met.stream.send(met.connection.last_words())

    async def _receive_records(self, met: Met) -> None:
        """Until the peer says goodbye; raises what it gave up for, or what is wrong with it."""
        try:
            met.connection.open(self.transfer)
            self.connected, self.round_trip_s = True, met.stream.round_trip_s
            self._tell()
            events = met.rest
            for number in itertools.count(1):
                if self._handle(events):
                    return
                if number % _TURN == 0:
                    # There may always be more to be read, and nothing of it a message.
                    await asyncio.sleep(0)
                await self._until(lambda: not self._inbox.full)
                events = met.connection.receive(await self._receive(met))
        except VpnctlError as error:
            self._fail(error)
            raise

    def _take_waiting(self, met: Met) -> None:
        """What arrived on a connection before it was given up need not be sent again."""
        while not self._inbox.full:
            count = met.stream.receive_waiting(met.connection.room())
            if not count:
                return
            self.traffic.received += count
            self._handle(met.connection.receive(count))

    async def _receive(self, met: Met) -> int:
        room = met.connection.room()
        # No wait in between: what is in the room and was not told of would be lost.
        if not (count := met.stream.receive_waiting(room)):
            try:
                async with asyncio.timeout(self.limits.silence_s):
                    count = await met.stream.receive(room)
            except TimeoutError:
                # Perhaps it was not the peer: this process may have had no processor for so long.
                if not (count := met.stream.receive_waiting(room)):
                    silent = f"the peer was silent for {self.limits.silence_s:g} s"
                    raise CutError(silent) from None
        if not count:
            raise CutError("the peer closed the connection")
        self.traffic.received += count
        return count

    def _handle(self, events: Iterator[ConnectionEvent]) -> bool:
        """Whether the peer said goodbye."""
        left = False
        for event in events:
            match event:
                case Arrived():
                    self._inbox.put(event.octets)
                case PeerAborted():
                    raise SidecarError(
                        f"the other site gave up: {event.reason}",
                        hint="the guest runs on at the source",
                    )
                case PeerLeft():
                    left = True
                case _:
                    pass
        self._speaker.speak_at_once()
        self._tell()
        if left and not self._staying:
            raise SidecarProtocolError("the peer left before the migration was done")
        return left

    @property
    def _is_ending(self) -> bool:
        """Whether nothing is to be sent any more but last words."""
        return self._failure is not None or self._leaving

    def _has_room(self) -> bool:
        queue = self._speaker.queue(self.limits.queue)
        return self.transfer.has_room and self.transfer.unsent < queue

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            if self._failure is not None:
                raise self._failure
            await self._changes.until(lambda: holds() or self._failure is not None)

    def _fail(self, error: VpnctlError) -> None:
        if self._failure is None:
            self._failure = error
        self._tell()

    def _tell(self) -> None:
        self._changes.tell()


async def _cancelled(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _stumbled(task: asyncio.Task[None]) -> bool:
    return task.done() and isinstance(task.exception(), OSError)


def _failed(task: asyncio.Task[None]) -> bool:
    return task.done() and isinstance(task.exception(), VpnctlError)
