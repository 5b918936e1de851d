"""Numbers that the policy gives explicitly, and who has which."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

from immutables import Map

from vpnctl.model import Place
from vpnctl.yamltree.mistake import Mistake

#: Spaces of numbers that are unique across the network; VLANs are per port (``vlan/PE/PORT``),
#: VE-IDs per VPN (``ve-id/VPN``).
ROUTE_TARGET = "route-target"
RD = "rd"
VNI = "vni"


@dataclass(frozen=True, slots=True)
class Claim:
    """One number as the policy gives it.

    ``value`` in the space: 8 octets of a route target or distinguisher, else an integer.
    ``shared``: the VPN may use the number more than once.  ``message`` and ``hint`` are for the
    one who wants it too: ``message`` has a ``{by}`` for the holder.
    """

    space: str
    value: Hashable
    vpn: str
    holder: str
    place: Place
    path: str
    message: str
    hint: str
    shared: bool = False


class Claims:
    """Every claim, by space and value.  A copy shares what neither of the two changes."""

    def __init__(self) -> None:
        self._spaces: dict[str, Map[Hashable, Claim]] = {}

    def copy(self) -> Claims:
        """One that may be changed without changing this one."""
        other = Claims()
        other._spaces = self._spaces.copy()
        return other

    def space(self, name: str) -> Mapping[Hashable, Claim]:
        """The claims of a space as things stand now."""
        return self._spaces.get(name, _NO_CLAIMS)

    def add(self, claims: Iterable[Claim]) -> list[Mistake]:
        """Enter the claims; where two want one number, the first keeps it."""
        mistakes = []
        for claim in claims:
            space = self._spaces.get(claim.space, _NO_CLAIMS)
            taken = space.get(claim.value)
            if taken is None:
                self._spaces[claim.space] = space.set(claim.value, claim)
            elif not (claim.shared and taken.vpn == claim.vpn):
                by = taken.holder if taken.vpn == claim.vpn else taken.vpn
                message = claim.message.replace("{by}", f"{by} ({taken.place})")
                mistakes.append(Mistake(claim.place, claim.path, message, claim.hint))
        return mistakes

    def remove(self, claims: Iterable[Claim]) -> None:
        """Take out claims that were entered."""
        for claim in claims:
            space = self._spaces.get(claim.space, _NO_CLAIMS)
            if claim.value in space:
                self._spaces[claim.space] = space.delete(claim.value)


_NO_CLAIMS: Map[Hashable, Claim] = Map()
