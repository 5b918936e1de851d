"""Every mistake that an operator can make is reported with place, path and what to do."""

# ruff: noqa: E501 - messages stand here as the operator sees them

from __future__ import annotations

import pytest

from tests.ruleset.policies import NETWORK, policy, rendered

E1 = """\
vpn: E1
service: vpls
sites: [hq, cloud1]
"""

#: What it is, the files, and the whole message.
IN_VPN_FILES: list[tuple[str, dict[str, str], str]] = [
    (
        "unknown key",
        {
            "e1": E1 + "acces: x\n",
        },
        """\
p/e1.yaml:4:1  acces: unknown key 'acces'; did you mean 'access'?
               known keys here: access, description, extranet, service, sites, targets, topology, vni and 1 more
""",
    ),
    (
        "unknown key of a site, nearly right",
        {
            "e1": """\
vpn: E1
service: vpls
sites:
  - {site: hq, vlam: 5}
""",
        },
        """\
p/e1.yaml:4:16  sites[0].vlam: unknown key 'vlam'; did you mean 'vlan'?
                known keys here: prefixes, rd, site, targets, ve_id, vlan, vni
""",
    ),
    (
        "missing key",
        {
            "e1": """\
vpn: E1
sites: [hq]
""",
        },
        """\
p/e1.yaml:1:1  the key 'service' is missing
               write `service: vpls`, say
""",
    ),
    (
        "key without a value",
        {
            "e1": E1 + "topology:\n",
        },
        """\
p/e1.yaml:4:10  topology: has no value
                write one, or take the key out
""",
    ),
    (
        "text where a list belongs",
        {
            "e1": """\
vpn: E1
service: vpls
sites: hq
""",
        },
        """\
p/e1.yaml:3:8  sites: must be a list, not a single value
               write [a, b], or one item per line after a -
""",
    ),
    (
        "list and mapping in the wrong places",
        {
            "e1": """\
vpn: [E1]
service: vpls
sites: {hq: x}
""",
        },
        """\
p/e1.yaml:1:6  vpn: must be a single value, not a list
               write one value after the colon
p/e1.yaml:3:8  sites: must be a list, not a mapping
               write [a, b], or one item per line after a -
""",
    ),
    (
        "unknown service",
        {
            "e1": """\
vpn: E1
service: vpsl
sites: [hq]
""",
        },
        """\
p/e1.yaml:2:10  service: no service is called 'vpsl'; did you mean 'vpls'?
                known services: evpn, l3vpn, vpls
""",
    ),
    (
        "bad name",
        {
            "e1": """\
vpn: E 1
service: vpls
sites: [hq]
""",
        },
        """\
p/e1.yaml:1:6  vpn: 'E 1' is no name
               a name has letters, digits, - _ and . (at most 63, a letter or digit first)
""",
    ),
    (
        "VLAN that is no number",
        {
            "e1": """\
vpn: E1
service: vpls
sites: [{site: cloud1, vlan: x}]
""",
        },
        """\
p/e1.yaml:3:30  sites[0].vlan: 'x' is no VLAN
                write a number of 1 to 4094
""",
    ),
    (
        "VLAN that cannot be",
        {
            "e1": """\
vpn: E1
service: vpls
sites: [{site: cloud1, vlan: 5000}]
""",
        },
        """\
p/e1.yaml:3:30  sites[0].vlan: VLAN 5000 is outside 1 to 4094
                choose another
""",
    ),
    (
        "VLAN outside the pool",
        {
            "e1": """\
vpn: E1
service: vpls
sites: [{site: cloud1, vlan: 214}]
""",
        },
        """\
p/e1.yaml:3:30  sites[0].vlan: 214 is outside 100-109, the VLANs of pe-c1 port ge-0/0/3 (p/network.yaml:14)
                choose one of these, or leave it out and one is allocated
""",
    ),
    (
        "VLAN twice at one port",
        {
            "e1": """\
vpn: E1
service: vpls
sites: [{site: cloud1, vlan: 104}]
""",
            "e7": """\
vpn: E7
service: vpls
sites:
  - site: cloud1
    vlan: 104
""",
        },
        """\
p/e7.yaml:5:11  sites[0].vlan: 104 is taken at pe-c1 port ge-0/0/3 by E1 (p/e1.yaml:3)
                choose another, or leave it out and one is allocated
""",
    ),
    (
        "RD of two VPNs",
        {
            "e1": """\
vpn: E1
service: l3vpn
sites: [{site: hq, rd: 65000:7}]
""",
            "e2": """\
vpn: E2
service: l3vpn
sites: [{site: cloud1, rd: 65000:7}]
""",
        },
        """\
p/e2.yaml:3:28  sites[0].rd: the route distinguisher 65000:7 is taken by E1 (p/e1.yaml:3)
                every endpoint has its own: choose another, or leave it out and one is allocated
""",
    ),
    (
        "RD of two endpoints of a VPN",
        {
            "e1": """\
vpn: E1
service: l3vpn
sites:
  - {site: cloud2, rd: {pe-c2a: 65000:7, pe-c2b: 65000:7}}
""",
        },
        """\
p/e1.yaml:4:50  sites[0].rd.pe-c2b: the route distinguisher 65000:7 is taken by cloud2 at pe-c2a (p/e1.yaml:4)
                every endpoint has its own: choose another, or leave it out and one is allocated
""",
    ),
    (
        "one RD for two PEs",
        {
            "e1": """\
vpn: E1
service: l3vpn
sites:
  - {site: cloud2, rd: 65000:7}
""",
        },
        """\
p/e1.yaml:4:24  sites[0].rd: cloud2 has 2 PEs, which need a value each
                write {pe-c2a: .., pe-c2b: ..}
""",
    ),
    (
        "RD for a PE that is not there",
        {
            "e1": """\
vpn: E1
service: l3vpn
sites:
  - {site: cloud2, rd: {pe-c2: 65000:7}}
""",
        },
        """\
p/e1.yaml:4:25  sites[0].rd.pe-c2: 'pe-c2' is no PE of cloud2; did you mean 'pe-c2b'?
                known PEs of cloud2: pe-c2a, pe-c2b
""",
    ),
    (
        "VE-ID twice in a VPN",
        {
            "e1": """\
vpn: E1
service: vpls
sites:
  - {site: hq, ve_id: 3}
  - {site: cloud1, ve_id: 3}
""",
        },
        """\
p/e1.yaml:5:27  sites[1].ve_id: VE-ID 3 is taken by hq at pe-e (p/e1.yaml:4)
                it must be unique in the VPN: choose another, or leave it out and one is allocated
""",
    ),
    (
        "VE-ID of an EVPN",
        {
            "e1": """\
vpn: E1
service: evpn
sites:
  - {site: hq, ve_id: 3}
""",
        },
        """\
p/e1.yaml:4:16  sites[0].ve_id: an evpn has no VE-ID
                take the key out; VE-IDs belong to `service: vpls`
""",
    ),
    (
        "VNI of a VPLS",
        {
            "e1": E1 + "vni: 3\n",
        },
        """\
p/e1.yaml:4:1  vni: a vpls has no VNI
               take the key out; a VNI belongs to `service: evpn`
""",
    ),
    (
        "VNIs that differ within a VPN",
        {
            "e1": """\
vpn: E1
service: evpn
vni: 10001
sites:
  - {site: hq, vni: 10002}
""",
        },
        """\
p/e1.yaml:5:21  sites[0].vni: VNI 10002 differs from 10001 (p/e1.yaml:3)
                a VPN has one VNI: write it once, at the top of the file
""",
    ),
    (
        "VNI of two VPNs",
        {
            "e1": """\
vpn: E1
service: evpn
vni: 10001
sites: [hq]
""",
            "e2": """\
vpn: E2
service: evpn
vni: 10001
sites: [hq]
""",
        },
        """\
p/e2.yaml:3:6  vni: VNI 10001 is taken by E1 (p/e1.yaml:3)
               choose another, or leave it out and one is allocated
""",
    ),
    (
        "target of two VPNs",
        {
            "e1": E1 + "targets: 65000:5\n",
            "e2": """\
vpn: E2
service: vpls
sites: [{site: hq, targets: {import: [65000:4, 65000:5]}}]
""",
        },
        """\
p/e2.yaml:3:48  sites[0].targets.import[1]: the target 65000:5 belongs to E1 (p/e1.yaml:4)
                a target belongs to one VPN: choose another or leave it out; to join two VPNs, use `extranet`
""",
    ),
    (
        "bad target",
        {
            "e1": E1 + "targets: 65000:x\n",
        },
        """\
p/e1.yaml:4:10  targets: '65000:x' is no route target: write ASN:NUMBER or IPV4:NUMBER
                for example 65000:100
""",
    ),
    (
        "targets that say nothing",
        {
            "e1": E1 + "targets: {}\n",
        },
        """\
p/e1.yaml:4:10  targets: names neither export nor import
                write one, or take the key out
""",
    ),
    (
        "unknown site",
        {
            "e1": """\
vpn: E1
service: vpls
sites: [hq, cluod1]
""",
        },
        """\
p/e1.yaml:3:13  sites[1]: no site is called 'cluod1'; did you mean 'cloud1'?
                known sites: branch, cloud1, cloud2, hq, six (p/network.yaml)
""",
    ),
    (
        "site twice in a VPN",
        {
            "e1": """\
vpn: E1
service: vpls
sites: [hq, cloud1, hq]
""",
        },
        """\
p/e1.yaml:3:21  sites[2]: hq stands here twice, first at p/e1.yaml:3
                keep one
""",
    ),
    (
        "VPN without a site",
        {
            "e1": """\
vpn: E1
service: vpls
sites: []
""",
        },
        """\
p/e1.yaml:3:8  sites: is empty
               write `sites: [e1-hq, cloud1]`, say
""",
    ),
    (
        "PE that does not speak the service's families",
        {
            "e1": """\
vpn: E1
service: vpls
sites: [hq, six]
""",
        },
        """\
p/e1.yaml:3:13  sites[1]: pe-6 speaks vpnv4, vpnv6, which carries no vpls
                add vpls to pes.pe-6.families (p/network.yaml:17), or leave the site out
""",
    ),
    (
        "hub that is no member",
        {
            "e1": E1 + "topology: {hub-and-spoke: {hubs: [cloud2]}}\n",
        },
        """\
p/e1.yaml:4:35  topology.hub-and-spoke.hubs[0]: the hub 'cloud2' is no site of E1; did you mean 'cloud1'?
                add it to `sites`, or take it out here; known sites: cloud1, hq
""",
    ),
    (
        "links of strangers, of one site, of one end",
        {
            "e1": E1
            + "topology: {links: [{from: hq, to: cloud2}, {between: [hq, hq]}, {from: hq}]}\n",
        },
        """\
p/e1.yaml:4:35  topology.links[0].to: the hearer 'cloud2' is no site of E1; did you mean 'cloud1'?
                add it to `sites`, or take it out here; known sites: cloud1, hq
p/e1.yaml:4:44  topology.links[1]: a link of a site with itself
                name different sites; the PEs of one site always hear each other
p/e1.yaml:4:65  topology.links[2]: must be either {from, to} or {between}
                write {from: a, to: b} for one direction, {between: [a, b]} for both
""",
    ),
    (
        "unknown topology",
        {
            "e1": E1 + "topology: mesh\n",
        },
        """\
p/e1.yaml:4:11  topology: no topology is called 'mesh'
                write full-mesh, {hub-and-spoke: {hubs: [SITE]}} or {links: [{from: SITE, to: SITE}]}
""",
    ),
    (
        "two topologies",
        {
            "e1": E1 + "topology: {hub-and-spoke: {hubs: [hq]}, links: [{from: hq, to: cloud1}]}\n",
        },
        """\
p/e1.yaml:4:11  topology: must name one topology
                write either hub-and-spoke or links
""",
    ),
    (
        "extranet naming no VPN",
        {
            "e1": E1 + "extranet:\n  - {to: shared-dns}\n",
            "d": """\
vpn: shared-dms
service: vpls
sites: [cloud1]
""",
        },
        """\
p/e1.yaml:5:10  extranet[0].to: no VPN is called 'shared-dns'; did you mean 'shared-dms'?
                known VPNs: E1, shared-dms
""",
    ),
    (
        "extranet with itself",
        {
            "e1": E1 + "extranet:\n  - {to: E1}\n",
        },
        """\
p/e1.yaml:5:10  extranet[0].to: E1 is this VPN itself
                name another VPN; within a VPN, `topology` says who hears whom
""",
    ),
    (
        "extranet between EVPNs at a PE that sends with its own VNI only",
        {
            "e1": "vpn: E1\nservice: evpn\nsites: [hq]\nextranet:\n  - {to: D}\n",
            "d": "vpn: D\nservice: evpn\nsites: [frr, cloud1]\n",
            "network": NETWORK.replace(
                "pes:\n  pe-e",
                "  frr: {kind: cloud, pes: pe-f}\npes:\n  pe-f: {address: 10.0.0.9, platform: frr}\n  pe-e",
            ),
        },
        """\
p/e1.yaml:5:10  extranet[0].to: nothing would arrive between E1 and D (p/d.yaml:1): each has a VNI of its own, and FRR (pe-f) sends with no other
                make them one VPN with `links`, or join them as l3vpn
""",
    ),
    (
        "extranet between services that share no family",
        {
            "e1": E1 + "extranet:\n  - {to: D}\n",
            "d": """\
vpn: D
service: l3vpn
sites: [cloud1]
""",
        },
        """\
p/e1.yaml:5:10  extranet[0].to: D is an l3vpn (p/d.yaml:1), whose routes mean nothing to a vpls
                join VPNs of one service, or an evpn and an l3vpn
""",
    ),
    (
        "extranet of a stranger, in no direction",
        {
            "e1": E1 + "extranet:\n  - {to: D, sites: [cloud2], direction: form}\n",
            "d": """\
vpn: D
service: vpls
sites: [cloud1]
""",
        },
        """\
p/e1.yaml:5:21  extranet[0].sites[0]: the extranet site 'cloud2' is no site of E1; did you mean 'cloud1'?
                add it to `sites`, or take it out here; known sites: cloud1, hq
p/e1.yaml:5:41  extranet[0].direction: no direction is called 'form'; did you mean 'from'?
                known directions: both, from, to
""",
    ),
    (
        "two VPNs with one name",
        {
            "e1": E1,
            "e2": E1,
        },
        """\
p/e2.yaml:1:6  vpn: E1 is the name of another VPN already (p/e1.yaml:1)
               give this one another name, or merge the files
""",
    ),
    (
        "duplicate key",
        {
            "e1": E1 + "service: evpn\n",
        },
        """\
p/e1.yaml:4:1  service: the key 'service' stands here twice, first in line 2
               keep one of them
""",
    ),
    (
        "one target, one PE, different links",
        {
            "e1": """\
vpn: E1
service: l3vpn
targets: 65000:5
sites: [hq, branch, cloud1]
topology: {hub-and-spoke: {hubs: [hq]}}
""",
        },
        """\
p/e1.yaml:4:13  sites[1]: branch has the target 65000:5 at pe-e like hq, but they do not hear the same sites
                give each a target of its own, or leave `targets` out and they are allocated
""",
    ),
    (
        "no VLAN left",
        {
            "network": NETWORK.replace("100-109", "100-100"),
            "e1": E1,
            "e2": E1.replace("E1", "E2"),
        },
        """\
p/e2.yaml:3:13  sites[1]: no VLAN is left at pe-c1 port ge-0/0/3
                widen controller.pools.vlans or the PE's `vlans`, add `outer_vlans` (p/network.yaml), or retract a VPN from the site
""",
    ),
    (
        "no target left",
        {
            "network": NETWORK.replace("100-199", "100-102"),
            "e1": E1,
            "e2": E1.replace("E1", "E2"),
        },
        """\
p/e2.yaml:3:13  sites[1]: no route target is left in the pool
                widen controller.pools.route_targets (p/network.yaml), or write `targets:` here
""",
    ),
    (
        "no VNI left",
        {
            "network": NETWORK.replace("10000-10009", "10000-10000"),
            "e1": """\
vpn: E1
service: evpn
sites: [hq]
""",
            "e2": """\
vpn: E2
service: evpn
sites: [hq]
""",
        },
        """\
p/e2.yaml:1:6  vpn: no VNI is left in the pool
               widen controller.pools.vnis (p/network.yaml), or write `vni:` here
""",
    ),
]

