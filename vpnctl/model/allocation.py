"""Numbers that the controller chose and has to keep choosing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Allocation:
    """One number taken from a pool by an owner.

    ``pool`` names the space in which ``number`` is unique, e.g. ``route-target``,
    ``rd/pe-e1``, ``ve-id/E1`` or ``vlan/pe-c2a/ge-0/0/1``.  ``owner`` says who has it, e.g.
    ``E1/cloud2`` (a site of a VPN) or ``E1/cloud2/pe-c2a`` (an endpoint); an owner has at most
    one number of a pool.  ``released`` numbers stay with their last owner, so that undoing a
    retract gives the old numbers back, and are given to another owner only when nothing else is
    left: a router may still import a target that was released a minute ago.
    """

    pool: str
    owner: str
    number: int
    released: bool = False
