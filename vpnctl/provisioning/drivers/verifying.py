"""What a router says that it has committed, beside what is in force."""

from __future__ import annotations

from vpnctl.errors import UnverifiedError
from vpnctl.provisioning.words import legible

#: Lines that an error names; the others are counted.
_LINES = 4


def unverified(router: str, wanted: str, there: str) -> UnverifiedError:
    """``wanted`` and ``there``: the same nodes, one line for each leaf."""
    shall, has = set(wanted.splitlines()), set(there.splitlines())
    lines = [
        *(f"missing: {legible(line)}" for line in sorted(shall - has)),
        *(f"still there: {legible(line)}" for line in sorted(has - shall)),
    ]
    more = f"; {len(lines) - _LINES} lines more" if len(lines) > _LINES else ""
    return UnverifiedError(
        f"{router} says that it has committed, and not all of it is in force: "
        + "; ".join(lines[:_LINES])
        + more,
        router=router,
        hint="the router's own log may say why",
    )
