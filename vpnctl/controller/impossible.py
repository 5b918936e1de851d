"""What cannot be had, as mistakes of the policy that asks for it."""

from __future__ import annotations

from pathlib import Path

from vpnctl.bgp import tcp_ao
from vpnctl.model import Network, Ruleset
from vpnctl.ruleset import Mistake, policy_error

#: Where an operator's own platforms are, in the policy directory.
TEMPLATES = "router_templates"


def refuse_unprotected(network: Network) -> None:
    """Raises `PolicyError` with every session that this machine cannot protect."""
    mistakes = unprotected(network)
    if mistakes:
        raise policy_error(mistakes)


def unprotected(network: Network) -> tuple[Mistake, ...]:
    """The sessions that are to have TCP-AO, where the kernel of this machine has none."""
    wanted = [pe for pe in network.pes.values() if pe.guard.tcp_ao]
    reason = tcp_ao.unavailable() if wanted else ""
    return tuple(
        Mistake(
            pe.place,
            f"pes.{pe.name}",
            f"the session of {pe.name} cannot have TCP-AO on this machine: {reason}",
            "run vpnctl serve on Linux 6.7 or newer with CONFIG_TCP_AO, "
            "or agree on md5 with the router",
        )
        for pe in wanted
        if reason and pe.place is not None
    )


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
