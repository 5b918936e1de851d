"""``commit check``: what a schema lets pass and a router refuses.

Nothing here is shared with what renders configurations: a mistake there shall meet somebody else's
reading of the rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from typing import Any

from vpnctl.lab.junos.schema import Tree

#: What an interface unit in a VPLS needs of its port (Juniper: "Configuring VPLS encapsulation").
_VPLS_PORTS = ("flexible-ethernet-services", "vlan-vpls", "extended-vlan-vpls")
_BRIDGE_PORTS = ("flexible-ethernet-services", "extended-vlan-bridge", "vlan-bridge")
_TAG = re.compile(r"(?:0x[0-9a-fA-F]{4}\.)?(\d+)")


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong, and where: the words of the path, as ``[edit ...]`` has them."""

    where: str
    message: str


@dataclass(frozen=True, slots=True)
class _System:
    """The main router ("" as name) or a logical system."""

    name: str
    tree: Tree

    def at(self, *words: str) -> str:
        return " ".join((*(("logical-systems", self.name) if self.name else ()), *words))

    def get(self, *path: str) -> Any:
        return _get(self.tree, *path)

    def units(self) -> Iterator[tuple[str, str, Tree]]:
        """Port, unit number, unit."""
        for port, interface in self.get("interfaces", "interface").items():
            for number, unit in interface.get("unit", {}).items():
                yield port, number, unit


def _get(tree: Tree, *path: str) -> Any:
    here: Any = tree
    for name in path:
        if not isinstance(here, dict) or name not in here:
            return {}
        here = here[name]
    return here


def complaints(tree: Tree, platform: str) -> tuple[Complaint, ...]:
    """All of them; empty where the router takes the configuration."""
    systems = [
        _System("", tree),
        *(_System(name, one) for name, one in tree.get("logical-systems", {}).items()),
    ]
    found = [*_units(tree, systems)]
    for system in systems:
        found += _instances(system, platform)
        found += _bgp(system, tree)
        found += _policies(system)
    found += _distinguishers(systems)
    return tuple(found)


def _units(tree: Tree, systems: list[_System]) -> Iterator[Complaint]:
    owners: dict[tuple[str, str], str] = {}
    tags: dict[tuple[str, tuple[int, ...]], str] = {}
    for system in systems:
        for port, number, unit in system.units():
            where = system.at("interfaces", port, "unit", number)
            owner = owners.setdefault((port, number), where)
            if owner != where:
                yield Complaint(
                    where, f"unit {number} of {port} is configured in [edit {owner}] already"
                )
            physical = _get(tree, "interfaces", "interface", port)
            yield from _unit(where, unit, physical)
            tag, why = _tag(unit)
            if why:
                yield Complaint(where, why)
            elif tag:
                first = tags.setdefault((port, tag), where)
                if first != where:
                    shown = ".".join(map(str, tag))
                    yield Complaint(
                        where, f"duplicate VLAN-ID {shown} on {port}: [edit {first}] has it"
                    )
                yield from _tagging(where, port, tag, physical)


def _unit(where: str, unit: Tree, physical: Tree) -> Iterator[Complaint]:
    port = physical.get("encapsulation", "")
    kind = unit.get("encapsulation", "")
    families = unit.get("family", {})
    if kind == "vlan-vpls" and port not in _VPLS_PORTS:
        yield Complaint(
            where,
            "encapsulation vlan-vpls is not allowed: the physical interface needs"
            " encapsulation flexible-ethernet-services or vlan-vpls",
        )
    if kind == "vlan-bridge" and port not in _BRIDGE_PORTS:
        yield Complaint(
            where,
            "encapsulation vlan-bridge is not allowed: the physical interface needs"
            " encapsulation flexible-ethernet-services",
        )
    if "vpls" in families and kind != "vlan-vpls" and port != "ethernet-vpls":
        yield Complaint(where, "family vpls needs encapsulation vlan-vpls")
    if "vpls" in families and {"inet", "inet6", "mpls"} & families.keys():
        yield Complaint(where, "family vpls cannot be together with other families")
    if kind and not _tag(unit)[0] and not _tag(unit)[1]:
        yield Complaint(where, f"encapsulation {kind} needs vlan-id or vlan-tags")


def _tag(unit: Tree) -> tuple[tuple[int, ...], str]:
    """The tags of a unit, outer first, or what is wrong with them."""
    texts = [unit["vlan-id"]] if "vlan-id" in unit else []
    if "vlan-tags" in unit:
        if texts:
            return (), "vlan-id and vlan-tags cannot be together"
        if "outer" not in unit["vlan-tags"]:
            return (), "vlan-tags needs outer"
        texts = [
            unit["vlan-tags"][side] for side in ("outer", "inner") if side in unit["vlan-tags"]
        ]
    found = []
    for text in texts:
        match = _TAG.fullmatch(text)
        if match is None or not 1 <= int(match[1]) <= 4094:
            return (), f"VLAN-ID {text} is not within 1 to 4094"
        found.append(int(match[1]))
    return tuple(found), ""


