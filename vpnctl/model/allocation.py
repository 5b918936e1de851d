"""Numbers that the controller chose and has to keep choosing."""

from __future__ import annotations

from dataclasses import dataclass

#: A VPLS takes part in this many VE-IDs at least, so that a few more sites change no router that
#: has the VPN already.
LEAST_SITE_RANGE = 16
#: How the owner of a number begins that a router used before it was adopted; no VPN is called so.
ADOPTED = "@"
#: The highest VE-ID that routers take as a site identifier.
MOST_SITE_RANGE = 65534


def site_range(highest: int) -> int:
    """How many VE-IDs a VPLS takes part in, by the highest it has: 16, 32, 64 ...

    A power of two changes seldom while the VPN grows; each change reconfigures all its routers.
    """
    return min(max(LEAST_SITE_RANGE, 1 << (highest - 1).bit_length()), MOST_SITE_RANGE)


@dataclass(frozen=True, slots=True, order=True)
class Allocation:
    """One number taken from a pool by an owner.

    ``pool`` names the space in which ``number`` is unique, e.g. ``route-target``,
    ``rd/pe-e1``, ``ve-id/E1`` or ``vlan/pe-c2a/ge-0/0/1``.  ``owner`` says who has it, e.g.
    ``E1/cloud2`` (a site of a VPN) or ``E1/cloud2/pe-c2a`` (an endpoint); an owner has at most
    one number of a pool.  ``released`` numbers stay with their last owner, so that undoing a
    retract gives the old numbers back, and are given to another owner only when nothing else is
    left: a router may still import a target that was released a minute ago.

    An owner of the form ``@PE/NUMBER`` is a router that used the number before it was adopted.
    """

    pool: str
    owner: str
    number: int
    released: bool = False

    @property
    def adopted(self) -> bool:
        """Whether the number is in use on a router by something that is not ours."""
        return self.owner.startswith(ADOPTED)


@dataclass(frozen=True, slots=True, order=True)
class InUse:
    """A number that a router's configuration has, whoever put it there.

    ``kind``: ``vlan``, ``rd``, ``route-target``, ``ve-id`` or ``vni``.  ``value`` is as in a
    policy: ``100``, ``4001/17``, ``10.0.0.1:100``.  ``where`` is the node that has it, in the
    router's own terms.  ``port``: of a VLAN.  ``targets``: of the VPN of a VE-ID.
    """

    kind: str
    value: str
    where: str
    port: str = ""
    targets: tuple[str, ...] = ()
