"""QEMU's counters and events at the source, while a machine's memory moves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from vpnctl.errors import MigrationError
from vpnctl.migration.agent.messages import Pass
from vpnctl.migration.approach import Approach
from vpnctl.migration.hypervisor.driver import Guest, seconds
from vpnctl.migration.smartstop import Advice, Verdict, crossover, judge

#: Seconds between two looks at QEMU's counters; the latter while the pause is far, so that it does
#: not come by surprise.
_LOOK_S, _LOOK_FAR_S = 0.25, 0.1
#: Milliseconds of pause that QEMU may take by itself (0 makes QEMU 7.2 stop at once), and what
#: makes it stop at the next opportunity.
_NEVER_BY_ITSELF, _NOW = 1, 2_000_000
#: Octets per second: as good as nothing, but a migration with 0 has no limit at all.
_CRAWL, _UNLIMITED = 10, 0
#: For a machine that is to be held: seconds that a pass has to take, that the first one has to take
#: if all of the memory is in use, and octets per second that are always allowed, then and in the
#: first pass.  So QEMU, which is done by itself when a pass leaves nothing, is not done before it
#: was looked at: for that a guest would have to change nothing at all for so long.
_PASS_S, _FIRST_S, _SLOWEST, _SLOWEST_FIRST = 0.5, 16.0, 64 << 10, 32 << 20
#: Seconds that the guest may stand still until everything is given up, and how many times the
#: predicted pause if that is longer: a watchdog.
_LONGEST_PAUSE_S, _TIMES_PREDICTED = 20.0, 4.0
#: Seconds that a monitor may stand still while the guest's memory leaves.
_BUSY_S = 60.0
_PAGE_RATE_UNIT = 4096


class MemoryMove:
    """One migration of a guest's memory, as its QEMU tells of it.

    ``rate``: octets per second of the guest's stream of late, asked when needed; ``mark``: told of
    every moment that matters; ``stopped``: called when the guest stands still; ``before_switch``:
    done after that, before the last of its memory leaves; ``may_stop``: whether the guest may be
    stopped now, as far as others are concerned; ``tell_far``: told whether the pause is far, before
    which it is near; ``began``: the migration, by the wall's clock.
    """

    def __init__(
        self,
        qemu: Guest,
        rate: Callable[[], float],
        mark: Callable[[str, float], None],
        stopped: Callable[[], None],
        before_switch: Callable[[], Awaitable[None]],
        may_stop: Callable[[], bool],
        tell_far: Callable[[bool], Awaitable[None]],
        *,
        max_pause_s: float | None,
        throttle: bool,
        hold: bool,
        began: float,
    ) -> None:
        self.passes: list[Pass] = []
        self.left: int | None = None
        self.dirty_rate = 0.0
        self.verdict: Verdict | None = None
        self.held = False
        #: By the wall's clock; None before.
        self.stopped_at: float | None = None
        self._qemu = qemu
        self._rate = rate
        self._mark = mark
        self._stopped = stopped
        self._before_switch = before_switch
        self._may_stop = may_stop
        self._tell_far = tell_far
        # A machine that is to be held is not in a hurry.
        self._approach = None if hold else Approach()
        self._far = False
        self._max_pause_s = max_pause_s
        self._throttle = throttle
        self._hold = hold
        self._waiting = False
        self._stopping = False
        self._began = began
        self._fastest = 0.0
        self._unseen = False

    async def run(self, uri: str) -> None:
        """Move it; return when the destination has everything and the guest stands still here.

        Raises `MigrationError` when QEMU gives up, at which it lets the guest go on itself.
        """
        qemu = self._qemu
        with qemu.listen("MIGRATION", "MIGRATION_PASS", "STOP") as events:
            await qemu.ask(
                "migrate-set-capabilities",
                capabilities=[
                    {"capability": name, "state": state}
                    for name, state in (
                        ("events", True),
                        ("return-path", True),
                        ("pause-before-switchover", True),
                        ("auto-converge", self._throttle),
                    )
                ],
            )
            await qemu.ask(
                "migrate-set-parameters",
                downtime_limit=_NEVER_BY_ITSELF,
                max_bandwidth=_SLOWEST if self._hold else _UNLIMITED,
            )
            await self._near_or_far()
            await qemu.ask("migrate", uri=uri)
            try:
                while True:
                    async with asyncio.timeout(self._patience()) as watchdog:
                        event = await self._next(events)
                        if event is not None and await self._done(event, watchdog):
                            return
                    if event is None or event["event"] == "MIGRATION_PASS":
                        await self._look(event is not None)
            except TimeoutError:
                raise MigrationError(
                    f"the guest stood still for {time.time() - (self.stopped_at or 0):.0f} s,"
                    " and its last memory had not arrived",
                    hint="is the link gone? the guest goes on; try again",
                ) from None

    async def release(self) -> None:
        """Stop holding: the guest may be paused, as soon as it makes sense."""
        self._hold = False
        was_held, self.held = self.held, False
        if was_held:
            self._mark("released", time.time())
        if not self._waiting:
            await self._bandwidth(_UNLIMITED)
            if was_held:
                await self.stop()

    async def wait(self) -> None:
        """Send next to nothing until `proceed`."""
        self._waiting = True
        await self._bandwidth(_CRAWL)
        self._mark("paused by the operator", time.time())

    async def proceed(self) -> None:
        """Send again."""
        self._waiting = False
        if not self.held:
            left = [one.left for one in self.passes]
            await self._bandwidth(_unhurried(left) if self._hold and left else _UNLIMITED)
        self._mark("resumed by the operator", time.time())

    async def stop(self) -> None:
        """Pause the guest now, and send what is left."""
        if not self._stopping:
            self._stopping = True
            await self._near_or_far()
            self._mark("told to stop the guest", time.time())
            if self.held or self._waiting or self._hold:
                self.held = self._waiting = self._hold = False
                await self._bandwidth(_UNLIMITED)
            await self._qemu.ask("migrate-set-parameters", downtime_limit=_NOW)

    def allow(self, max_pause_s: float | None) -> None:
        """Another longest pause."""
        self._max_pause_s = max_pause_s

    @property
    def waiting(self) -> bool:
        return self._waiting

    @property
    def stopping(self) -> bool:
        return self._stopping

    def _patience(self) -> float | None:
        if self.stopped_at is None:
            return None
        predicted = (self.verdict.pause_s or 0.0) if self.verdict else 0.0
        longest = max(_LONGEST_PAUSE_S, _TIMES_PREDICTED * predicted)
        return max(0.0, self.stopped_at + longest - time.time())

    async def _next(self, events: Any) -> Any:
        """The next event; None when it is time to look."""
        if self._stopping or self.stopped_at is not None:
            # The monitor stands still now, and nothing that it says would change anything.
            return await events.get()
        try:
            # As in `mirrors.py`: a cancellation must not be lost.
            async with asyncio.timeout(_LOOK_FAR_S if self._far else _LOOK_S):
                return await events.get()
        except TimeoutError:
            return None

    async def _done(self, event: Any, watchdog: asyncio.Timeout) -> bool:
        at = seconds(event)
        if event["event"] == "STOP":
            self.stopped_at = at
            self._mark("guest stopped", at)
            self._stopped()
        if event["event"] != "MIGRATION":
            return False
        match event["data"]["status"]:
            case "pre-switchover":
                # The guest stands still from now on, however long the disks take.
                watchdog.reschedule(asyncio.get_running_loop().time() + (self._patience() or 0.0))
                await self._before_switch()
                await self._qemu.ask("migrate-continue", state="pre-switchover")
            case "completed":
                self._mark("memory complete at the other site", at)
                return True
            case "failed" | "cancelled" as status:
                raise MigrationError(
                    f"QEMU's migration {await self._why(status)}",
                    hint="the guest runs on here: try again",
                )
        return False

    async def _why(self, status: str) -> str:
        try:
            answer = await self._qemu.ask("query-migrate")
        except MigrationError:
            return status
        return f"{status}: {answer['error-desc']}" if "error-desc" in answer else status

    async def _look(self, new_pass: bool) -> None:
        if self._stopping:
            return
        answer = await self._qemu.ask("query-migrate", _BUSY_S)
        memory = answer.get("ram")
        if answer.get("status") != "active" or memory is None:
            # QEMU tells of its first pass a moment before it calls itself active.
            self._unseen = self._unseen or new_pass
            return
        new_pass, self._unseen = new_pass or self._unseen, False
        self.left = int(memory["remaining"])
        if self._approach is not None:
            self._approach.seen(self.left, time.monotonic(), new_pass)
            await self._near_or_far()
        self.dirty_rate = float(memory.get("dirty-pages-rate", 0)) * memory.get(
            "page-size", _PAGE_RATE_UNIT
        )
        rate = self._rate()
        self._fastest = max(self._fastest, rate)
        if new_pass:
            at_s = time.time() - self._began
            self.passes.append(
                Pass(at_s=at_s, left=self.left, dirty_rate=self.dirty_rate, rate=rate)
            )
        if not self.passes:
            return
        left = [one.left for one in self.passes]
        self.verdict = judge(left, self._fastest if self._hold else rate, self._max_pause_s)
        if not new_pass or self.held or self._waiting:
            return
        if self._hold:
            # What is left when it is released depends on what the guest does meanwhile.
            self.held = self.verdict.advice is Advice.STOP or crossover(left) is not None
            await self._bandwidth(_CRAWL if self.held else _unhurried(left))
            if self.held:
                self._mark("held", time.time())
        elif self.verdict.advice is Advice.STOP and self._may_stop() and self._has_drained():
            self._mark(self.verdict.why, time.time())
            await self.stop()

    def _has_drained(self) -> bool:
        return self._approach is None or self._approach.may_pause(time.monotonic())

    async def _near_or_far(self) -> None:
        """Tell when that has changed."""
        far = self._approach is not None and self._approach.far and not self._stopping
        if far != self._far:
            self._far = far
            await self._tell_far(far)

    async def _bandwidth(self, octets_per_s: int) -> None:
        await self._qemu.ask("migrate-set-parameters", max_bandwidth=octets_per_s)


def _unhurried(left: Sequence[int]) -> int:
    """Octets per second for a pass of a machine that is to be held, see `_PASS_S`."""
    if len(left) == 1:
        return max(_SLOWEST_FIRST, int(left[0] / _FIRST_S))
    return max(_SLOWEST, int(left[-1] / _PASS_S))
