"""What the demo shows: what the PEs hold, and whose VRFs take it in."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from vpnctl.demo.pes import ExaBgpPe, Held
from vpnctl.demo.story import IMPORTED_BY


def say(screen: Console, text: str) -> None:
    """A paragraph."""
    screen.print(f"\n{text}", highlight=False)
    # What the commands print goes to the same place past this console.
    screen.file.flush()


def imported_by(route: Held) -> str:
    """The customers whose VRFs import a route."""
    return " ".join(IMPORTED_BY.get(target, "nobody") for target in route.targets.split())


def held_table(
    title: str, pes: tuple[ExaBgpPe, ...], fresh: Mapping[str, set[Held]] | None = None
) -> Table:
    """What each PE received and holds; ``fresh`` routes are marked."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for heading in ("PE", "received", "RD", "target", "imported by"):
        table.add_column(heading)
    for pe in pes:
        for position, route in enumerate(pe.held()):
            new = route in (fresh or {}).get(pe.name, set())
            table.add_row(
                pe.name if position == 0 else "",
                ("+ " if new else "  ") + route.prefix,
                route.rd,
                route.targets,
                imported_by(route),
                style="green" if new else "",
            )
    return table
