"""Rows of results: what every benchmark of the project writes and prints."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"


@dataclass
class Row:
    """One figure.

    ``mark``: what it has to reach, in words, empty where nothing is asked; ``holds``: whether it
    does, ``None`` where nothing is asked; ``figure``: ``None`` where there is none, ``note``
    says why.  ``subject``: whose figure it is.
    """

    case: str
    subject: str
    figure: float | None
    unit: str
    mark: str = ""
    holds: bool | None = None
    note: str = ""
    runs: list[float] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)


def commit() -> str:
    """Short hash of HEAD, with ``+`` where the program itself differs from it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(HERE), *arguments], capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--", ":/vpnctl", ":/lab/bench/*.py")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if changed else "")


def machine() -> str:
    """Processor, memory, kernel and interpreter."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 1e6
    return (
        f"{len(models)} x {models[0] if models else platform.machine()}, {memory:.0f} GB, "
        f"Linux {platform.release()}, Python {platform.python_version()}"
    )


def write(path: Path, rows: Iterable[Row], command: str, began_at: str = "") -> None:
    """A list of objects, one per row; ``began_at``: `commit` when the benchmark began.

    ``command`` is kept as a shell takes it anywhere: with ``~`` for the home directory.
    """
    where, what = machine(), commit()
    command = command.replace(str(Path.home()), "~")
    if began_at and began_at != what:
        what = f"{began_at}..{what}"
    objects = []
    for row in rows:
        fields = asdict(row)
        extra = fields.pop("extra")
        objects.append(fields | extra | {"commit": what, "machine": where, "command": command})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(objects, indent=1) + "\n")


def number(figure: float | None) -> str:
    """A figure for a reader: three digits that mean something."""
    if figure is None:
        return "-"
    if abs(figure) >= 1000:
        return f"{figure:,.0f}"
    if abs(figure) >= 100:
        return f"{figure:.0f}"
    if abs(figure) >= 10:
        return f"{figure:.1f}"
    return f"{figure:.2f}"


def times_better(unit: str, ours: float | None, theirs: float | None) -> str:
    """How many times better ours is: more of a rate, less of anything else."""
    if not ours or not theirs:
        return ""
    return number(ours / theirs if unit.endswith("/s") else theirs / ours)


def grid(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Columns lined up; the first one to the left, the others to the right."""
    widths = [max(len(line[at]) for line in (head, *body)) for at in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in (head, *body)
    )


def missing(rows: Iterable[Row]) -> list[Row]:
    """The rows that miss their mark."""
    return [row for row in rows if row.holds is False]
