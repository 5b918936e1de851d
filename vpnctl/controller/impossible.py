"""What managed routers cannot have, as mistakes of the policy that asks for it."""

from __future__ import annotations

from pathlib import Path

from vpnctl.model import Ruleset

#: Where an operator's own platforms are, in the policy directory.
TEMPLATES = "router_templates"


def refuse_impossible(ruleset: Ruleset, policies: Path) -> None:
    """Raises `RenderError` with everything that a router of ``ruleset`` cannot have.

    ``policies``: the directory, beside whose files an operator's own platforms may be.
    """
    if not any(pe.managed for pe in ruleset.network.pes.values()):
        return
    # Imported late: the libraries cost memory, and a network without such routers needs none.
    from vpnctl.provisioning.intent import intents
    from vpnctl.provisioning.profile_files import read_profiles
    from vpnctl.provisioning.rendering import render_each

    wanted = intents(ruleset).values()
    render_each(((intent, None) for intent in wanted), read_profiles(policies / TEMPLATES))
