"""Numbers that the policy gives explicitly, and who has which."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from vpnctl.model import Place
from vpnctl.ruleset.mistake import Mistake

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
    """Every claim, by space and value.  Copies are cheap: a space is copied when written to."""

    def __init__(self) -> None:
        self._spaces: dict[str, dict[Hashable, Claim]] = {}
        self._own: set[str] = set()

    def copy(self) -> Claims:
        """One that may be changed without changing this one."""
        other = Claims()
        other._spaces = self._spaces.copy()
        # Both share the spaces from now on.
        self._own = set()
        return other

    def space(self, name: str) -> dict[Hashable, Claim]:
        """The claims of a space, to be read only."""
        return self._spaces.get(name, {})

    def add(self, claims: Iterable[Claim]) -> list[Mistake]:
        """Enter the claims; where two want one number, the first keeps it."""
        mistakes = []
        for claim in claims:
            taken = self.space(claim.space).get(claim.value)
            if taken is None:
                self._writable(claim.space)[claim.value] = claim
            elif not (claim.shared and taken.vpn == claim.vpn):
                by = taken.holder if taken.vpn == claim.vpn else taken.vpn
                message = claim.message.replace("{by}", f"{by} ({taken.place})")
                mistakes.append(Mistake(claim.place, claim.path, message, claim.hint))
        return mistakes

    def remove(self, claims: Iterable[Claim]) -> None:
        """Take out claims that were entered."""
        for claim in claims:
            self._writable(claim.space).pop(claim.value, None)

    def _writable(self, name: str) -> dict[Hashable, Claim]:
        if name not in self._own:
            self._spaces[name] = self._spaces.get(name, {}).copy()
            self._own.add(name)
        return self._spaces[name]
