"""The terms of a session: what is offered to a PE, and what was agreed on with it.

The policy speaks of a `Pe`, the session process of a `NeighborConfig` and a `SessionOpened`, the
engine of an `Opened`.
"""

from __future__ import annotations

from collections.abc import Iterable

from vpnctl.bgp.wire import MasterKey, NeighborConfig, SessionOpened
from vpnctl.model import AddPath, Family, Guard, Network, Pe
from vpnctl.model.family import RT_CONSTRAINT, SESSION_FAMILIES, VPNV4, VPNV6
from vpnctl.routing.long_lived import LongLived
from vpnctl.routing.session import Opened

#: AFI and SAFI of RFC 4684, which is offered beside the families of routes.
CONSTRAINT = RT_CONSTRAINT.afi, RT_CONSTRAINT.safi

_FAMILY_OF = {(family.afi, family.safi): family for family in SESSION_FAMILIES.values()}


def families_of(pairs: Iterable[tuple[int, int]]) -> frozenset[Family]:
    """The families of routes among pairs of AFI and SAFI."""
    return frozenset(_FAMILY_OF[pair] for pair in pairs if pair in _FAMILY_OF)


def family_of(afi: int, safi: int) -> Family | None:
    """The family that a ROUTE-REFRESH means, that of RFC 4684 included; None for another's."""
    return RT_CONSTRAINT if (afi, safi) == CONSTRAINT else _FAMILY_OF.get((afi, safi))


def neighbor(network: Network, pe: Pe, keys: tuple[bytes, ...]) -> NeighborConfig:
    """What the session process is to offer a PE; ``keys``: of its TCP segments."""
    controller = network.controller
    return NeighborConfig(
        name=pe.name,
        peer_address=pe.address,
        local_address=pe.listen.address,
        listen_port=pe.listen.port,
        peer_port=pe.bgp_port,
        local_asn=controller.asn,
        peer_asn=pe.asn,
        router_id=controller.router_id,
        families=_offered(pe),
        hold_time=pe.hold_time,
        passive=pe.passive,
        hops=pe.guard.hops,
        restart_time=_restart_time(pe),
        long_lived_time=pe.long_lived_graceful_restart or None,
        md5=keys[0] if pe.guard.md5 is not None else None,
        tcp_ao=tuple(
            MasterKey(each.send, each.receive, each.algorithm, key)
            for each, key in zip(pe.guard.tcp_ao, keys, strict=False)
        ),
        paths=(pe.add_path.send, pe.add_path.receive),
        path_families=_with_paths(pe),
    )


def _offered(pe: Pe) -> tuple[tuple[int, int], ...]:
    families = tuple((family.afi, family.safi) for family in sorted(pe.families))
    return (*families, CONSTRAINT) if pe.rt_constraint else families


def _restart_time(pe: Pe) -> int | None:
    """Seconds of a graceful restart, None for not offering one; RFC 9494 is not without it."""
    lasting = pe.long_lived_graceful_restart
    return pe.graceful_restart if pe.graceful_restart or lasting else None


def _with_paths(pe: Pe) -> tuple[tuple[int, int], ...]:
    """The families in which path identifiers are offered, if they are."""
    return tuple((each.afi, each.safi) for each in (VPNV4, VPNV6) if each in pe.families)


def agreed(number: int, opened: SessionOpened, pe: Pe | None, router_id: bytes) -> Opened:
    """What the engine has to know of session ``number``.

    ``pe``: None for one that is in no policy any more; ``router_id``: ours, 4 octets.
    """
    paths = AddPath() if pe is None else pe.add_path
    return Opened(
        number=number,
        peer=opened.neighbor,
        peer_address=opened.peer_address.packed,
        peer_router_id=opened.peer_router_id.packed,
        peer_asn=opened.peer_asn,
        local_asn=opened.local_asn,
        router_id=router_id,
        families=families_of(opened.families),
        asn4=opened.asn4,
        message_size=opened.message_size,
        enhanced_refresh=opened.refresh == "enhanced",
        refresh=opened.refresh != "absent",
        guard=Guard() if pe is None else pe.guard,
        rt_constraint=CONSTRAINT in opened.families,
        stale_time=_stale_time(opened, pe),
        restartable=families_of(opened.restartable),
        preserved=families_of(opened.preserved),
        graceful_notification=opened.graceful_notification,
        paths_sent=dict.fromkeys(families_of(opened.paths_sent), paths.send),
        paths_taken=dict.fromkeys(families_of(opened.paths_taken), paths.receive),
        long_lived=_long_lived(opened, pe),
    )


def _stale_time(opened: SessionOpened, pe: Pe | None) -> int:
    """Seconds for which a PE's routes stay: what it asks for, at most what the policy says."""
    if pe is None or opened.restart_time is None:
        return 0
    return min(opened.restart_time, pe.graceful_restart)


def _long_lived(opened: SessionOpened, pe: Pe | None) -> LongLived:
    """What was agreed on of RFC 9494; routes stay for what the policy says at most."""
    most = 0 if pe is None else pe.long_lived_graceful_restart
    times = {
        _FAMILY_OF[afi, safi]: min(seconds, most)
        for afi, safi, seconds in opened.long_lived or ()
        if (afi, safi) in _FAMILY_OF and min(seconds, most)
    }
    return LongLived(
        offered=most > 0,
        understood=opened.long_lived is not None,
        despite=pe is not None and pe.stale_routes,
        times=times,
        preserved=families_of(opened.long_lived_preserved),
    )
