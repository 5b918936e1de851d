"""From the routes heard to the pseudowires wanted: a PE's own import policy.

One pure function of configuration and routes, so that the order in which routes came does not
matter.  What is asked for by an import target and cannot be used is refused with its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from vpnctl.lab.vplspe.labels import LabelBlock
from vpnctl.lab.vplspe.values import (
    ENCAPSULATION_VPLS,
    NlriKey,
    PeConfig,
    Pseudowire,
    Refusal,
    VeRoute,
    VpnAtPe,
)

#: Routes by neighbor, then by what identifies them.
Heard = Mapping[str, Mapping[NlriKey, VeRoute]]


@dataclass(frozen=True, slots=True)
class Selection:
    """Sorted by VPN, then VE-ID or route."""

    pseudowires: tuple[Pseudowire, ...]
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A route that can be used, for one VPN."""

    vpn: VpnAtPe
    neighbor: str
    route: VeRoute
    pseudowire: Pseudowire

    @property
    def rank(self) -> tuple[bool, int, int, NlriKey, str]:
        """Best first: one whose PE is there, LOCAL_PREF, then the lower next hop, RD and neighbor,
        so that it is total.
        """
        return (
            self.route.long_lived_stale,
            -self.route.local_preference,
            int(self.pseudowire.peer),
            self.route.key,
            self.neighbor,
        )

    def refused(self, why: str) -> Refusal:
        return Refusal(self.vpn.name, str(self.route.key), self.neighbor, why)


def select(config: PeConfig, heard: Heard) -> Selection:
    """The pseudowires that the PE shall have."""
    refusals: list[Refusal] = []
    pseudowires: list[Pseudowire] = []
    # Of every other PE: the labels that it has given out, and to whom.
    given: dict[IPv4Address, list[tuple[LabelBlock, str]]] = {}
    for vpn in sorted(config.vpns, key=lambda vpn: vpn.name):
        by_ve: dict[int, list[_Candidate]] = {}
        for neighbor, route in _asked_for(vpn, heard):
            pseudowire, why = _pseudowire(config, vpn, route)
            if pseudowire is None:
                refusals.append(Refusal(vpn.name, str(route.key), neighbor, why))
            else:
                candidate = _Candidate(vpn, neighbor, route, pseudowire)
                by_ve.setdefault(route.key.ve_id, []).append(candidate)
        for _, candidates in sorted(by_ve.items()):
            best, refused = _best(candidates, given)
            refusals += refused
            if best is not None:
                pseudowires.append(best.pseudowire)
                given.setdefault(best.pseudowire.peer, []).append(
                    (best.route.block, f"{best.route.key} in {vpn.name}")
                )
    return Selection(tuple(sorted(pseudowires)), tuple(sorted(refusals)))


def _asked_for(vpn: VpnAtPe, heard: Heard) -> Iterator[tuple[str, VeRoute]]:
    for neighbor, routes in sorted(heard.items()):
        wanted = [route for _, route in sorted(routes.items()) if route.targets & vpn.imports]
        # A VE may have several blocks, of which one is for us.
        with_our_label = {
            route.key[:2] for route in wanted if route.block.label(vpn.ve_id) is not None
        }
        for route in wanted:
            if route.block.label(vpn.ve_id) is None and route.key[:2] in with_our_label:
                continue
            yield neighbor, route


def _pseudowire(config: PeConfig, vpn: VpnAtPe, route: VeRoute) -> tuple[Pseudowire | None, str]:
    """The pseudowire that a route asks for, or why there cannot be one."""
    why = route.block.mistake or _wrong_ve_id(vpn, route) or _wrong_layer2(vpn, route)
    if why:
        return None, why
    peer, why = _peer(config, route.next_hop)
    if peer is None:
        return None, why
    receive = vpn.block.label(route.key.ve_id)
    if receive is None:
        ours = f"{vpn.block.ve_ids.start} to {vpn.block.ve_ids.stop - 1}"
        return None, f"our label block is for the VE-IDs {ours}; give it a larger size"
    transmit = route.block.label(vpn.ve_id)
    if transmit is None:
        theirs = f"{route.block.ve_ids.start} to {route.block.ve_ids.stop - 1}"
        return None, f"its label block is for the VE-IDs {theirs}, ours is {vpn.ve_id}"
    return Pseudowire(vpn.name, route.key.ve_id, peer, receive, transmit), ""


def _wrong_ve_id(vpn: VpnAtPe, route: VeRoute) -> str:
    if route.key.ve_id == 0:
        return "0 is no VE-ID"
    if route.key.ve_id == vpn.ve_id:
        return f"its VE-ID {vpn.ve_id} is ours"
    return ""


def _wrong_layer2(vpn: VpnAtPe, route: VeRoute) -> str:
    if route.layer2 is None:
        return ""
    if route.layer2.encapsulation != ENCAPSULATION_VPLS:
        return f"its encapsulation is {route.layer2.encapsulation}, not VPLS ({ENCAPSULATION_VPLS})"
    if route.layer2.mtu not in (0, vpn.mtu):
        return f"its MTU is {route.layer2.mtu}, ours {vpn.mtu}"
    return ""


def _peer(config: PeConfig, next_hop: str) -> tuple[IPv4Address | None, str]:
    try:
        address = IPv4Address(next_hop)
    except ValueError:
        return None, f"its next hop {next_hop} is no IPv4 address"
    if address == config.address:
        return None, f"its next hop {address} is ourselves"
    if (
        address.is_unspecified
        or address.is_loopback
        or address.is_multicast
        or address.is_link_local
        or address.is_reserved
    ):
        return None, f"its next hop {address} is not the address of a router"
    if config.underlay and not any(address in network for network in config.underlay):
        return None, f"its next hop {address} is outside the underlay"
    return address, ""


def _best(
    candidates: Iterable[_Candidate], given: Mapping[IPv4Address, list[tuple[LabelBlock, str]]]
) -> tuple[_Candidate | None, list[Refusal]]:
    """One of the routes to a VE (RFC 4761 section 3.5), and why not the others.

    A block with labels that the same PE has given to another VE is of no use: at that PE, frames
    of the two could not be told apart, were it one customer's or two.
    """
    best: _Candidate | None = None
    refused = []
    for candidate in sorted(candidates, key=lambda candidate: candidate.rank):
        taken = next(
            (
                owner
                for block, owner in given.get(candidate.pseudowire.peer, ())
                if block.overlaps(candidate.route.block)
            ),
            None,
        )
        if taken is not None:
            refused.append(
                candidate.refused(
                    f"{candidate.pseudowire.peer} has given labels of its block to {taken}"
                )
            )
        elif best is None:
            best = candidate
        elif candidate.pseudowire != best.pseudowire:
            refused.append(
                candidate.refused(f"the route to this VE by {best.pseudowire.peer} is better")
            )
    return best, refused


@dataclass(frozen=True, slots=True)
class Difference:
    """What to take away, then what to add."""

    remove: tuple[Pseudowire, ...]
    add: tuple[Pseudowire, ...]


def difference(present: Iterable[Pseudowire], wanted: Iterable[Pseudowire]) -> Difference:
    """From what there is to what shall be; a pseudowire that changes is removed and added."""
    there, shall = set(present), set(wanted)
    return Difference(tuple(sorted(there - shall)), tuple(sorted(shall - there)))
