"""How a migration is shown: in place on a terminal, one line of JSON per event elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from vpnctl.cli.output import say
from vpnctl.cli.sidecar.quantities import show_rate, show_seconds, show_size
from vpnctl.errors import MigrationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from vpnctl.migration.agent.messages import MigrationView

_BAR = 24


async def show(views: AsyncIterator[MigrationView], *, as_json: bool) -> None:
    """Show migrations until they have ended, each by its sentence.

    Raises `MigrationError` when one did not move.
    """
    latest: dict[str, MigrationView] = {}
    if as_json or not sys.stdout.isatty():
        told: dict[str, tuple[str, int, int]] = {}
        async for view in views:
            latest[view.migration] = view
            news = (view.phase, len(view.timeline), len(view.passes))
            if told.get(view.migration) != news:
                told[view.migration] = news
                print(view.model_dump_json(), flush=True)
    else:
        with Live(console=Console(stderr=True), auto_refresh=False) as live:
            async for view in views:
                latest[view.migration] = view
                live.update(Group(*(picture(one) for one in latest.values())), refresh=True)
    failed = [one for one in latest.values() if one.phase != "done"]
    for one in latest.values():
        if one.phase == "done":
            say(sentence(one))
    resumed = [one.resumed_at for one in latest.values() if one.resumed_at is not None]
    if len(resumed) > 1:
        say(f"they went on within {1000 * (max(resumed) - min(resumed)):.0f} ms of each other")
    if failed:
        raise MigrationError(
            "; ".join(
                f"{one.machine} did not move, it is at {one.from_site}: {one.error or one.phase}"
                for one in failed
            ),
            hint="; ".join(dict.fromkeys(one.hint for one in failed if one.hint)),
        )


def picture(view: MigrationView) -> Table:
    """A few lines that change in place."""
    grid = Table.grid(padding=(0, 2))
    sent = _share(view)
    bar = "#" * round(sent * _BAR) + "-" * (_BAR - round(sent * _BAR))
    of = f", pass {len(view.passes)}" if view.passes else ""
    grid.add_row(
        view.machine,
        f"{view.from_site} -> {view.to_site}   [bold]{view.phase}[/bold]{of}   {bar} {sent:.0%}",
    )
    if view.passes and not view.ended:
        limit = "" if view.limit is None else f" of {show_rate(view.limit)}"
        grid.add_row(
            "link",
            f"{show_rate(view.wire_rate)}{limit}   guest writes {show_rate(view.dirty_rate)}",
        )
        grid.add_row("pause", _pause(view))
        eta = "" if view.eta_s is None else f"   ETA {show_seconds(view.eta_s)}"
        left = "" if view.left is None else f"   left {show_size(view.left)}"
        grid.add_row("sent", f"{show_size(view.wire)} for {show_size(view.guest)}{left}{eta}")
    if view.error:
        grid.add_row("", f"[red]{view.error}[/red]")
    return grid


def sentence(view: MigrationView) -> str:
    """How a migration that has ended well went."""
    pause = "" if view.paused_s is None else f", paused for {1000 * view.paused_s:.0f} ms at most"
    return (
        f"{view.machine} runs at {view.to_site}{pause};"
        f" {show_size(view.wire)} for {show_size(view.guest)}"
        f" in {show_seconds(view.elapsed_s)}"
    )


def _pause(view: MigrationView) -> str:
    if view.pause_s is None:
        return view.advice or "not known yet"
    return f"{view.pause_s:.2f} s if stopped now: {view.advice}"


def _share(view: MigrationView) -> float:
    if view.phase == "done":
        return 1.0
    if not view.passes or view.left is None:
        return 0.0
    return max(0.0, 1 - view.left / max(view.passes[0].left, 1))