def _tagging(where: str, port: str, tag: tuple[int, ...], physical: Tree) -> Iterator[Complaint]:
    flexible = "flexible-vlan-tagging" in physical
    if len(tag) == 2 and not flexible and "stacked-vlan-tagging" not in physical:
        yield Complaint(where, f"vlan-tags: {port} needs flexible-vlan-tagging")
    elif not flexible and "vlan-tagging" not in physical and len(tag) == 1:
        yield Complaint(where, f"VLAN-ID: {port} needs vlan-tagging or flexible-vlan-tagging")
    if physical.get("encapsulation") == "vlan-vpls" and tag[0] < 512:
        yield Complaint(
            where,
            f"VLAN-ID {tag[0]}: with encapsulation vlan-vpls at {port} it must be within"
            " 512 to 4094",
        )


def _instances(system: _System, platform: str) -> Iterator[Complaint]:
    units = {f"{port}.{number}": unit for port, number, unit in system.units()}
    owners: dict[str, str] = {}
    for name, instance in system.get("routing-instances", "instance").items():
        where = system.at("routing-instances", name)
        kind = instance.get("instance-type", "")
        used = [*instance.get("interface", {})]
        for domains, domain in (("bridge-domains", "domain"), ("vlans", "vlan")):
            for one in _get(instance, domains, domain).values():
                used += [unit for unit in one.get("interface", {}) if unit not in used]
        for unit in used:
            if unit not in units:
                yield Complaint(where, f"interface {unit} is not configured")
            elif (
                kind == "vpls"
                and "vpls" not in units[unit].get("family", {})
                and "encapsulation" not in units[unit]
            ):
                yield Complaint(
                    where, f"interface {unit} needs encapsulation vlan-vpls or family vpls"
                )
            owner = owners.setdefault(unit, name)
            if owner != name:
                yield Complaint(where, f"interface {unit} belongs to instance {owner} already")
        if not kind:
            yield Complaint(where, "instance-type is missing")
        if kind == "vpls" and platform == "evo":
            yield Complaint(where, "instance-type vpls is not supported on this platform")
        if platform == "crpd" and kind in ("vpls", "virtual-switch", "evpn"):
            yield Complaint(where, f"instance-type {kind} is not supported on this platform")
        if kind == "mac-vrf" and "service-type" not in instance:
            yield Complaint(where, "service-type is missing: instance-type mac-vrf needs it")
        if kind == "vpls" and not _get(instance, "protocols", "vpls"):
            yield Complaint(where, "protocols vpls is missing: instance-type vpls needs it")
        yield from _targets(system, where, instance, kind)
        yield from _vpls(where, instance)
        yield from _vnis(where, instance)


def _targets(system: _System, where: str, instance: Tree, kind: str) -> Iterator[Complaint]:
    protocols = _get(instance, "protocols")
    layer2 = kind in ("vpls", "evpn", "mac-vrf") or "evpn" in protocols or "vpls" in protocols
    rd = _get(instance, "route-distinguisher", "rd-type")
    allocated = system.get("routing-options", "route-distinguisher-id")
    if (layer2 or kind == "vrf") and not rd and not allocated:
        yield Complaint(where, "route-distinguisher is missing")
    if rd and not _is_rd(rd):
        yield Complaint(
            where, f"route-distinguisher {rd}: format is (as-number:id) or (ip-address:id)"
        )
    target = instance.get("vrf-target", {})
    for value in target.values():
        if not value.startswith("target:") or not _is_rd(value.removeprefix("target:")):
            yield Complaint(
                where,
                f"vrf-target {value}: format is target:(as-number:id) or target:(ip-address:id)",
            )
    statements = system.get("policy-options", "policy-statement")
    for direction in ("vrf-import", "vrf-export"):
        for policy in instance.get(direction, ()):
            if policy not in statements:
                yield Complaint(where, f"{direction}: policy {policy} is not defined")
    whole = "community" in target or {"import", "export"} <= target.keys() or (
        bool(instance.get("vrf-import") or target.get("import"))
        and bool(instance.get("vrf-export") or target.get("export"))
    )  # fmt: skip
    if layer2 and not whole:
        yield Complaint(where, "vrf-target, or vrf-import and vrf-export, is missing")


def _is_rd(text: str) -> bool:
    """``ASN:number`` or ``address:number``, within six octets (RFC 4364 section 4.2)."""
    administrator, _, assigned = text.rpartition(":")
    if not (assigned.isascii() and assigned.isdigit()):
        return False
    try:
        IPv4Address(administrator)
    except AddressValueError:
        digits = administrator.removesuffix("L")
        if not (digits.isascii() and digits.isdigit()):
            return False
        four = digits != administrator or int(digits) > 0xFFFF
        return int(digits) <= 0xFFFFFFFF and int(assigned) <= (0xFFFF if four else 0xFFFFFFFF)
    return int(assigned) <= 0xFFFF