#: What it is, what is replaced in the network by what, and the whole message.
IN_THE_NETWORK: list[tuple[str, str, str, str]] = [
    (
        "unknown PE",
        "pes: [pe-c1]",
        "pes: [pe-c]",
        """\
p/network.yaml:9:31  sites.cloud1.pes[0]: no PE is called 'pe-c'; did you mean 'pe-c1'?
                     known PEs: pe-6, pe-c1, pe-c2a, pe-c2b, pe-e
""",
    ),
    (
        "site without a PE",
        "pes: [pe-c1]",
        "pes: []",
        """\
p/network.yaml:9:30  sites.cloud1.pes: is empty
                     write `pes: [pe-c2a, pe-c2b]`, say
""",
    ),
    (
        "site without the key",
        "cloud1: {kind: cloud, pes: [pe-c1]}",
        "cloud1: {kind: cloud}",
        """\
p/network.yaml:9:11  sites.cloud1: the key 'pes' is missing
                     write `pes: [pe-c2a, pe-c2b]`, say
""",
    ),
    (
        "PE twice at a site",
        "pes: [pe-c1]",
        "pes: [pe-c1, pe-c1]",
        """\
p/network.yaml:9:38  sites.cloud1.pes[1]: pe-c1 stands here twice
                     keep one
""",
    ),
    (
        "two PEs with one address",
        "address: 10.0.0.2",
        "address: 10.0.0.1",
        """\
p/network.yaml:14:20  pes.pe-c1.address: 10.0.0.1 is the address of pe-e already (p/network.yaml:13)
                      every PE needs an address of its own
""",
    ),
    (
        "PE with the controller's address",
        "address: 10.0.0.2",
        "address: 10.0.0.100",
        """\
p/network.yaml:14:20  pes.pe-c1.address: 10.0.0.100 is an address of the controller (p/network.yaml:4)
                      give the PE an address of its own
""",
    ),
    (
        "no listen address of the PE's IP version",
        ', "2001:db8::100"',
        "",
        """\
p/network.yaml:17:19  pes.pe-6.address: the controller listens on no IPv6 address (p/network.yaml:4)
                      add one to controller.listen, or give the PE an IPv4 address
""",
    ),
    (
        "AS number out of range",
        "asn: 65000",
        "asn: 4294967296",
        """\
p/network.yaml:2:8  controller.asn: AS number 4294967296 is outside 1 to 4294967295
                    choose another
""",
    ),
    (
        "reserved AS number",
        "asn: 65000",
        "asn: 23456",
        """\
p/network.yaml:2:8  controller.asn: AS 23456 is reserved (RFC 6793, RFC 7300)
                    write the router's own
""",
    ),
    (
        "range backwards",
        "vlans: 100-109",
        "vlans: 109-100",
        """\
p/network.yaml:5:48  controller.pools.vlans: the range 109-100 runs backwards
                     write 100-109
""",
    ),
    (
        "range out of range",
        "vlans: 100-109",
        "vlans: 100-5000",
        """\
p/network.yaml:5:48  controller.pools.vlans: VLAN 5000 is outside 1 to 4094
                     choose another
""",
    ),
    (
        "pool that is none",
        "65000:100-199",
        "65000",
        """\
p/network.yaml:5:26  controller.pools.route_targets: '65000' is no pool of route targets
                     write "65000:100-9999", say
""",
    ),
    (
        "pool beyond what a target can hold",
        "65000:100-199",
        "65000:5000000000-5",
        """\
p/network.yaml:5:26  controller.pools.route_targets: route target number 5000000000 is outside 0 to 4294967295
                     choose another
""",
    ),
    (
        "pool beyond a 4-octet AS's numbers",
        "65000:100-199",
        "70000:100-70000",
        """\
p/network.yaml:5:26  controller.pools.route_targets: '70000:70000' is no route target: 70000 is above 65535
                     write "65000:100-9999", say
""",
    ),
    (
        "unknown platform",
        "port: ge-0/0/3",
        "platform: junos",
        """\
p/network.yaml:14:40  pes.pe-c1.platform: no platform is called 'junos'; did you mean 'junos-mx'?
                      known platforms: bird, exabgp, frr, frr-evpn, generic, gobgp, junos-bgp-only, \
junos-evo and 2 more; one of your own needs `families:` here
""",
    ),
    (
        "unknown family",
        "families: [vpnv4, vpnv6]",
        "families: [vpn4]",
        """\
p/network.yaml:17:43  pes.pe-6.families[0]: no family is called 'vpn4'; did you mean 'vpnv4'?
                      known families: evpn, ipv4 flow, ipv4 flow-vpn, ipv6 flow, ipv6 flow-vpn, vpls, vpnv4, vpnv6
""",
    ),
    (
        "unknown kind of site",
        "cloud1: {kind: cloud",
        "cloud1: {kind: clowd",
        """\
p/network.yaml:9:18  sites.cloud1.kind: no kind of site is called 'clowd'; did you mean 'cloud'?
                     known kinds: cloud, enterprise
""",
    ),
    (
        "hold time of one second",
        "port: ge-0/0/3",
        "hold_time: 1",
        """\
p/network.yaml:14:41  pes.pe-c1.hold_time: a hold time of 1 is not allowed (RFC 4271)
                      write 0, or 3 or more
""",
    ),
    (
        "flag that is none",
        "port: ge-0/0/3",
        "passive: maybe",
        """\
p/network.yaml:14:39  pes.pe-c1.passive: 'maybe' is neither true nor false
                      write true or false
""",
    ),
    (
        "flow routes of a PE that can announce none",
        "port: ge-0/0/3",
        "flow_routes: true",
        """\
p/network.yaml:14:43  pes.pe-c1.flow_routes: pe-c1 speaks neither ipv4 flow-vpn nor ipv6 flow-vpn, so it can announce none
                      add one to its `families`, as in `families: [vpnv4, ipv4 flow-vpn]`
""",
    ),
    (
        "local that is no listen address",
        "port: ge-0/0/3",
        "local: 10.0.0.101",
        """\
p/network.yaml:14:37  pes.pe-c1.local: 10.0.0.101:179 is no IPv4 entry of controller.listen
                      known IPv4 entries: 10.0.0.100:179
""",
    ),
    (
        "router id of zeros",
        "10.0.0.100\n  li",
        "0.0.0.0\n  li",
        """\
p/network.yaml:3:14  controller.router_id: a router id of 0.0.0.0 is not allowed (RFC 6286)
                     choose another
""",
    ),
    (
        "listen address twice",
        '"2001:db8::100"',
        '"2001:db8::100", 10.0.0.100:179',
        """\
p/network.yaml:4:41  controller.listen[2]: 10.0.0.100:179 stands here twice
                     keep one
""",
    ),
    (
        "address that is none",
        "address: 10.0.0.2",
        "address: 10.0.0.256",
        """\
p/network.yaml:14:20  pes.pe-c1.address: '10.0.0.256' is no IP address
                      write one like 10.0.0.1 or 2001:db8::1
""",
    ),
    (
        "multicast address",
        "address: 10.0.0.2",
        "address: 224.0.0.1",
        """\
p/network.yaml:14:20  pes.pe-c1.address: 224.0.0.1 is not the address of a host
                      write the host's own address
""",
    ),
    (
        "TCP port 0",
        "port: ge-0/0/3",
        "bgp_port: 0",
        """\
p/network.yaml:14:40  pes.pe-c1.bgp_port: TCP port 0 is outside 1 to 65535
                      choose another
""",
    ),
    (
        "password in the policy",
        "port: ge-0/0/3",
        "netconf: {user: a, password: b}",
        """\
p/network.yaml:14:59  pes.pe-c1.netconf.password: a password does not belong in a policy
                      take it out, give the router another one, and log in with a `key` or the SSH agent
""",
    ),
    (
        "a password beside other mistakes",
        "port: ge-0/0/3",
        "netconf: {user: a, passphrase: b, prot: 1, secret: c, address: 1}",
        """\
p/network.yaml:14:61  pes.pe-c1.netconf.passphrase: a passphrase does not belong in a policy
                      take it out, give the router another one, and log in with a `key` or the SSH agent
p/network.yaml:14:64  pes.pe-c1.netconf.prot: unknown key 'prot'; did you mean 'port'?
                      known keys here: address, host_key, key, port, timeouts, user
p/network.yaml:14:81  pes.pe-c1.netconf.secret: a secret does not belong in a policy
                      take it out, give the router another one, and log in with a `key` or the SSH agent
p/network.yaml:14:93  pes.pe-c1.netconf.address: '1' is no IP address
                      write one like 10.0.0.1 or 2001:db8::1
""",
    ),
    (
        "both ways to configure a PE",
        "port: ge-0/0/3",
        "netconf: {user: a}, frr: {}",
        """\
p/network.yaml:14:50  pes.pe-c1.frr: the PE has `netconf` already
                      keep one
""",
    ),
    (
        "names that could be more than names",
        "port: ge-0/0/3",
        'port: "ge-0/0/3; quit", netconf: {user: "-oProxyCommand=x"}',
        """\
p/network.yaml:14:36  pes.pe-c1.port: 'ge-0/0/3; quit' is no name of an interface
                      write letters, digits and . : / _ - as in ge-0/0/1, 64 at most
p/network.yaml:14:70  pes.pe-c1.netconf.user: '-oProxyCommand=x' cannot be such a name
                      write letters, digits and _ . @ + -, a letter, digit or _ first, 64 at most
""",
    ),
    (
        "places that are none",
        "port: ge-0/0/3",
        "frr: {netns: ../x, vty_socket: run/frr}",
        """\
p/network.yaml:14:43  pes.pe-c1.frr.netns: '../x' cannot be such a name
                      write letters, digits and _ . @ + -, a letter, digit or _ first, 64 at most
p/network.yaml:14:61  pes.pe-c1.frr.vty_socket: 'run/frr' is no directory
                      write its path with a / first
""",
    ),
    (
        "host key that is none",
        "port: ge-0/0/3",
        "netconf: {user: a, host_key: MD5:aa}",
        """\
p/network.yaml:14:59  pes.pe-c1.netconf.host_key: 'MD5:aa' is neither a fingerprint nor the path of a known_hosts file
                      write SHA256:... as `ssh-keygen -lf KEY.pub` shows it, or a path with a / or ~ first
""",
    ),
    (
        "two PEs on one router",
        "port: ge-0/0/3",
        "netconf: {user: a}, families: vpls}\n  pe-x: {address: 10.0.9.9, netconf: {user: a, address: 10.0.0.2}",
        """\
p/network.yaml:15:38  pes.pe-x.netconf: 10.0.0.2 port 830 is that of pe-c1 already (p/network.yaml:14)
                      a router's configuration is changed for one PE at a time: make them one PE
""",
    ),
    (
        "outer tags that are VLANs too",
        "port: ge-0/0/3",
        "vlans: 100-109, outer_vlans: 109-110",
        """\
p/network.yaml:14:59  pes.pe-c1.outer_vlans: the outer tags 109-110 are among the VLANs 100-109 of pe-c1 too
                      a tag is either a VLAN or has VLANs inside: take others
""",
    ),
    (
        "more outer tags than a port has units for",
        "port: ge-0/0/3",
        "outer_vlans: 4001-4004",
        """\
p/network.yaml:14:43  pes.pe-c1.outer_vlans: 4001-4004 are more than 3 outer tags
                      a port has 16385 units at most: that is 4094 VLANs, and 4094 in each of three tags
""",
    ),
    (
        "PE with a bad name",
        "  pe-c1: {",
        "  pe/c1: {",
        """\
p/network.yaml:9:31  sites.cloud1.pes[0]: no PE is called 'pe-c1'; did you mean 'pe-c2b'?
                     known PEs: pe-6, pe-c2a, pe-c2b, pe-e
p/network.yaml:14:3  pes.pe/c1: 'pe/c1' is no name
                     a name has letters, digits, - _ and . (at most 63, a letter or digit first)
""",
    ),
]


