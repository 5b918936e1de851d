"""How a command is declared, and what becomes of its errors.

Exit codes: those of `vpnctl.errors`; 1 for a defect; 130 after Ctrl-C; 141 when the reader of a
pipe went away.
"""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import typer
from typer.core import TyperGroup

from vpnctl.cli.output import print_error
from vpnctl.errors import VpnctlError

INTERRUPTED = 130
BROKEN_PIPE = 141

#: Options that every command takes, wherever they stand on the line, and whether with a value.
EVERYWHERE = {
    "--socket": True,
    "--url": True,
    "--cert": True,
    "--key": True,
    "--ca": True,
    "--debug": False,
}

POLICY_PANEL = "Policy"
CHANGE_PANEL = "Change"
LOOK_PANEL = "Look"
ROUTERS_PANEL = "Routers"
CONTROLLER_PANEL = "Controller"
MIGRATION_PANEL = "Migration"
OTHER_PANEL = "Other"

_debug: ContextVar[bool] = ContextVar("debug", default=False)

Examples = Sequence[tuple[str, str]]


class RootGroup(TyperGroup):
    """``vpnctl show peers --socket S`` means the same as ``vpnctl --socket S show peers``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, hoist(args))


def hoist(args: Sequence[str]) -> list[str]:
    """``args`` with the options of `EVERYWHERE` in front; after ``--`` nothing is an option."""
    front: list[str] = []
    rest: list[str] = []
    words = iter(args)
    for word in words:
        if word == "--":
            rest.append(word)
            rest.extend(words)
        elif EVERYWHERE.get(word):
            front.append(word)
            front.extend([value] if (value := next(words, None)) is not None else [])
        elif word.partition("=")[0] in EVERYWHERE:
            front.append(word)
        else:
            rest.append(word)
    return front + rest


def command(
    app: typer.Typer, name: str, *, examples: Examples, panel: str | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Declare a command.

    ``examples``: pairs of a command line and what it does, shown by ``--help``.
    """

    def declare(function: Callable[..., None]) -> Callable[..., None]:
        app.command(name, rich_help_panel=panel, epilog=epilog(examples))(guarded(function))
        return function

    return declare


def epilog(examples: Examples) -> str:
    """Examples as the end of a help page."""
    width = max(len(line) for line, _ in examples)
    lines = "\n".join(f"  {line.ljust(width)}   [dim]{what}[/dim]" for line, what in examples)
    return f"[bold]Examples[/bold]\n{lines}"


def show_tracebacks(wanted: bool) -> None:
    """Whether errors are shown with where they come from."""
    _debug.set(wanted)


def guarded(function: Callable[..., None]) -> Callable[..., None]:
    """``function`` with its errors turned into a message and an exit code."""

    @functools.wraps(function)
    def run(**arguments: Any) -> None:
        debug = _debug.get()
        try:
            function(**arguments)
            sys.stdout.flush()
        except VpnctlError as error:
            if debug:
                traceback.print_exc()
            print_error(error)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # What is still buffered has no reader either; without this the interpreter would
            # complain when it closes standard output.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(BROKEN_PIPE) from None
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except Exception as error:
            if debug:
                traceback.print_exc()
            defect = f"a defect of vpnctl: {type(error).__name__}: {error}".replace("\n", " ")
            print_error(VpnctlError(defect, hint="" if debug else "--debug shows where"))
            raise typer.Exit(VpnctlError.exit_code) from None

    return run
