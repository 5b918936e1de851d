"""The README tells of what is there: its commands, options, exit codes and links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from vpnctl.cli.command import BROKEN_PIPE, INTERRUPTED
from vpnctl.cli.main import app
from vpnctl.errors import VpnctlError

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ROOT_COMMAND: Any = typer.main.get_command(app)


def section(heading: str) -> str:
    return README.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def first_cells(text: str) -> list[str]:
    return re.findall(r"^\| `?([^|`]+?)`? \|", text, re.M)[1:]


def commands(group: Any, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command, e.g. ``("show", "peers")``."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*prefix, name))
        else:
            yield (*prefix, name)


def parse(words: list[str]) -> None:
    """Raises when the program would not take these words."""
    command, parent, name = ROOT_COMMAND, None, "vpnctl"
    while True:
        if not hasattr(command, "commands"):
            command.make_context(name, words, parent=parent)
            return
        parent = command.make_context(name, words, parent=parent)
        name, command, words = command.resolve_command(
            parent, [*parent._protected_args, *parent.args]
        )


EXAMPLES = sorted(
    {
        line.partition("#")[0].strip()
        for line in re.findall(r"^\$ (vpnctl .*)$", README, re.M)
    }
)  # fmt: skip
TABLE = first_cells(section("Commands").split("Exit codes")[0])


@pytest.mark.parametrize("line", EXAMPLES)
def test_an_example_is_a_command(line: str) -> None:
    parse(shlex.split(line)[1:])


@pytest.mark.parametrize("line", TABLE)
def test_a_line_of_the_table_is_a_command(line: str) -> None:
    """``[F]`` may be left out, and what is in capitals is a value."""
    for words in (re.sub(r"\[|\]", "", line), re.sub(r" \[.*?\]", "", line)):
        values = {"REV": "1", "SHELL": "bash"}
        parse([values.get(word, word) for word in words.split()])


def test_the_table_has_every_command() -> None:
    listed = {tuple(re.findall(r"[a-z-]+", line.partition(" --")[0])) for line in TABLE}
    known = set(commands(ROOT_COMMAND)) - {("graph",)} | {("graph", "vpn"), ("graph", "targets")}
    assert listed == known


def test_a_word_that_is_none_is_found_out() -> None:
    for words in (["nonsense"], ["show", "nonsense"], ["plan", "--nonsense"], ["extend", "E1"]):
        with pytest.raises(Exception, match=r"(?i)no such|missing"):
            parse(words)


def tree(kind: type[VpnctlError]) -> Iterator[type[VpnctlError]]:
    """A class of errors and all below it."""
    yield kind
    for below in kind.__subclasses__():
        yield from tree(below)


def test_the_table_has_every_exit_code() -> None:
    codes = {0, INTERRUPTED, BROKEN_PIPE} | {kind.exit_code for kind in tree(VpnctlError)}
    assert {int(code) for code in first_cells(section("Commands").split("Exit codes")[1])} == codes


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
