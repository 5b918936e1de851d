"""How commands ask one agent: ``--at``, and the certificates of the environment."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from vpnctl.cli.settings import Settings
from vpnctl.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from vpnctl.migration.agent.peer import AgentClient
    from vpnctl.migration.agent.settings import Certificates
    from vpnctl.migration.agentsfile import AgentsFile
    from vpnctl.migration.ledger import Peer

_Answer = TypeVar("_Answer")
DEFAULT_AGENTS = Path("agents.yaml")

At = Annotated[
    str,
    typer.Option(
        "--at",
        envvar="VPNCTL_AGENT",
        metavar="SITE|URL",
        help="The site, as the agents file calls it; or its agent: unix:PATH, https://HOST:PORT.",
    ),
]


def certificates_of(settings: Settings) -> Certificates | None:
    """``--cert``, ``--key`` and ``--ca``: all, or None for none; `UsageError` for some of them."""
    from vpnctl.migration.agent.settings import Certificates

    files = (settings.certificate, settings.key, settings.ca)
    if not any(files):
        return None
    if settings.certificate is None or settings.key is None or settings.ca is None:
        raise UsageError(
            "--cert, --key and --ca belong together", hint="'vpnctl pki' makes all three"
        )
    return Certificates(settings.certificate, settings.key, settings.ca)


def ask(
    settings: Settings, at: str, question: Callable[[AgentClient], Awaitable[_Answer]]
) -> _Answer:
    """What the agent at ``at`` answers; raises what it answers with.

    ``at``: a URL, or a site of the agents file (``VPNCTL_AGENTS``, ``agents.yaml``).
    """
    import asyncio

    from vpnctl.migration.agent.peer import AgentClient
    from vpnctl.migration.ledger import Peer

    if not at:
        raise UsageError(
            "which agent? --at is missing",
            hint="give --at SITE, unix:PATH or https://HOST:PORT, or set VPNCTL_AGENT",
        )
    peer = Peer(site="that site", url=at) if ":" in at else _listed(at)

    async def asked() -> _Answer:
        client = AgentClient(peer, certificates_of(settings))
        try:
            return await question(client)
        finally:
            await client.close()

    return asyncio.run(asked())


def read_agents(agents: Path) -> AgentsFile:
    """The agents of a file; raises `UsageError`, `DefinitionError`."""
    from vpnctl.migration.agentsfile import AGENTS, AgentsFile
    from vpnctl.migration.yamlfile import read_yaml

    try:
        content = agents.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{agents} cannot be read: {error.strerror}",
            hint="write the agents of all sites into a file and name it with --agents or"
            " VPNCTL_AGENTS: 'agents: {cloud1: https://192.0.2.1:4790}'",
        ) from error
    return read_yaml(str(agents), content, AgentsFile, AGENTS)


def _listed(site: str) -> Peer:
    agents = Path(os.environ.get("VPNCTL_AGENTS", DEFAULT_AGENTS))
    peers = read_agents(agents).peers()
    if site not in peers:
        raise NotFoundError(
            f"there is no site {site!r} in {agents}", hint=f"sites: {', '.join(sorted(peers))}"
        )
    return peers[site]