@pytest.mark.parametrize(
    ("files", "message"),
    [(files, message) for _, files, message in IN_VPN_FILES],
    ids=[what for what, _, _ in IN_VPN_FILES],
)
def test_a_mistake_in_a_vpn_file_is_reported(files: dict[str, str], message: str) -> None:
    assert rendered(policy(**files)) == _messages(message)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [case[1:] for case in IN_THE_NETWORK],
    ids=[case[0] for case in IN_THE_NETWORK],
)
def test_a_mistake_in_the_network_is_reported_once(before: str, after: str, message: str) -> None:
    assert before in NETWORK
    network = NETWORK.replace(before, after, 1)
    assert rendered(policy(network, e1=E1)) == _messages(message)


def test_without_a_network_the_shape_of_the_others_is_still_checked() -> None:
    files = policy(e1=E1 + "sites_: [hq]\n")
    del files["p/network.yaml"]
    assert rendered(files) == _messages(
        """\
p/e1.yaml:4:1  sites_: unknown key 'sites_'; did you mean 'sites'?
               known keys here: access, description, extranet, service, sites, targets, topology, vni and 1 more
p/network.yaml:1:1  the file is missing: it describes the controller, the sites and the PEs
                    write it, or begin with `vpnctl init DIR`
"""
    )


