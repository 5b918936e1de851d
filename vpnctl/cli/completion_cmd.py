"""``vpnctl completion``: what a shell needs to complete commands, options and names."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from vpnctl.cli.command import OTHER_PANEL, command

_VARIABLE = "_VPNCTL_COMPLETE"


class Shell(StrEnum):
    """The shells that are completed in."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def register_shells() -> None:
    """Let typer answer the completion requests of these shells.

    It does so by itself only with options of its own to install completion.
    """
    from typer.completion import get_completion_inspect_parameters

    get_completion_inspect_parameters()


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "completion",
        panel=OTHER_PANEL,
        examples=[
            ('eval "$(vpnctl completion bash)"', "in ~/.bashrc"),
            ('eval "$(vpnctl completion zsh)"', "in ~/.zshrc, after compinit"),
            ("vpnctl completion fish | source", "in ~/.config/fish/config.fish"),
        ],
    )
    def completion(shell: Annotated[Shell, typer.Argument(help="The shell.")]) -> None:
        """Print the completion script of a shell; VPNs, sites and peers complete, too."""
        from typer.completion import shell_complete
        from typer.main import get_command

        register_shells()
        shell_complete(get_command(app), {}, "vpnctl", _VARIABLE, f"source_{shell.value}")
