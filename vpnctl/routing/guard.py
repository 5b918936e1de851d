"""What one session may cost: routes, sets of attributes, memory; and where its routes may lead.

Counting is exact and done where routes come and go.  Limits are looked at only when a count
reaches the next mark, so that a route costs one comparison and one addition.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address

from vpnctl.model import Beyond, Family, Guard
from vpnctl.routing.as_path import segments_of
from vpnctl.routing.attributes import Attributes, TreatAsWithdrawError
from vpnctl.routing.update import SessionResetError

#: About how many octets a route takes in the tables, besides what its path takes: its key and
#: NLRI as objects, and a place in two dictionaries.
ROUTE_OCTETS = 350

#: The same for a set of attributes, besides twice its octets on the wire.
PATH_OCTETS = 1500

#: Routes of a family after which memory is looked at again.
_LOOK_AGAIN = 4096

#: Cease, Maximum Number of Prefixes Reached and Out of Resources (RFC 4486 section 4).
CEASE, TOO_MANY_ROUTES, OUT_OF_RESOURCES = 6, 1, 8

_RD_OCTETS = 8


class Account:
    """Routes of one family that a session announces.

    ``mark``: the number of routes at which the limits are looked at; ``refused``: announcements
    that were not taken in because there were too many.
    """

    __slots__ = ("family", "mark", "refused", "routes")

    def __init__(self, family: Family) -> None:
        self.family = family
        self.routes = 0
        self.mark = 0
        self.refused = 0


@dataclass(slots=True)
class Ledger:
    """What a session costs, against its guard.

    ``accounts``: by AFI and SAFI; ``paths``: sets of attributes, ``path_octets``: what they take;
    ``told``: what the operator was told and need not be told again; ``notices``: what is to be
    told now.
    """

    guard: Guard
    accounts: dict[bytes, Account]
    paths: int = 0
    path_octets: int = 0
    told: set[str] | None = None
    notices: list[str] | None = None

    @property
    def octets(self) -> int:
        """About what the session's routes take in memory."""
        routes = sum(account.routes for account in self.accounts.values())
        return routes * ROUTE_OCTETS + self.path_octets

    def regard(self, guard: Guard) -> bool:
        """Take another guard, whose limits are looked at with the next route.

        Whether the peer has to be asked for its routes again, because some were not taken in.
        """
        before, self.guard = self.guard, guard
        self.told = None
        refused = sum(account.refused for account in self.accounts.values())
        for account in self.accounts.values():
            account.mark = account.refused = 0
        return refused > 0 or _sanity(before) != _sanity(guard)

    def admits(self, account: Account) -> bool:
        """Whether one more route of a family may come, asked at the account's mark.

        Raises `SessionResetError` where the guard says so.
        """
        guard, routes = self.guard, account.routes
        family = account.family.name
        mark = routes + _LOOK_AGAIN
        most = guard.routes.get(family)
        if most is not None:
            warn_at = most * guard.warn // 100
            if routes >= most:
                words = f"more than {most} {family} routes (guard.routes)"
                if not self._passes(words, TOO_MANY_ROUTES):
                    account.refused += 1
                    return False
            elif routes >= warn_at:
                self._tell(f"{routes} {family} routes of at most {most} (guard.warn)", family)
                mark = min(mark, most)
            else:
                mark = min(mark, max(warn_at, routes + 1))
        if self.octets > guard.memory and not self._passes(self._memory(), OUT_OF_RESOURCES):
            account.refused += 1
            return False
        account.mark = mark
        return True

    def open_path(self, octets: int) -> None:
        """Count one more set of attributes, of so many octets on the wire.

        Raises `TreatAsWithdrawError` or `SessionResetError` where the guard says so.
        """
        guard = self.guard
        if guard.paths is not None and self.paths >= guard.paths:
            words = f"more than {guard.paths} sets of attributes (guard.paths)"
            if not self._passes(words, OUT_OF_RESOURCES):
                raise TreatAsWithdrawError(words)
        if self.path_octets > guard.memory and not self._passes(self._memory(), OUT_OF_RESOURCES):
            raise TreatAsWithdrawError(self._memory())
        self.paths += 1
        self.path_octets += PATH_OCTETS + 2 * octets

    def close_path(self, octets: int) -> None:
        """Count one set of attributes less."""
        self.paths -= 1
        self.path_octets -= PATH_OCTETS + 2 * octets

    def _memory(self) -> str:
        return f"its routes take more than {self.guard.memory >> 20} MiB (guard.memory)"

    def _passes(self, words: str, subcode: int) -> bool:
        """Whether what goes beyond a limit is taken in all the same."""
        if self.guard.beyond is Beyond.SHUTDOWN:
            raise SessionResetError(CEASE, subcode, words)
        refuse = self.guard.beyond is Beyond.REFUSE
        self._tell(f"{words}: {'further ones are refused' if refuse else 'taken in'}", words)
        return not refuse

    def _tell(self, words: str, once: str) -> None:
        if self.told is None:
            self.told = set()
        if once not in self.told:
            self.told.add(once)
            self.notices = [*(self.notices or ()), words]


def _sanity(guard: Guard) -> tuple[object, ...]:
    return guard.next_hops, guard.as_path, guard.first_as, guard.paths


def addresses_of(next_hop: bytes) -> list[bytes]:
    """The addresses of MP_REACH_NLRI's next hop field, the RD before each left out.

    RFC 4364 section 4.3.2, RFC 4659 section 3.2.1; none where the family has none.
    """
    size = len(next_hop)
    if size in (12, 24, 48):
        half = size if size < 48 else 24
        return [next_hop[at + _RD_OCTETS : at + half] for at in range(0, size, half)]
    return [next_hop] if size in (4, 16) else []


def check_next_hop(next_hop: bytes, allowed: tuple[IPv4Network | IPv6Network, ...]) -> None:
    """Raises `TreatAsWithdrawError` for what is no host's address (RFC 4271 section 6.3), or
    none that the guard allows.

    ``next_hop``: the field of MP_REACH_NLRI; its second address, a link-local one, is not looked
    at (RFC 2545 section 3).
    """
    found = addresses_of(next_hop)
    if not found:
        return
    address = ip_address(found[0])
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        address = mapped
    if address.is_unspecified or address.is_multicast:
        raise TreatAsWithdrawError(f"next hop {address} is no host's address")
    if allowed and not any(address in network for network in allowed):
        raise TreatAsWithdrawError(f"next hop {address} is not one of guard.next_hops")


def check_as_path(attributes: Attributes, peer_asn: int, guard: Guard) -> None:
    """Raises `TreatAsWithdrawError` for an AS_PATH that the guard does not allow."""
    path = attributes.path
    if guard.as_path is not None:
        numbers = sum(len(each) for _, each in segments_of(path.octets, 4))
        if numbers > guard.as_path:
            raise TreatAsWithdrawError(
                f"an AS_PATH of {numbers} numbers, at most {guard.as_path} are allowed"
                " (guard.as_path)"
            )
    if attributes.origin.external and guard.first_as and path.first != peer_asn:
        raise TreatAsWithdrawError(
            f"the AS_PATH begins with AS {path.first}, not with the peer's {peer_asn}"
            " (guard.first_as)"
        )
