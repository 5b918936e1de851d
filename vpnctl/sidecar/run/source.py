"""The sidecar beside the QEMU that a guest leaves."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

from vpnctl.errors import SidecarError
from vpnctl.sidecar.run.agreement import Agreed, SourceAgreement
from vpnctl.sidecar.run.encoding import Encoding
from vpnctl.sidecar.run.intake import Intake
from vpnctl.sidecar.run.monitor import Monitor, monitored
from vpnctl.sidecar.run.progress import Phase, Progress, RateMeter, stages_of
from vpnctl.sidecar.run.pump import Pump
from vpnctl.sidecar.run.qemu import accepted, half_close, unix_listener
from vpnctl.sidecar.run.return_path import ReturnPathReader
from vpnctl.sidecar.run.settings import SourceSettings
from vpnctl.sidecar.run.steering import SMALLEST_PIECE
from vpnctl.sidecar.run.tasks import either
from vpnctl.sidecar.wan.acquaintance import SourceAcquaintance
from vpnctl.sidecar.wan.bucket import TokenBucket
from vpnctl.sidecar.wan.lifeline import Lifeline, incarnation
from vpnctl.sidecar.wan.meeting import Dialer
from vpnctl.sidecar.wan.messages import (
    DESTINATION_SAYS,
    Given,
    MessageReader,
    Outcome,
    Return,
    ReturnEnd,
    Verdict,
)

#: Seconds that the source's QEMU is given to close once the guest was loaded, and the
#: destination's to say what became of the guest once the source's has closed.
_CLOSING_S = 30.0
#: Seconds between two questions to QEMU's monitor.
_LOOK_S = 1.0


class SourceSidecar:
    """One migration, from `run` to its end.

    ``notice`` is told why the other site is not met, while it is tried again, and at the end why
    the site's cache has not kept what it should.  Raises `UsageError` when certificates or paths
    cannot be used.
    """

    def __init__(
        self, settings: SourceSettings, notice: Callable[[str], None] = lambda _: None
    ) -> None:
        self.settings = settings
        self._notice = notice
        self._phase = Phase.MEETING
        self._agreement = SourceAgreement(
            settings.options, settings.site.open() if settings.site else None
        )
        self._agreed: Agreed | None = None
        self._encoding: Encoding | None = None
        acquaintance = SourceAcquaintance(
            settings.migration, incarnation(), self._agreement.offer, self._agree
        )
        rate = None if settings.rate is None else settings.rate / 8
        self._lifeline = Lifeline(
            Dialer(settings.peer, settings.tls, acquaintance),
            settings.limits,
            TokenBucket(rate, time.monotonic()),
            MessageReader(DESTINATION_SAYS, max_payload=0),
            notice,
        )
        self._intake: Intake | None = None
        self._pause_is_far = False
        self._began: float | None = None
        self._source_left_first = True
        # Octets that QEMU has still to send, as its monitor says.
        self._remaining: int | None = None
        self._meters = RateMeter(), RateMeter()

    def progress(self) -> Progress:
        """How far it is."""
        lifeline, now = self._lifeline, time.monotonic()
        guest = self._intake.octets if self._intake else 0
        wire = lifeline.traffic.sent + lifeline.traffic.received
        cut = self._phase is Phase.MOVING and not lifeline.connected
        rate = self._meters[0].rate(guest, now)
        return Progress(
            migration=self.settings.migration,
            role="source",
            phase=Phase.CUT if cut else self._phase,
            guest=guest,
            wire=wire,
            resent=lifeline.transfer.resent,
            guest_rate=rate,
            wire_rate=self._meters[1].rate(wire, now),
            limit=lifeline.rate,
            cuts=lifeline.traffic.cuts,
            cut_s=lifeline.traffic.cut_s,
            elapsed_s=now - self._began if self._began is not None else 0.0,
            eta_s=self._eta_s(rate),
            stages=stages_of(self._encoding.statistics) if self._encoding else {},
        )

    def _eta_s(self, rate: float) -> float | None:
        """Seconds at ``rate`` octets per second; None where nobody knows, or it has ended."""
        if self._phase is not Phase.MOVING or self._remaining is None or not rate:
            return None
        return self._remaining / rate

    def set_rate(self, bits_per_s: int | None) -> None:
        """Limit what is sent from now on."""
        self._lifeline.set_rate(None if bits_per_s is None else bits_per_s / 8)

    def pause_is_far(self, far: bool) -> None:
        """Whether the guest will be paused much later, and not soon."""
        self._pause_is_far = far
        if self._intake is not None:
            self._intake.told(far)

    async def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Move one guest; ``ready`` is called when its QEMU may begin.

        Raises `SidecarError` when it did not move (but see `Outcome.UNSAID`), and
        `StreamRefusedError` when its stream cannot be understood; QEMU's socket was closed then,
        at which the guest runs on.
        """
        try:
            async with AsyncExitStack() as held:
                if self.settings.qmp is not None:
                    monitor = await held.enter_async_context(monitored(self.settings.qmp))
                    await monitor.refuse()
                    watching = asyncio.create_task(self._watch(monitor))
                    held.callback(watching.cancel)
                listener = held.enter_context(unix_listener(self.settings.qemu))
                async with self._lifeline.kept():
                    await self._lifeline.connect()
                    self._phase = Phase.WAITING
                    ready()
                    with await either(accepted(listener), self._lifeline.failed()) as qemu:
                        # A second QEMU would wait for ever.
                        listener.close()
                        self._phase, self._began = Phase.MOVING, time.monotonic()
                        outcome = await self._move(qemu)
                    self._lifeline.leave()
            _judge(outcome, self._source_left_first)
        except BaseException:
            self._phase = Phase.FAILED
            raise
        finally:
            if self._agreed is not None:
                self._agreed.close(self._notice)
        self._phase = Phase.DONE

    def _agree(self, answer: Mapping[str, Any]) -> None:
        self._agreed = self._agreement.agree(answer)
        if self.settings.options.site and self._agreed.site is None:
            self._notice("the other site has no site cache: the stage site is left out")
        self._encoding = Encoding(self._agreed)

    async def _watch(self, monitor: Monitor) -> None:
        while True:
            self._remaining = await monitor.remaining()
            await asyncio.sleep(_LOOK_S)

    async def _move(self, qemu: socket.socket) -> Outcome:
        """Both directions, until the destination tells what became of the guest."""
        assert self._encoding is not None
        self._intake = intake = Intake(qemu, SMALLEST_PIECE)
        intake.told(self._pause_is_far)
        pump = Pump(intake, self._encoding, self._lifeline, self.settings.adaptive)
        pumping = asyncio.create_task(pump.run())
        listening = asyncio.create_task(self._return_path(qemu, intake, pump))
        try:
            await asyncio.wait((pumping, listening), return_when=asyncio.FIRST_COMPLETED)
            if not listening.done():
                pumping.result()
                self._phase = Phase.FINISHING
                await asyncio.wait((listening,), timeout=_CLOSING_S)
                if not listening.done():
                    raise SidecarError(
                        "QEMU at the source has closed its socket, and the destination's did not"
                        f" say within {_CLOSING_S:g} s what became of the guest",
                        hint="ask both QEMUs with query-status before you do anything",
                    )
            if (outcome := listening.result()) is Outcome.LOADED:
                # QEMU here closes its socket, after which nothing can go wrong any more.
                await asyncio.wait((pumping,), timeout=_CLOSING_S)
            return outcome
        finally:
            for task in (pumping, listening):
                task.cancel()
            await asyncio.gather(pumping, listening, return_exceptions=True)

    async def _return_path(self, qemu: socket.socket, intake: Intake, pump: Pump) -> Outcome:
        """What the destination and its QEMU say, until what became of the guest is told."""
        loop, reader = asyncio.get_running_loop(), ReturnPathReader()
        while True:
            try:
                message = await self._lifeline.receive()
            except SidecarError as error:
                raise _in_doubt(error) if reader.outcome() is Outcome.LOADED else error from None
            match message:
                case Return(octets):
                    reader.feed(octets)
                    try:
                        await loop.sock_sendall(qemu, octets)
                    except ConnectionError:
                        # QEMU has closed: `Pump` sees it, too, and what is told ends it.
                        continue
                case Given(octets, starved_us):
                    pump.given(octets, starved_us / 1e6)
                case ReturnEnd():
                    self._source_left_first = intake.ended
                    half_close(qemu)
                case Verdict(outcome):
                    return outcome


def _in_doubt(error: SidecarError) -> SidecarError:
    return SidecarError(
        f"QEMU at the destination has loaded the guest, but then: {error.message}",
        hint="ask both QEMUs with query-status before you do anything",
    )


def _judge(outcome: Outcome, source_left_first: bool) -> None:
    """Raise `SidecarError` unless the guest was loaded.

    ``source_left_first``: of the two QEMUs, the source's closed its socket first.
    """
    if outcome is Outcome.LOADED:
        return
    if outcome is Outcome.UNSAID and source_left_first:
        raise SidecarError(
            "the whole stream was delivered, but the destination's QEMU did not say that the guest"
            " was loaded: its return path is off",
            hint="ask both QEMUs with query-status before you do anything;"
            " turn the capability return-path on at both",
        )
    if source_left_first:
        raise SidecarError(
            "QEMU at the source ended the migration before the guest was loaded",
            hint="it was cancelled, or failed there: see query-migrate; the guest runs on",
        )
    raise SidecarError(
        "QEMU at the destination closed its socket before the guest was loaded",
        hint="see its messages: the two QEMUs must be started alike; the guest runs on at the"
        " source",
    )
