"""How the commands of ``vpnctl migrate`` reach the agents: ``--agents``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from vpnctl.cli.agent.asking import certificates_of, read_agents
from vpnctl.cli.output import Format, print_document, say
from vpnctl.cli.settings import Settings

if TYPE_CHECKING:
    from pydantic import BaseModel

    from vpnctl.errors import VpnctlError
    from vpnctl.migration.coordinator import Coordinator

_Answer = TypeVar("_Answer")

Agents = Annotated[
    Path,
    typer.Option(
        "--agents",
        envvar="VPNCTL_AGENTS",
        help="YAML file with the agents of all sites.",
        show_default="agents.yaml",
    ),
]
NoExtend = Annotated[
    bool,
    typer.Option("--no-extend", help="Refuse when the machine's VPN does not reach the site."),
]
MachineName = Annotated[str, typer.Argument(help="The machine, or its migration.")]


def coordinate(
    settings: Settings, agents: Path, work: Callable[[Coordinator], Awaitable[_Answer]]
) -> _Answer:
    """What ``work`` gives; raises what it raises."""
    import asyncio

    from vpnctl.cli.client import Client
    from vpnctl.cli.migrate.network import ControllerNetwork
    from vpnctl.migration.coordinator import Coordinator

    listed = read_agents(agents)
    network = ControllerNetwork(Client(settings))

    async def run() -> _Answer:
        async with Coordinator(
            listed.peers(), certificates_of(settings), network, listed.sites()
        ) as coordinator:
            return await work(coordinator)

    return asyncio.run(run())


def told_as_document(
    name: str, found: Sequence[BaseModel], silent: Sequence[VpnctlError], output: Format
) -> bool:
    """Say which agents do not answer, and print what the others have as a document, unless it is
    for people; whether it was printed."""
    for error in silent:
        say(f"missing: {error.message}")
    if output.for_people:
        return False
    print_document({name: [one.model_dump(mode="json") for one in found]}, output)
    return True
