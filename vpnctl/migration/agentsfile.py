"""The list of agents, as the operator writes it.

::

    agents:
      cloud1: https://192.0.2.1:4790
      cloud2: {url: "https://192.0.2.2:4790", name: cloud2.example.net}
      cloud3: {url: "https://192.0.2.3:4790", site: cloud-west}
      here: unix:/run/vpnctl/agent.sock

``name`` is what the agent's certificate is for, unless it is the host of the URL; ``site`` is what
the controller of the VPNs calls the site, unless that is the same.
"""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from vpnctl.migration.definition import Name
from vpnctl.migration.ledger import Peer
from vpnctl.yamltree.tree import Genre

#: What the list of agents is, in the words of hints.
AGENTS = Genre("agents: {...}", "`agents: {cloud1: https://192.0.2.1:4790}`", "docs/migrate.md")


class Entry(BaseModel):
    """Where an agent is reached, the name in its certificate, and its site at the controller."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    name: str = ""
    site: str = ""

    @field_validator("url")
    @classmethod
    def _reachable(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            known = (parts.scheme == "https" and parts.hostname and parts.port) or (
                parts.scheme == "unix" and parts.path.startswith("/")
            )
        except ValueError:
            known = False
        if not known:
            raise ValueError("https://HOST:PORT or unix:/PATH/TO/agent.sock is expected")
        return url


def _entry(value: Any) -> Any:
    return {"url": value} if isinstance(value, str) else value


class AgentsFile(BaseModel):
    """All agents by the names of their sites."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    agents: Annotated[
        dict[Name, Annotated[Entry, BeforeValidator(_entry)]], Field(min_length=1, max_length=1000)
    ]

    def sites(self) -> dict[str, str]:
        """What the controller of the VPNs calls them."""
        return {agent: entry.site or agent for agent, entry in self.agents.items()}

    def peers(self) -> dict[str, Peer]:
        """As migrations name them."""
        return {
            site: Peer(
                site=site, url=entry.url, name=entry.name or urlsplit(entry.url).hostname or ""
            )
            for site, entry in self.agents.items()
        }
