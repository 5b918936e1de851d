"""What the controller can be asked to change."""

from __future__ import annotations

from dataclasses import dataclass

#: Every ``PlanRequest.kind``.
KINDS = ("apply", "extend", "retract", "rollback")


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """A change to plan or to apply.

    ``kind``:

    - ``apply``: the policy directory as it is on disk now, or only ``files`` (names in it) of it;
    - ``extend``, ``retract``: the policy directory with ``site`` added to, or taken from, ``vpn``;
    - ``rollback``: the policy of ``revision``, or of the present revision's parent when it is None.
    """

    kind: str = "apply"
    vpn: str = ""
    site: str = ""
    revision: int | None = None
    files: tuple[str, ...] = ()