def test_an_empty_directory_misses_its_network() -> None:
    assert rendered({}) == _messages(
        """\
network.yaml:1:1  the file is missing: it describes the controller, the sites and the PEs
                  write it, or begin with `vpnctl init DIR`
"""
    )


def test_a_second_network_file_is_one_too_many() -> None:
    files = policy(e1=E1)
    files["p/network.yml"] = files["p/network.yaml"]
    assert rendered(files) == _messages(
        """\
p/network.yml:1:1  a second network file; p/network.yaml is the first
                   a directory describes one network: keep one of them
"""
    )


def test_all_mistakes_of_all_files_come_at_once_sorted_by_place() -> None:
    files = policy(
        NETWORK.replace("kind: cloud, pes: [pe-c1]", "kind: clod, pes: [pe-c1]").replace(
            "asn: 65000", "asn: x"
        ),
        a="vpn: A\nservice: vpls\nsites:\n  - {site: nowhere, vlan: 9999}\n",
        b="vpn: B\n\tservice: vpls\n",
        c="vpn: C\nservice: evpn\nsites: [hq]\nextranet: [{to: Z}, {to: A}]\n",
    )
    assert [message.split("  ")[0] for message in rendered(files)] == [
        "p/a.yaml:4:12",
        "p/a.yaml:4:27",
        "p/b.yaml:2:1",
        "p/c.yaml:4:26",
        "p/network.yaml:2:8",
        "p/network.yaml:9:18",
    ]


def _messages(text: str) -> list[str]:
    """Rendered mistakes out of one text: a line that is not indented begins the next."""
    messages: list[str] = []
    for line in text.splitlines():
        if line.startswith(" "):
            messages[-1] += f"\n{line}"
        else:
            messages.append(line)
    return messages
