"""A peer of ours as ExaBGP's `Neighbor`: addresses, timers, and what its OPEN is to offer."""

from __future__ import annotations

import base64
from types import SimpleNamespace
from typing import Any

from exabgp.bgp.message.open.asn import ASN
from exabgp.bgp.message.open.holdtime import HoldTime
from exabgp.bgp.message.open.routerid import RouterID
from exabgp.bgp.neighbor import Neighbor
from exabgp.protocol.family import AFI, SAFI
from exabgp.protocol.ip import IP

from vpnctl.bgp import exabgp_capabilities
from vpnctl.bgp.wire import NeighborConfig


class _Nothing(dict[str, Any]):
    """ExaBGP's table of helper processes to tell about events: there are none."""

    def __missing__(self, key: str) -> Any:
        return False


def _path_direction(config: NeighborConfig) -> int:
    """Send/Receive of RFC 7911 section 4: 1 for receive, 2 for send, 3 for both."""
    send, receive = config.paths
    return (1 if receive else 0) | (2 if send else 0)


def build_neighbor(config: NeighborConfig) -> Neighbor:
    """The same in ExaBGP's terms.  Raises `ValueError` with a sentence for the operator."""
    if config.peer_address.version != config.local_address.version:
        raise ValueError(
            f"its address {config.peer_address} and ours, {config.local_address}, "
            "are of different IP versions"
        )
    if config.hold_time != 0 and not HoldTime.MIN <= config.hold_time <= HoldTime.MAX:
        raise ValueError(f"a hold time of {config.hold_time} s is not 0 or 3 to 65535")
    for asn in (config.local_asn, config.peer_asn):
        if not 0 < asn <= 0xFFFFFFFF:
            raise ValueError(f"{asn} is no AS number")
    neighbor = Neighbor()
    local: IP | None = None
    if not config.local_address.is_unspecified:
        local = IP.create(str(config.local_address))
    neighbor.auto_discovery = local is None
    neighbor.update(
        {
            "description": config.name,
            "router-id": RouterID(str(config.router_id)),
            "local-address": local,
            "md5-ip": local,
            "peer-address": IP.create(str(config.peer_address)),
            "local-as": ASN(config.local_asn),
            "peer-as": ASN(config.peer_asn),
            "passive": config.passive,
            "listen": config.listen_port,
            "connect": config.peer_port,
            "hold-time": HoldTime(config.hold_time),
            # Any octets may be in a key, so it goes in base64.
            "md5-base64": True,
            "md5-password": base64.b64encode(config.md5).decode() if config.md5 else None,
            "incoming-ttl": None if config.hops is None else 256 - config.hops,
            "adj-rib-in": False,
            "adj-rib-out": False,
            "manual-eor": True,
        }
    )
    neighbor["capability"].update(
        {
            "asn4": True,
            "route-refresh": True,
            "extended-message": True,
            "graceful-restart": False if config.restart_time is None else config.restart_time,
            exabgp_capabilities.LONG_LIVED: config.long_lived_time,
            "add-path": _path_direction(config),
        }
    )
    for afi, safi in config.families:
        neighbor.add_family((AFI(afi), SAFI(safi)))
    for afi, safi in config.path_families:
        neighbor.add_addpath((AFI(afi), SAFI(safi)))
    neighbor.api = _Nothing()
    neighbor.rib = SimpleNamespace(reset=lambda: None)
    return neighbor
