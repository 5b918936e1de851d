"""What vpnctl owns on one router, in the router's own language."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a driver loads.

    ``format``: ``junos-xml``, ``netconf-xml`` or ``frr``.  ``content`` is the configuration that
    is ours.  ``owned``: the paths of the nodes that it replaces; ``delete``: those that were ours
    before and are not any more.  A path is ``/configuration/interfaces/interface[name='ge-0/0/1']``
    (every predicate a key of a list), or for FRR ``router bgp 65000 / address-family l2vpn evpn``.
    """

    router: str
    platform: str
    format: str
    content: str
    owned: tuple[str, ...]
    delete: tuple[str, ...]
