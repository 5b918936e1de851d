"""The small network that ``vpnctl init DIR`` writes: everything on loopback, two customers."""

from __future__ import annotations

_NETWORK = """\
# The provider's network: the controller, the sites, and the PEs (routers) at them.
# `vpnctl check DIR` reports every mistake; docs/policy-reference.md explains every key.
controller:
  asn: 65000
  router_id: 10.255.0.1
  listen: 127.0.0.1:1790          # port 179 unless given; a list for several addresses
  pools:                          # where numbers come from that the files leave out
    route_targets: 65000:100-9999
    vlans: 100-999
    vnis: 10000-19999

# A site is a place.  An enterprise owns its sites; at a cloud every VPN gets a VLAN of its own.
sites:
  e1-hq: {kind: enterprise, pes: [pe-e1]}
  e2-hq: {kind: enterprise, pes: [pe-e1]}    # two customers behind one PE, kept apart
  cloud1: {kind: cloud, pes: [pe-c1]}
  cloud2: {kind: cloud, pes: [pe-c2]}

# A PE keeps a BGP session with the controller.  These connect to it by themselves (passive: the
# controller waits) and speak VPLS only.  A PE of another AS has its own `asn`.
pes:
  pe-e1: {address: 127.0.0.11, passive: true, families: [vpls]}
  pe-c1: {address: 127.0.0.12, passive: true, families: [vpls]}
  pe-c2: {address: 127.0.0.13, passive: true, families: [vpls]}
"""

_E1 = """\
# Customer E1: its head office and a slice of cloud1, on one Ethernet.
# Try `vpnctl extend E1 --site cloud2`: it edits the list of sites here, and no router.
vpn: E1
service: vpls

# Given, because the PEs are configured with them already.  Leave `targets` out, name the site
# alone (`- cloud1`), and a target is allocated.
sites:
  - site: e1-hq
    targets: 65000:1101
  - site: cloud1
    targets: 65000:1102
  # No cloud2 yet.  Its route target for E1 is allocated when it joins.
"""

_E2 = """\
# Customer E2 may use the same addresses as E1: neither ever hears the other's routes.
vpn: E2
service: vpls
sites:
  - site: e2-hq
    targets: 65000:1201
  - site: cloud2
    targets: 65000:1202

# Everybody hears everybody, unless the file says otherwise, for example
# topology: {hub-and-spoke: {hubs: [e2-hq]}}
"""


def starter_files() -> dict[str, str]:
    """File name to text of a policy directory that checks and serves as it is."""
    return {"network.yaml": _NETWORK, "e1.yaml": _E1, "e2.yaml": _E2}
