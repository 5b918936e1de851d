"""The source's QEMU to the peer: read, eliminate, compress, send, side by side."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from vpnctl.sidecar.elimination import Effort
from vpnctl.sidecar.run.beginning import Beginning
from vpnctl.sidecar.run.encoding import Encoded, Encoding, Work
from vpnctl.sidecar.run.intake import Intake
from vpnctl.sidecar.run.steering import Looks, Pieces, Steering
from vpnctl.sidecar.run.tasks import Pipe, done_by, first_of, stage, together, worker
from vpnctl.sidecar.wan.lifeline import Lifeline
from vpnctl.sidecar.wan.messages import End
from vpnctl.sidecar.wan.records import MAX_SEGMENT

#: Octets that go as they are, in one segment with their headers and their check: nobody has to put
#: them together at the other end.
_PASSED = MAX_SEGMENT - 4096
#: So many of them are worth a turn of the loop, which costs as much as many octets do.
_ENOUGH = 768 * 1024


class Pump:
    """One migration's stream; each step is a task, with one piece of work between two of them.

    What QEMU may believe to have arrived is thus bounded: what is read ahead, two pieces of work,
    and what the lifeline lets wait.
    """

    def __init__(
        self, intake: Intake, encoding: Encoding, lifeline: Lifeline, adaptive: bool
    ) -> None:
        self._intake = intake
        self._encoding = encoding
        self._lifeline = lifeline
        # Seconds in which the destination had nothing to do, as it says.
        self._starved_s = 0.0
        now = time.monotonic()
        self._looks = Looks(now)
        self._beginning = Beginning(lifeline.round_trip_s, now)
        self._steering = Steering(adaptive)
        self._pieces = Pieces()
        self._compressing: Pipe[Work] = Pipe()
        self._sending: Pipe[Encoded] = Pipe()

    async def run(self) -> None:
        """Until QEMU closes and everything is queued; raises what any step raises."""
        async with worker("eliminate") as eliminator, worker("compress") as compressor:
            await together(
                self._intake.run(),
                self._eliminate(eliminator),
                stage(
                    *(self._compressing, compressor, self._encoding.compress, self._sending),
                    is_light=lambda work: work.is_light,
                ),
                self._send(),
            )

    async def _eliminate(self, pool: ThreadPoolExecutor) -> None:
        encoding, passed = self._encoding, False
        while True:
            if encoding.waiting and not self._intake.held:
                # What the codec holds back for company goes when the link has nothing to do.
                await first_of(self._intake.filled(), self._idle())
            else:
                await self._intake.filled()
            octets = self._intake.take(_PASSED if passed else self._intake.held)
            if octets:
                effort = self._steer(len(octets))
                passed = encoding.passes_on(effort)
                self._intake.enough = _ENOUGH if passed else 1
                if passed:
                    await self._pass_on(encoding.pass_on(octets, effort))
                    continue
                light = encoding.is_light(octets, effort)
                work = await done_by(pool, light, encoding.eliminate, octets, effort)
                await self._compressing.put(work)
            if not octets and self._intake.ended:
                await self._compressing.put(await done_by(pool, False, encoding.finish))
                await self._compressing.close()
                return
            if not octets or encoding.waiting >= self._pieces.size:
                work = await done_by(pool, not encoding.holds_much, encoding.flush)
                await self._compressing.put(work)

    def given(self, octets: int, starved_s: float) -> None:
        """What the destination says: see `Given`."""
        self._intake.given(octets)
        self._steering.given(octets, time.monotonic())
        self._starved_s = starved_s

    def _steer(self, octets: int) -> Effort:
        self._intake.seen(self._encoding.pause)
        carried, held_s = self._lifeline.carried
        self._beginning.held(held_s)
        # What may be under way is little, so the link need not refuse anything to be what holds
        # the stream up.
        held_s += self._intake.waited_s
        now = time.monotonic()
        self._beginning.under_way(self._intake.under_way, self._intake.age(now))
        look = self._looks.look(self._intake.octets, carried, held_s, self._starved_s, now)
        if look is not None:
            self._pieces.seen(look)
            self._steering.seen(look, now)
            self._beginning.seen(look)
            self._intake.ahead = self._pieces.size
        return self._steering.effort(octets, self._beginning.most(now))

    async def _idle(self) -> None:
        await self._compressing.emptied()
        await self._sending.emptied()
        await self._lifeline.drained()

    async def _send(self) -> None:
        async for encoded in self._sending:
            await self._send_one(encoded)
        await self._lifeline.send(End())

    async def _send_one(self, encoded: Encoded) -> None:
        self._steering.encoded(encoded)
        if encoded.messages:
            await self._lifeline.send(*encoded.messages)

    async def _pass_on(self, work: Work) -> None:
        """The straight way for octets as they are, once nothing is before them on the other."""
        if self._compressing.is_empty and self._sending.is_empty:
            await self._send_one(self._encoding.compress(work))
        else:
            await self._compressing.put(work)
