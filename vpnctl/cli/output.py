"""What is printed: tables, JSON and YAML on standard output, messages on standard error.

Tables are plain aligned columns.  They are never wrapped or cut, so that ``grep`` and ``awk``
see the same words as a person does.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, TextIO

import typer

from vpnctl.api.errors import SCHEMA
from vpnctl.controller.views import Problem, problems
from vpnctl.errors import PolicyError, VpnctlError


class Format(StrEnum):
    """How data is printed."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"

    @property
    def for_people(self) -> bool:
        return self in (Format.TABLE, Format.WIDE)


Output = Annotated[Format, typer.Option("-o", "--output", help="How to print the answer.")]

_COLOURS = {"green": "32", "yellow": "33", "red": "31", "bold": "1", "dim": "2"}


def paint(text: str, colour: str, stream: TextIO | None = None) -> str:
    """``text`` in a colour when the stream is a terminal and ``NO_COLOR`` is unset.

    Colour only repeats what the words or signs already say.
    """
    stream = stream or sys.stdout
    if not text or os.environ.get("NO_COLOR") or not stream.isatty():
        return text
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


def say(message: str) -> None:
    """A message for the person at the terminal."""
    print(message, file=sys.stderr)


def print_document(answer: Mapping[str, Any], form: Format) -> None:
    """``answer`` as JSON or YAML, with the schema's version in front."""
    document = {"schema": SCHEMA, **answer}
    if form is Format.YAML:
        import yaml

        yaml.safe_dump(document, sys.stdout, sort_keys=False, allow_unicode=True)
    else:
        json.dump(document, sys.stdout, indent=2, ensure_ascii=False)
        sys.stdout.write("\n")


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of aligned columns, two spaces apart; ``-`` stands for an empty cell."""
    cells = [list(headers), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on standard output, its header dimmed."""
    head, *body = table(headers, rows)
    print("\n".join([paint(head, "dim"), *body]))


def _cell(value: object) -> str:
    if value is None or value == "" or value == ():
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(str(part) for part in value)
    return str(value)


def problem_lines(found: Sequence[Problem]) -> list[str]:
    """Mistakes of a policy, one or two lines each: where, what, and what to do."""
    where = [f"{problem.file}:{problem.line}:{problem.column}" for problem in found]
    width = max((len(place) for place in where), default=0)
    lines = []
    for place, problem in zip(where, found, strict=True):
        path = f"{problem.path}: " if problem.path else ""
        lines.append(f"{place.ljust(width)}  {path}{problem.message}")
        if problem.hint:
            lines.append(f"{'':{width}}  {problem.hint}")
    return lines


def count(number: int, noun: str, plural: str = "") -> str:
    """``1 mistake``, ``2 mistakes``."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def print_error(error: VpnctlError) -> None:
    """What is wrong, where, and what to do, on standard error."""
    if isinstance(error, PolicyError) and error.mistakes:
        for line in problem_lines(problems(error.mistakes)):
            say(line)
        say(f"{count(len(error.mistakes), 'mistake')}, {error.averted}")
        return
    say(f"{paint('error:', 'red', sys.stderr)} {error.message}")
    if error.hint:
        say(f"       {error.hint}")
