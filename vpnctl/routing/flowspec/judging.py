"""What is to be said of a flow route that a PE announced, for an operator who asks."""

from __future__ import annotations

from collections.abc import Iterator

from vpnctl.routing.engine import Engine
from vpnctl.routing.flowspec.originated import path_actions
from vpnctl.routing.table import Path

#: Of a PE that is not trusted with flow routes.
REFUSED_FLOW = "refused: flow routes are made of access rules, not taken from PEs"


def standing(engine: Engine, path: Path, key: bytes) -> str:
    """``accepted``, or why nobody gets a flow route of a PE."""
    if not engine.taken.trusts(path.peer):
        return REFUSED_FLOW
    why = engine.taken.verdict(path, key).why
    return f"refused: {why}" if why else "accepted"


def judged(engine: Engine, path: Path, key: bytes) -> Iterator[str]:
    """Whether others get a flow route of a PE, or would, and why not."""
    verdict = engine.taken.verdict(path, key)
    if not engine.taken.trusts(path.peer):
        yield f"not used: {REFUSED_FLOW}"
        getting = f"{', '.join(verdict.sent)} would get it"
        yield f"with `flow_routes` of {path.peer} set: {verdict.why or getting}"
    elif verdict.why:
        yield f"not used: {verdict.why}"
    else:
        does = ", ".join(path_actions(path))
        yield f"{path.peer} asks this of {verdict.vpn}'s other PEs, with `flow_routes`: {does}"
        for pe, why in sorted(verdict.unfit.items()):
            yield f"at {pe} it is not feasible (RFC 9117): {why}"