def _vpls(where: str, instance: Tree) -> Iterator[Complaint]:
    vpls: Tree = _get(instance, "protocols", "vpls")
    if not vpls:
        return
    if not vpls.get("site"):
        yield Complaint(f"{where} protocols vpls", "a site is missing")
    numbers: dict[str, str] = {}
    for name, site in vpls.get("site", {}).items():
        at = f"{where} protocols vpls site {name}"
        number = site.get("site-identifier")
        if number is None:
            yield Complaint(at, "site-identifier is missing")
            continue
        other = numbers.setdefault(number, name)
        if other != name:
            yield Complaint(at, f"site-identifier {number} is that of site {other}")
        if "site-range" in vpls and int(number) > int(vpls["site-range"]):
            yield Complaint(
                at, f"site-identifier {number} is above site-range {vpls['site-range']}"
            )
        for unit in site.get("interface", {}):
            if unit not in instance.get("interface", {}):
                yield Complaint(at, f"interface {unit} is not an interface of the instance")


def _vnis(where: str, instance: Tree) -> Iterator[Complaint]:
    seen: dict[str, str] = {}
    extended = (
        _get(instance, "protocols", "evpn").get("extended-vni-list")
        if _get(instance, "protocols", "evpn")
        else None
    )
    for domains, domain in (("bridge-domains", "domain"), ("vlans", "vlan")):
        for name, one in _get(instance, domains, domain).items():
            vni = _get(one, "vxlan", "vni")
            if not vni:
                continue
            other = seen.setdefault(vni, name)
            if other != name:
                yield Complaint(f"{where} {domains} {name}", f"vni {vni} is that of {other}")
            if extended and "all" not in extended and vni not in extended:
                yield Complaint(
                    f"{where} {domains} {name}", f"vni {vni} is not in extended-vni-list"
                )
    if seen and not instance.get("vtep-source-interface"):
        yield Complaint(where, "vtep-source-interface is missing: there are VNIs")


def _bgp(system: _System, tree: Tree) -> Iterator[Complaint]:
    autonomous = system.get("routing-options", "autonomous-system", "as-number") or _get(
        tree, "routing-options", "autonomous-system", "as-number"
    )
    statements: Mapping[str, Any] = system.get("policy-options", "policy-statement")
    for name, group in system.get("protocols", "bgp", "group").items():
        where = system.at("protocols bgp group", name)
        kind = group.get("type")
        if not autonomous and not _get(group, "local-as", "as-number"):
            yield Complaint(where, "Error in neighbor: local autonomous system is not configured")
        if (
            kind is None
            and "peer-as" not in group
            and not all("peer-as" in one for one in group.get("neighbor", {}).values())
        ):
            yield Complaint(where, "type or peer-as is missing")
        for address, neighbor in group.get("neighbor", {}).items():
            peer = neighbor.get("peer-as", group.get("peer-as"))
            if kind == "external" and peer is None:
                yield Complaint(
                    f"{where} neighbor {address}",
                    "peer AS number must be configured for an external peer",
                )
            if kind == "external" and peer == autonomous:
                yield Complaint(
                    f"{where} neighbor {address}", f"peer AS {peer} of an external peer is our own"
                )
            if kind == "internal" and peer not in (None, autonomous or peer):
                yield Complaint(
                    f"{where} neighbor {address}",
                    f"peer AS {peer} of an internal peer is not our own",
                )
        for direction in ("import", "export"):
            for policy in group.get(direction, ()):
                if policy not in statements:
                    yield Complaint(where, f"{direction}: policy {policy} is not defined")


def _policies(system: _System) -> Iterator[Complaint]:
    communities = system.get("policy-options", "community")
    for name, policy in system.get("policy-options", "policy-statement").items():
        where = system.at("policy-options policy-statement", name)
        for term in (policy, *policy.get("term", {}).values()):
            used = [*_get(term, "from", "community"), *_get(term, "then", "community")]
            for community in used:
                if community not in communities:
                    yield Complaint(where, f"community {community} is not defined")
    for name, community in communities.items():
        where = system.at("policy-options community", name)
        if not community.get("members"):
            yield Complaint(where, "members are missing")
        for member in community.get("members", ()):
            if member.startswith("target:") and not _is_rd(member.removeprefix("target:")):
                yield Complaint(where, f"members: {member} is no community")


def _distinguishers(systems: list[_System]) -> Iterator[Complaint]:
    owners: dict[str, str] = {}
    for system in systems:
        for name, instance in system.get("routing-instances", "instance").items():
            rd = _get(instance, "route-distinguisher", "rd-type")
            where = system.at("routing-instances", name)
            if rd and owners.setdefault(rd, where) != where:
                yield Complaint(where, f"route-distinguisher {rd} is that of [edit {owners[rd]}]")
