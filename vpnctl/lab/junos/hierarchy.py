"""The part of Junos' configuration that this router has: what VPLS and EVPN endpoints need.

Names and ranges are those of Juniper's documentation; anything else is a syntax error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_interface

from vpnctl.lab.junos.schema import (
    Container,
    Empty,
    Kind,
    Leaf,
    LeafList,
    ListOf,
    enum,
    name,
    number,
)

_PORT = re.compile(r"(ge|xe|et|ae|lo|irb|lt|em|fxp|eth)(-\d+/\d+/\d+(:\d+)?|\d+|)")


def _port(text: str) -> str:
    return "" if _PORT.fullmatch(text) else f"invalid interface type in '{text}'"


def _unit_of_port(text: str) -> str:
    port, dot, unit = text.partition(".")
    if not dot or not unit.isdigit():
        return f"invalid interface name '{text}': a unit is missing"
    return _port(port)


def _address(text: str) -> str:
    try:
        ip_address(text)
    except ValueError:
        return f"invalid ip address '{text}'"
    return ""


def _prefix(text: str) -> str:
    try:
        ip_interface(text)
    except ValueError:
        return f"invalid prefix '{text}'"
    return ""


def _text(text: str) -> str:
    return "" if text.isprintable() else "invalid character in a string"


def _vlan_or(*words: str) -> Callable[[str], str]:
    return lambda text: "" if text in words else number(1, 4094)(text)


def _unit_or_all(text: str) -> str:
    return "" if text == "all" else _unit_of_port(text)


_NAMES = ListOf(wrong=_unit_of_port)
_DESCRIPTION = Leaf(_text)
#: Something that is there or not, and could have more in it.
_THERE = Container({}, True)
_TAG = Leaf(number(0, 4094))
_TAG_OPERATION = Container(
    {
        **{verb: Empty() for verb in ("pop", "push", "swap", "pop-pop", "push-push", "swap-swap")},
        "vlan-id": _TAG,
        "inner-vlan-id": _TAG,
    }
)

UNIT: Mapping[str, Kind] = {
    "description": _DESCRIPTION,
    "disable": Empty(),
    "encapsulation": Leaf(
        enum("vlan-vpls", "vlan-bridge", "vlan-ccc", "vlan-tcc", "ether-vpls-ppp")
    ),
    "vlan-id": _TAG,
    "vlan-tags": Container({"outer": Leaf(_text), "inner": Leaf(_text)}),
    "input-vlan-map": _TAG_OPERATION,
    "output-vlan-map": _TAG_OPERATION,
    "family": Container(
        {
            "inet": Container(
                {"address": ListOf(wrong=_prefix), "mtu": Leaf(number(256, 9500))}, True
            ),
            "inet6": Container({"address": ListOf(wrong=_prefix)}, True),
            "iso": _THERE,
            "mpls": _THERE,
            "vpls": _THERE,
            "bridge": Container(
                {"interface-mode": Leaf(enum("access", "trunk")), "vlan-id": _TAG,
                 "vlan-id-list": LeafList(number(1, 4094))}, True,
            ),
            "ethernet-switching": Container(
                {"interface-mode": Leaf(enum("access", "trunk")),
                 "vlan": Container({"members": LeafList(name)})}, True,
            ),
        }
    ),
}  # fmt: skip

#: In a logical system a port has its units only; the port itself is the main router's.
LOGICAL_INTERFACES = ListOf(
    {"unit": ListOf(UNIT, wrong=number(0, 1073741823))}, elided=True, wrong=_port
)
INTERFACES = ListOf(
    {
        "description": _DESCRIPTION,
        "disable": Empty(),
        "mtu": Leaf(number(256, 16000)),
        "vlan-tagging": Empty(),
        "flexible-vlan-tagging": Empty(),
        "stacked-vlan-tagging": Empty(),
        "native-vlan-id": _TAG,
        "encapsulation": Leaf(
            enum("flexible-ethernet-services", "vlan-vpls", "extended-vlan-vpls", "ethernet-vpls",
                 "vlan-bridge", "extended-vlan-bridge", "ethernet-bridge", "vlan-ccc")
        ),
        "unit": ListOf(UNIT, wrong=number(0, 1073741823)),
    },
    elided=True,
    wrong=_port,
)  # fmt: skip

_SIGNALING = Container({"signaling": _THERE})
_UNICAST = Container(
    {
        "unicast": _THERE,
        "flow": Container({"no-validate": LeafList(name, elided=True)}, True),
    }
)
_BGP_COMMON: Mapping[str, Kind] = {
    "description": _DESCRIPTION,
    "local-address": Leaf(_address),
    "peer-as": Leaf(number(1, 4294967295)),
    "hold-time": Leaf(number(0, 65535)),
    "family": Container(
        {
            "inet": _UNICAST,
            "inet6": _UNICAST,
            "inet-vpn": _UNICAST,
            "inet6-vpn": _UNICAST,
            "l2vpn": _SIGNALING,
            "evpn": _SIGNALING,
            "route-target": _THERE,
        }
    ),
    "import": LeafList(name),
    "export": LeafList(name),
    "multihop": Container({"ttl": Leaf(number(1, 255))}, True),
    "local-as": Container({"as-number": Leaf(number(1, 4294967295), elided=True)}),
    "passive": Empty(),
    "vpn-apply-export": Empty(),
    "log-updown": Empty(),
}  # fmt: skip
BGP = Container(
    {
        "group": ListOf(
            {
                **_BGP_COMMON,
                "type": Leaf(enum("internal", "external")),
                "neighbor": ListOf(_BGP_COMMON, wrong=_address),
            },
            wrong=name,
        )
    }
)

_SITE = ListOf(
    {
        "site-identifier": Leaf(number(1, 65534)),
        "site-preference": Leaf(number(1, 65535)),
        "interface": _NAMES,
        "multi-homing": Empty(),
    },
    wrong=name,
)
_VTEP = Container({"interface-name": Leaf(_unit_of_port, elided=True)})
_VXLAN = Container({"vni": Leaf(number(1, 16777214)), "ingress-node-replication": Empty()})
_VLAN: Mapping[str, Kind] = {
    "description": _DESCRIPTION,
    "domain-type": Leaf(enum("bridge")),
    "vlan-id": Leaf(_vlan_or("none", "all")),
    "interface": _NAMES,
    "vxlan": _VXLAN,
}

INSTANCES = Container(
    {
        "instance": ListOf(
            {
                "description": _DESCRIPTION,
                "instance-type": Leaf(
                    enum("vpls", "virtual-switch", "evpn", "mac-vrf", "vrf", "virtual-router")
                ),
                "service-type": Leaf(enum("vlan-based", "vlan-aware", "vlan-bundle")),
                "vlan-id": Leaf(_vlan_or("none", "all")),
                "interface": _NAMES,
                "vtep-source-interface": _VTEP,
                "route-distinguisher": Container({"rd-type": Leaf(name, elided=True)}),
                "vrf-target": Container(
                    {
                        "community": Leaf(name, elided=True),
                        "import": Leaf(name),
                        "export": Leaf(name),
                    }
                ),
                "vrf-import": LeafList(name),
                "vrf-export": LeafList(name),
                "vrf-table-label": _THERE,
                "bridge-domains": Container({"domain": ListOf(_VLAN, elided=True, wrong=name)}),
                "vlans": Container({"vlan": ListOf(_VLAN, elided=True, wrong=name)}),
                "protocols": Container(
                    {
                        "vpls": Container(
                            {
                                "site-range": Leaf(number(1, 65534)),
                                "label-block-size": Leaf(enum("2", "4", "8", "16")),
                                "no-tunnel-services": Empty(),
                                "encapsulation-type": Leaf(enum("ethernet", "ethernet-vlan")),
                                "mac-table-size": Container(
                                    {"limit": Leaf(number(16, 1048575), elided=True)}
                                ),
                                "site": _SITE,
                            }
                        ),
                        "evpn": Container(
                            {
                                "encapsulation": Leaf(enum("vxlan", "mpls")),
                                "default-gateway": Leaf(
                                    enum("advertise", "do-not-advertise", "no-gateway-community")
                                ),
                                "extended-vni-list": LeafList(name),
                                "extended-vlan-list": LeafList(name),
                                "multicast-mode": Leaf(enum("ingress-replication")),
                                "interface": _NAMES,
                            },
                            True,
                        ),
                        "bgp": BGP,
                    }
                ),
            },
            elided=True,
            wrong=name,
        )
    }
)  # fmt: skip

ROUTING_OPTIONS = Container(
    {
        "router-id": Leaf(_address),
        "autonomous-system": Container({"as-number": Leaf(number(1, 4294967295), elided=True)}),
        "route-distinguisher-id": Leaf(_address),
        "static": Container(
            {"route": ListOf({"next-hop": LeafList(_address), "discard": Empty()}, wrong=_prefix)}
        ),
    }
)

_FROM = Container(
    {
        "protocol": LeafList(name),
        "community": LeafList(name),
        "family": Leaf(enum("inet", "inet6", "l2vpn", "evpn", "inet-vpn", "route-target")),
        "instance": Leaf(name),
        "neighbor": LeafList(_address),
    }
)
_THEN = Container(
    {
        "accept": Empty(),
        "reject": Empty(),
        "next": Leaf(enum("term", "policy")),
        "local-preference": Container(
            {"local-preference": Leaf(number(0, 4294967295), elided=True)}
        ),
        "community": ListOf(
            {verb: Empty() for verb in ("add", "set", "delete")},
            key="community-name", wrong=name, verb_first=True,
        ),
    }
)  # fmt: skip
POLICY_OPTIONS = Container(
    {
        "policy-statement": ListOf(
            {
                "term": ListOf({"from": _FROM, "then": _THEN}, wrong=name),
                "from": _FROM,
                "then": _THEN,
            },
            wrong=name,
        ),
        "community": ListOf({"members": LeafList(_text)}, wrong=name),
    }
)  # fmt: skip

_PROTOCOLS = Container(
    {
        "bgp": BGP,
        "mpls": Container({"interface": ListOf(wrong=_unit_or_all)}),
        "ldp": Container({"interface": ListOf(wrong=_unit_or_all)}),
        "lldp": Container({"interface": ListOf(wrong=name)}),
    }
)  # fmt: skip

_COMMON: Mapping[str, Kind] = {
    "routing-options": ROUTING_OPTIONS,
    "protocols": _PROTOCOLS,
    "policy-options": POLICY_OPTIONS,
    "routing-instances": INSTANCES,
}

CONFIGURATION = Container(
    {
        "version": Leaf(_text),
        "system": Container(
            {
                "host-name": Leaf(name),
                "services": Container(
                    {
                        "ssh": _THERE,
                        "netconf": Container({"ssh": _THERE, "rfc-compliant": Empty()}),
                    }
                ),
            }
        ),
        "logical-systems": ListOf(
            {"interfaces": Container({"interface": LOGICAL_INTERFACES}), **_COMMON}, wrong=name
        ),
        "interfaces": Container({"interface": INTERFACES}),
        "switch-options": Container(
            {
                "vtep-source-interface": _VTEP,
                "route-distinguisher": Container({"rd-type": Leaf(name, elided=True)}),
                "vrf-target": Container({"community": Leaf(name, elided=True)}),
            }
        ),
        **_COMMON,
    }
)  # fmt: skip

#: What other platforms have not.
NOT_ON: Mapping[str, frozenset[str]] = {
    "mx": frozenset(),
    "evo": frozenset({"logical-systems"}),
    "crpd": frozenset({"logical-systems", "switch-options"}),
}
