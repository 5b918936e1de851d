"""A configuration with one of everything, in the notation that is shortest."""

from __future__ import annotations

from vpnctl.lab.junos.editing import apply
from vpnctl.lab.junos.hierarchy import CONFIGURATION
from vpnctl.lab.junos.notation_set import set_edits
from vpnctl.lab.junos.schema import Tree

GROUND = """\
set interfaces ge-0/0/1 flexible-vlan-tagging
set interfaces ge-0/0/1 encapsulation flexible-ethernet-services
set logical-systems a routing-options autonomous-system 65000
set logical-systems a interfaces ge-0/0/1 unit 100 encapsulation vlan-vpls
set logical-systems a interfaces ge-0/0/1 unit 100 vlan-id 600
set logical-systems a interfaces ge-0/0/1 unit 100 family vpls
set logical-systems a protocols bgp group rs type internal
set logical-systems a protocols bgp group rs local-address 10.0.0.1
set logical-systems a protocols bgp group rs family l2vpn signaling
set logical-systems a protocols bgp group rs family inet flow
set logical-systems a protocols bgp group rs neighbor 10.0.0.100
set logical-systems a policy-options policy-statement in term ours from community red
set logical-systems a policy-options policy-statement in term ours from community blue
set logical-systems a policy-options policy-statement in term ours then accept
set logical-systems a policy-options policy-statement out term ours then community add red
set logical-systems a policy-options policy-statement out term ours then accept
set logical-systems a policy-options community red members target:65000:1
set logical-systems a policy-options community blue members target:65000:2
set logical-systems a routing-instances E1 description "of a customer; with { and ]"
set logical-systems a routing-instances E1 instance-type vpls
set logical-systems a routing-instances E1 interface ge-0/0/1.100
set logical-systems a routing-instances E1 route-distinguisher 10.0.0.1:1
set logical-systems a routing-instances E1 vrf-import in
set logical-systems a routing-instances E1 vrf-export out
set logical-systems a routing-instances E1 protocols vpls site-range 16
set logical-systems a routing-instances E1 protocols vpls label-block-size 8
set logical-systems a routing-instances E1 protocols vpls no-tunnel-services
set logical-systems a routing-instances E1 protocols vpls mac-table-size 2048
set logical-systems a routing-instances E1 protocols vpls site hq site-identifier 1
set logical-systems a routing-instances E1 protocols vpls site hq interface ge-0/0/1.100
"""


def tree(commands: str = GROUND, *, of: Tree | None = None) -> Tree:
    """What these commands make of an empty configuration, or of another one."""
    found: Tree = {} if of is None else of
    for edit in set_edits(commands, CONFIGURATION):
        apply(found, CONFIGURATION, edit)
    return found
