"""From a committed configuration to that of the lab's VPLS PE (`vpnctl.lab.vplspe`).

What a Junos decides by itself is decided here: labels, and which device a port is.  Port
``ge-0/0/N`` is ``ethN+1``, as in containerlab's images of Junos.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from vpnctl.lab.junos.schema import Tree

_PORT = re.compile(r"[a-z]+-\d+/\d+/(\d+)\.(\d+)")
_FIRST_LABEL = 1000
_FEWEST_LABELS = 8
_HOLD_TIME_S = 90


class UnfitError(Exception):
    """A configuration that a Junos takes and this PE cannot."""


class Labels:
    """The first label of each instance's block; an instance keeps its own for good."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, int], int] = {}
        self._next = _FIRST_LABEL

    def base(self, instance: str, size: int) -> int:
        """Of a block of ``size`` labels."""
        if (instance, size) not in self._first:
            self._first[instance, size] = self._next
            self._next += size
        return self._first[instance, size]


def pe_file(tree: Tree, labels: Labels, *, tagged: bool) -> str | None:
    """The PE's file, in YAML; ``None`` where there is nothing to run.

    ``tagged``: customers' frames carry their VLAN's tag at the port; without, each port has one
    VLAN, and its frames none (for kernels without VLAN devices).  Raises `UnfitError`.
    """
    groups = [(system, group) for system in _systems(tree) for group in _groups(system)]
    vpns = [
        _vpn(name, instance, system, labels, tagged=tagged)
        for system in _systems(tree)
        for name, instance in _at(system, "routing-instances", "instance").items()
        if instance.get("instance-type") == "vpls"
    ]
    ports = [port for vpn in vpns for port in vpn["interfaces"]]
    if not tagged and len(set(ports)) < len(ports):
        raise UnfitError("two VLANs at one port take a kernel with VLAN devices")
    if not groups:
        return None
    system, group = groups[0]
    autonomous = _at(system, "routing-options", "autonomous-system").get("as-number") or _at(
        tree, "routing-options", "autonomous-system"
    ).get("as-number")
    address = group.get("local-address")
    if address is None:
        raise UnfitError("the BGP group needs a local-address")
    asn = int(autonomous)
    content = {
        "router_id": address,
        "asn": asn,
        "hold_time": int(group.get("hold-time", _HOLD_TIME_S)),
        "neighbors": [
            {"address": neighbor, "asn": int(one.get("peer-as", group.get("peer-as", asn)))}
            for neighbor, one in group.get("neighbor", {}).items()
        ],
        "vpns": vpns,
    }
    return json.dumps(content, indent=1)  # which is YAML


def _systems(tree: Tree) -> Iterator[Tree]:
    yield tree
    yield from tree.get("logical-systems", {}).values()


def _groups(system: Tree) -> Iterator[Tree]:
    for group in _at(system, "protocols", "bgp", "group").values():
        if "signaling" in _at(group, "family", "l2vpn"):
            yield group


def _at(tree: Tree, *path: str) -> Any:
    here: Any = tree
    for name in path:
        here = here.get(name, {})
    return here


def _vpn(
    name: str, instance: Tree, system: Tree, labels: Labels, *, tagged: bool
) -> dict[str, Any]:
    vpls = _at(instance, "protocols", "vpls")
    sites = list(vpls["site"].values())
    if len(sites) != 1:
        raise UnfitError(f"{name} has {len(sites)} sites, this PE takes one for each instance")
    size = max(int(vpls.get("site-range", 0)), _FEWEST_LABELS)
    ports, tags = [], set()
    for unit in instance.get("interface", {}):
        port, tag = _port(unit, system)
        ports.append(port)
        tags.add(tag)
    if len(tags) > 1:
        raise UnfitError(f"{name} has several VLANs, this PE takes one for each instance")
    found: dict[str, Any] = {
        "vpn": name,
        "rd": instance["route-distinguisher"]["rd-type"],
        "targets": {
            "import": list(_targets(instance, system, "import")),
            "export": list(_targets(instance, system, "export")),
        },
        "ve_id": int(sites[0]["site-identifier"]),
        "labels": {"base": labels.base(name, size), "offset": 1, "size": size},
        "interfaces": ports,
        # Of 15 octets at most, and a VPN's name may be longer.
        "bridge": f"vpls-{labels.base(name, size)}",
    }
    if tagged and tags:
        found["vlan"] = tags.pop()
    return found


def _port(unit: str, system: Tree) -> tuple[str, int]:
    match = _PORT.fullmatch(unit)
    if match is None:
        raise UnfitError(f"{unit} is no port of this PE")
    port, _, number = unit.partition(".")
    config = _at(system, "interfaces", "interface", port, "unit", number)
    if "vlan-tags" in config:
        raise UnfitError(f"{unit}: this PE has no Q-in-Q")
    return f"eth{int(match[1]) + 1}", int(config.get("vlan-id", 0))


def _targets(instance: Tree, system: Tree, direction: str) -> Iterator[str]:
    target = instance.get("vrf-target", {})
    policies = instance.get(f"vrf-{direction}", ())
    texts = [target[key] for key in (direction, "community") if key in target][:1]
    if policies:
        texts = [text for policy in policies for text in _members(policy, system, direction)]
    for text in texts:
        yield text.removeprefix("target:").replace("L:", ":")


def _members(policy: str, system: Tree, direction: str) -> Iterator[str]:
    """The communities that a policy asks for, or adds."""
    options = system["policy-options"]
    statement = options["policy-statement"][policy]
    where = "from" if direction == "import" else "then"
    for term in (statement, *statement.get("term", {}).values()):
        for name in _at(term, where).get("community", ()):
            yield from options["community"][name]["members"]
