"""The sidecar beside the QEMU that a guest moves to."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from vpnctl.errors import SidecarError
from vpnctl.sidecar.elimination import MAX_PAYLOAD
from vpnctl.sidecar.elimination.compression import Batch
from vpnctl.sidecar.run.agreement import Agreed, answer_to
from vpnctl.sidecar.run.decoding import Decoding
from vpnctl.sidecar.run.outlet import Outlet
from vpnctl.sidecar.run.progress import Phase, Progress, RateMeter, stages_of
from vpnctl.sidecar.run.qemu import connected, half_close
from vpnctl.sidecar.run.return_path import ReturnPathReader
from vpnctl.sidecar.run.settings import DestinationSettings
from vpnctl.sidecar.run.tasks import Pipe, stage, together, worker
from vpnctl.sidecar.wan.acquaintance import DestinationAcquaintance
from vpnctl.sidecar.wan.address import Address
from vpnctl.sidecar.wan.bucket import TokenBucket
from vpnctl.sidecar.wan.lifeline import Lifeline, incarnation
from vpnctl.sidecar.wan.meeting import Listener
from vpnctl.sidecar.wan.messages import (
    MAX_RETURN,
    SOURCE_SAYS,
    Check,
    End,
    Given,
    MessageReader,
    Outcome,
    Payload,
    Return,
    ReturnEnd,
    Verdict,
)

#: Seconds from one word to the source of what QEMU was given to the next: each costs both of them
#: as much as many octets do.
_TELL_S = 0.002


class DestinationSidecar:
    """One migration, from `run` to its end.

    ``notice`` is told of visitors that were turned away, of a QEMU that is not there yet, and at
    the end why the site's cache has not kept what it should.
    Raises `UsageError` when certificates cannot be used.
    """

    def __init__(self, settings: DestinationSettings, notice: Callable[[str], None]) -> None:
        self.settings = settings
        self._notice = notice
        self._phase = Phase.MEETING
        self._cache = settings.site.open() if settings.site else None
        self._agreed: Agreed | None = None
        self._decoding: Decoding | None = None
        self._acquaintance = DestinationAcquaintance(incarnation(), self._agree)
        self._listener = Listener(settings.listen, settings.tls, self._acquaintance, notice)
        self._lifeline = Lifeline(
            self._listener,
            settings.limits,
            TokenBucket(None, time.monotonic()),
            MessageReader(SOURCE_SAYS, MAX_PAYLOAD),
        )
        self._outlet: Outlet | None = None
        self._starved_s = 0.0
        self._began: float | None = None
        self._meters = RateMeter(), RateMeter()

    def progress(self) -> Progress:
        """How far it is."""
        lifeline, now = self._lifeline, time.monotonic()
        wire = lifeline.traffic.sent + lifeline.traffic.received
        guest = self._outlet.octets if self._outlet else 0
        cut = self._phase is Phase.MOVING and not lifeline.connected
        return Progress(
            migration=self._acquaintance.migration,
            role="destination",
            phase=Phase.CUT if cut else self._phase,
            guest=guest,
            wire=wire,
            resent=lifeline.transfer.resent,
            guest_rate=self._meters[0].rate(guest, now),
            wire_rate=self._meters[1].rate(wire, now),
            limit=lifeline.rate,
            cuts=lifeline.traffic.cuts,
            cut_s=lifeline.traffic.cut_s,
            elapsed_s=now - self._began if self._began is not None else 0.0,
            stages=stages_of(self._decoding.statistics) if self._decoding else {},
        )

    def set_rate(self, bits_per_s: int | None) -> None:
        """Limit what is sent from now on: the return path, a few octets."""
        self._lifeline.set_rate(None if bits_per_s is None else bits_per_s / 8)

    def pause_is_far(self, far: bool) -> None:
        """It is the source that bounds what is under way."""

    async def run(self, ready: Callable[[Address], None] = lambda _: None) -> None:
        """Take in one guest; ``ready`` is called with where the source may connect to.

        Raises `SidecarError` when it did not arrive; QEMU's socket was closed then.
        """
        outcome = Outcome.FAILED
        try:
            where = await self._listener.open()
            if not self.settings.qemu.exists():
                self._notice(
                    f"no QEMU listens at {self.settings.qemu} yet: start it before the source comes"
                )
            async with self._lifeline.kept():
                ready(where)
                await self._lifeline.connect()
                with await connected(self.settings.qemu) as qemu:
                    self._phase, self._began = Phase.MOVING, time.monotonic()
                    outcome = await self._move(qemu)
                if outcome is Outcome.LOADED and self._decoding is not None:
                    await asyncio.to_thread(self._decoding.finish)
                await self._lifeline.send(Verdict(outcome))
                self._lifeline.stay()
                self._phase = Phase.FINISHING
            _judge(outcome)
        except SidecarError as error:
            self._phase = Phase.FAILED
            raise _in_doubt(error) if outcome is Outcome.LOADED else error from error.__cause__
        except BaseException:
            self._phase = Phase.FAILED
            raise
        finally:
            if self._agreed is not None:
                self._agreed.close(self._notice)
        self._phase = Phase.DONE

    def _agree(self, offer: Mapping[str, Any]) -> Mapping[str, Any]:
        answer, self._agreed = answer_to(offer, self.settings.memory, self._cache)
        if self._cache is not None and self._agreed.site is None:
            self._notice("the source does without its site's cache: the stage site is left out")
        self._decoding = Decoding(self._agreed)
        return answer

    async def _move(self, qemu: socket.socket) -> Outcome:
        """Both directions, until QEMU closes its socket."""
        reader = ReturnPathReader()
        self._outlet = outlet = Outlet(qemu)
        feeding = asyncio.create_task(self._feed(outlet))
        telling = asyncio.create_task(self._tell(outlet))
        returning = asyncio.create_task(self._return(qemu, reader))
        try:
            await asyncio.wait((feeding, returning), return_when=asyncio.FIRST_COMPLETED)
            if not returning.done():
                # The source's QEMU has closed; ours ends when it has read everything.
                feeding.result()
                half_close(qemu)
                await returning
            returning.result()
            return reader.outcome()
        finally:
            for task in (feeding, returning, telling):
                task.cancel()
            await asyncio.gather(feeding, returning, telling, return_exceptions=True)

    async def _feed(self, outlet: Outlet) -> None:
        """The source's stream to QEMU."""
        assert self._decoding is not None
        decompressing: Pipe[Payload | Check] = Pipe()
        rebuilding: Pipe[Batch | Check] = Pipe()
        writing: Pipe[list[memoryview]] = Pipe()
        async with worker("decompress") as decompressor, worker("rebuild") as rebuilder:
            await together(
                self._take(outlet, decompressing, rebuilding, writing),
                stage(
                    *(decompressing, decompressor, self._decoding.decompress, rebuilding),
                    is_light=self._decoding.arrives_plain,
                ),
                stage(
                    *(rebuilding, rebuilder, self._decoding.rebuild, writing),
                    is_light=self._decoding.is_light,
                ),
                self._write(outlet, writing),
            )

    async def _take(
        self,
        outlet: Outlet,
        decompressing: Pipe[Payload | Check],
        rebuilding: Pipe[Batch | Check],
        writing: Pipe[list[memoryview]],
    ) -> None:
        decoding = self._decoding
        assert decoding is not None
        while True:
            begun = time.monotonic()
            message = await self._lifeline.receive()
            self._starved_s += time.monotonic() - begun
            match message:
                case Payload() | Check():
                    straight = decompressing.is_empty and rebuilding.is_empty
                    if not straight or not decoding.arrives_plain(message):
                        await decompressing.put(message)
                        continue
                    # Nothing is before it: what takes no time need not change tasks.
                    found = decoding.decompress(message)
                    if not decoding.is_light(found):
                        await rebuilding.put(found)
                        continue
                    octets = decoding.rebuild(found)
                    if octets and writing.is_empty:
                        octets = outlet.write_at_once(octets)
                    if octets:
                        await writing.put(octets)
                case End():
                    await decompressing.close()
                    return

    async def _write(self, outlet: Outlet, inbox: Pipe[list[memoryview]]) -> None:
        try:
            async for found in inbox:
                await outlet.write(found)
        except ConnectionError:
            # QEMU has closed; what it said before, and so what became of the guest, is `_return`'s.
            await asyncio.Event().wait()

    async def _tell(self, outlet: Outlet) -> None:
        """How much of the stream QEMU was given to the source, which bounds what is under way."""
        while True:
            await outlet.given.wait()
            outlet.given.clear()
            await self._lifeline.send(Given(outlet.octets, int(self._starved_s * 1e6)))
            await asyncio.sleep(_TELL_S)

    async def _return(self, qemu: socket.socket, reader: ReturnPathReader) -> None:
        """QEMU's return path to the source, until QEMU closes."""
        loop = asyncio.get_running_loop()
        try:
            while octets := await loop.sock_recv(qemu, MAX_RETURN):
                reader.feed(octets)
                await self._lifeline.send(Return(octets))
        except ConnectionError:
            # QEMU was killed: the same as an end.
            pass
        await self._lifeline.send(ReturnEnd())


def _judge(outcome: Outcome) -> None:
    """Raise `SidecarError` unless the guest was loaded."""
    if outcome is Outcome.UNSAID:
        raise SidecarError(
            "QEMU closed its socket and never said whether the guest was loaded",
            hint="ask both QEMUs with query-status before you do anything; turn the capability"
            " return-path on at both",
        )
    if outcome is Outcome.FAILED:
        raise SidecarError(
            "QEMU closed its socket before the guest was loaded",
            hint="see its messages; the guest runs on at the source",
        )


def _in_doubt(error: SidecarError) -> SidecarError:
    return SidecarError(
        f"QEMU has loaded the guest here, but the source may not know: {error.message}",
        hint="ask both QEMUs with query-status before you do anything",
    )
