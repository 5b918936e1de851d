"""``vpnctl agent start``: a machine from its definition."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vpnctl.cli.agent.asking import At, ask
from vpnctl.cli.command import command
from vpnctl.cli.output import say
from vpnctl.errors import UsageError

if TYPE_CHECKING:
    from vpnctl.migration.definition import Definition


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "start",
        examples=[("vpnctl agent start web1.yaml --at unix:agent.sock", "a machine there")],
    )
    def start(
        ctx: typer.Context,
        file: Annotated[Path, typer.Argument(help="The machine's definition (YAML).")],
        at: At = "",
    ) -> None:
        """Start a machine at a site, under QEMU."""
        from vpnctl.migration.agent.messages import MachineView
        from vpnctl.migration.agent.peer import LONG_S

        definition = read_definition(file)
        answer = ask(
            ctx.obj, at, lambda agent: agent.post("machines", MachineView, definition, LONG_S)
        )
        say(f"{answer.name} is {answer.state}; console at {answer.console}")


def read_definition(file: Path) -> Definition:
    """The machine in ``file``; raises `UsageError`, `DefinitionError`."""
    from vpnctl.migration.definition import DEFINITION, Definition
    from vpnctl.migration.yamlfile import read_yaml

    try:
        content = file.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read: {error.strerror}", hint="give the file of a definition"
        ) from error
    return read_yaml(str(file), content, Definition, DEFINITION)
