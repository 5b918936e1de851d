"""What is shown of a running sidecar: a live line on a terminal, words in a log, JSON lines."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table

from vpnctl.cli.output import count, say
from vpnctl.cli.sidecar.quantities import show_rate, show_seconds, show_size
from vpnctl.sidecar.run.progress import Phase, Progress

#: Seconds between two looks at a sidecar.
_LIVE_S = 0.25
_LINES_S = 1.0
_MOVING = (Phase.MOVING, Phase.CUT, Phase.FINISHING, Phase.DONE, Phase.FAILED)


class Report(Protocol):
    """Shows progress until it is cancelled, and then how it ended."""

    async def show(self, progress: Callable[[], Progress]) -> None: ...


def report_for(as_json: bool) -> Report:
    """The one that suits where the output goes."""
    if as_json:
        return JsonLines()
    return LiveLine(Console(stderr=True)) if sys.stderr.isatty() else PlainLines()


class JsonLines:
    """One object per second and per change of phase, on standard output."""

    async def show(self, progress: Callable[[], Progress]) -> None:
        await _watch(progress, lambda now: print(json.dumps(now.to_plain()), flush=True), _LINES_S)


class PlainLines:
    """One line per change of phase, on standard error."""

    async def show(self, progress: Callable[[], Progress]) -> None:
        last: Phase | None = None

        def one(now: Progress) -> None:
            nonlocal last
            if now.phase is not last:
                last = now.phase
                say(summary(now))

        await _watch(progress, one, _LINES_S)


class LiveLine:
    """A few lines that change in place."""

    def __init__(self, console: Console) -> None:
        self._console = console

    async def show(self, progress: Callable[[], Progress]) -> None:
        with Live(console=self._console, auto_refresh=False) as live:
            await _watch(progress, lambda now: live.update(_picture(now), refresh=True), _LIVE_S)


async def _watch(
    progress: Callable[[], Progress], show: Callable[[Progress], None], every_s: float
) -> None:
    """``show`` is called in a thread: who reads may be slow, or stopped, and octets must move on.

    Only at the end it is waited for.
    """
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, thread_name_prefix="report") as shower:
        try:
            while True:
                await loop.run_in_executor(shower, show, progress())
                await asyncio.sleep(every_s)
        finally:
            shower.submit(show, progress()).result()


def summary(now: Progress) -> str:
    """One line: phase, octets, and what happened to the connection."""
    if now.phase not in _MOVING or not now.elapsed_s:
        return now.phase.value
    parts = [
        f"{now.phase.value}: {show_size(now.guest)} of the guest's stream"
        f" as {show_size(now.wire)}{_share(now)}",
        f"in {show_seconds(now.elapsed_s)}",
    ]
    if now.cuts:
        parts.append(
            f"cut {count(now.cuts, 'time')}, {show_seconds(now.cut_s)} without connection,"
            f" {show_size(now.resent)} sent again"
        )
    return ", ".join(parts)


def saved(now: Progress) -> str:
    """What each stage saved, in the order in which they run."""
    return ", ".join(f"{name} {show_size(one.saved)}" for name, one in now.stages.items())


def _share(now: Progress) -> str:
    return f" ({100 * now.wire / now.guest:.0f} %)" if now.guest else ""


def _picture(now: Progress) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_row(f"{now.migration or now.role}", f"[bold]{now.phase.value}[/bold]")
    if now.phase not in _MOVING:
        return grid
    limit = "" if now.limit is None else f" of {show_rate(now.limit)}"
    eta = "" if now.eta_s is None else f"   ETA {show_seconds(now.eta_s)}"
    grid.add_row("link", f"{show_rate(now.wire_rate)}{limit}   guest {show_rate(now.guest_rate)}")
    grid.add_row(
        "sent" if now.role == "source" else "got",
        f"{show_size(now.wire)} for {show_size(now.guest)}{_share(now)}"
        f"   {show_seconds(now.elapsed_s)}{eta}",
    )
    if now.stages:
        grid.add_row("saved", saved(now))
    if now.cuts:
        grid.add_row(
            "cuts", f"{now.cuts}, {show_seconds(now.cut_s)}, {show_size(now.resent)} sent again"
        )
    return grid
