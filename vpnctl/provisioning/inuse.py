"""Which numbers a router's configuration has already: read when a router is adopted.

Junos' and FRR's configurations are known well enough to be read whole.  Of a platform of RFC 6241
its profile says where numbers are (``in_use``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator

from lxml import etree

from vpnctl.errors import ProvisioningError
from vpnctl.model import InUse, RouteDistinguisher, RouteTarget
from vpnctl.provisioning.blocks import FRR, parse_blocks
from vpnctl.provisioning.documents import JUNOS_XML, KEYS, NETCONF_XML, parse_document
from vpnctl.provisioning.inuse_frr import frr_numbers
from vpnctl.provisioning.paths import (
    Step,
    children,
    is_element,
    key_leaf,
    key_value,
    local_name,
    parse_path,
    path_text,
    step_of,
)
from vpnctl.provisioning.profile import Profile
from vpnctl.provisioning.words import legible

_TAG = re.compile(r"(?:0x[0-9A-Fa-f]{4}\.)?([0-9]{1,4})")
#: A target with signs that stand for others, and what these are: one, or as many as there are.
_WILDCARD = re.compile(r"(?:[0-9:]|\.[*+]?|\*){1,40}")
_EVERY = re.compile(r"\.[*+]|\*|\.")
#: More numbers than a router has: each VLAN at more than a hundred ports.
_MOST_USES = 1 << 19
#: More of them than anybody writes would take long to be compared.
_MOST_EVERY = 4
_DIGITS = re.compile(r"[0-9]{1,10}")
_RANGE = re.compile(r"([0-9]{1,4})-([0-9]{1,4})")
_MOST_VLAN = 4094
_MOST_VE_ID = 0xFFFF
_MOST_VNI = 0xFFFFFF
_TWO_OCTETS = 0xFFFF
_Steps = tuple[Step, ...]
_Keys = tuple[tuple[str, str], ...]


def in_use(profile: Profile, configuration: str, owned: Collection[str] = ()) -> tuple[InUse, ...]:
    """Every number in a running configuration, without what is in the ``owned`` nodes.

    ``configuration`` is the whole of it, in the format of the profile.  What is no number that
    could be allocated (a name, a range with a wildcard) is passed over.  A VLAN that a port has
    several times is told once.
    """
    if profile.format == JUNOS_XML:
        found = _junos(_without(parse_document(configuration), owned))
    elif profile.format == NETCONF_XML:
        found = _named(_without(parse_document(configuration), owned), profile)
    else:
        numbers = frr_numbers(parse_blocks(configuration), frozenset(owned))
        found = (use for one in numbers for use in _of_kind(*one, port=""))
    return tuple(sorted(_counted(found)))


def wildcards(
    profile: Profile, configuration: str, owned: Collection[str] = ()
) -> tuple[tuple[str, re.Pattern[str]], ...]:
    """What stands for many route targets: where it is, and what matches the targets it means.

    Junos' communities with ``*`` or ``.`` in them, and FRR's ``import *:100``; what says more than
    that is passed over, as everything is that is no number.
    """
    if profile.format == JUNOS_XML:
        root = _without(parse_document(configuration), owned)
        members = [
            (_where(one), (member.text or "").strip().removeprefix("target:"))
            for one in root.iterfind(".//policy-options/community")
            for member in one.iterfind("members")
            if (member.text or "").strip().startswith("target:")
        ]
    elif profile.format == FRR:
        lines = frr_numbers(parse_blocks(configuration), frozenset(owned))
        members = [(where, text) for kind, text, where in lines if kind == "route-target"]
    else:
        return ()
    return tuple(
        (where, re.compile(_EVERY.sub(_meaning, text)))
        for where, text in dict.fromkeys(members)
        if _WILDCARD.fullmatch(text)
        and not _number(RouteTarget, text)
        and len(_EVERY.findall(text)) <= _MOST_EVERY
    )


def _meaning(match: re.Match[str]) -> str:
    return "[0-9.]" if match[0] == "." else "[0-9.]*"


def _counted(found: Iterator[InUse]) -> set[InUse]:
    """A port's VLAN once, wherever it is; raises `ProvisioningError` for what has no end."""
    vlans: set[tuple[str, str]] = set()
    uses: set[InUse] = set()
    for use in found:
        if use.kind == "vlan":
            if (use.port, use.value) in vlans:
                continue
            vlans.add((use.port, use.value))
        uses.add(use)
        if len(uses) > _MOST_USES:
            raise ProvisioningError(
                f"the router's configuration has more than {_MOST_USES:,} numbers",
                hint="no router uses so many: look at its configuration",
            )
    return uses


# -- XML --


def _without(root: etree._Element, owned: Collection[str]) -> etree._Element:
    """The document without the owned nodes, and without namespaces."""
    # By the last step: there are as many paths as endpoints, and many more elements.
    ours: dict[str, dict[tuple[str, ...], dict[_Keys, list[_Steps]]]] = {}
    for steps in map(parse_path, owned):
        last = steps[-1]
        of_name = ours.setdefault(last.name, {}).setdefault(tuple(key for key, _ in last.keys), {})
        of_name.setdefault(last.keys, []).append(steps)
    for element in [one for one in root.iter() if is_element(one)]:
        if any(_is_at(element, steps) for steps in _candidates(element, ours)):
            parent = element.getparent()
            if parent is not None:
                parent.remove(element)
    for element in root.iter():
        if is_element(element):
            element.tag = local_name(element)
    return root


def _candidates(
    element: etree._Element, ours: dict[str, dict[tuple[str, ...], dict[_Keys, list[_Steps]]]]
) -> Iterator[_Steps]:
    """Of these paths, by name, keys and values of their last step, those that may end there."""
    for names, by_value in ours.get(local_name(element), {}).items():
        values = tuple((name, key_value(element, name) or "") for name in names)
        yield from by_value.get(values, ())


def _is_at(element: etree._Element, steps: tuple[Step, ...]) -> bool:
    """Whether these steps lead to the element, from wherever the first one is."""
    node: etree._Element | None = element
    for step in reversed(steps):
        if node is None or not step.matches(node):
            return False
        node = node.getparent()
    return True


def _where(element: etree._Element) -> str:
    steps = [step_of(one, KEYS) for one in (*reversed(list(element.iterancestors())), element)]
    inside = [one for one in steps if one.name not in ("rpc-reply", "data", "configuration")]
    try:
        return legible(path_text(inside))
    except ValueError:  # a name with both kinds of quotes
        return legible("/".join(one.name for one in inside))


def _junos(root: etree._Element) -> Iterator[InUse]:
    configuration = root if root.tag == "configuration" else root.find(".//configuration")
    if configuration is None:
        return
    for router in (configuration, *configuration.iterfind("logical-systems")):
        for interface in router.iterfind("interfaces/interface"):
            for unit in interface.iterfind("unit"):
                yield from _unit(unit, _text(interface, "name"))
        communities = {
            _text(one, "name"): _targets(one.iterfind("members"))
            for one in router.iterfind("policy-options/community")
        }
        for community in router.iterfind("policy-options/community"):
            for target in communities[_text(community, "name")]:
                yield InUse("route-target", target, _where(community))
        for instance in _instances(router):
            yield from _instance(instance, router, communities)
        for vni in router.iterfind(".//vxlan/vni"):
            yield from _of_kind("vni", (vni.text or "").strip(), _where(vni), "")


def _instances(router: etree._Element) -> Iterator[etree._Element]:
    """What has route targets: the instances, and the two that have no name."""
    for path in ("routing-instances/instance", "switch-options", "protocols/evpn"):
        yield from router.iterfind(path)


def _unit(unit: etree._Element, port: str) -> Iterator[InUse]:
    """Its VLANs, and its own number: ours have the number of their VLAN."""
    where = _where(unit)
    vlans = set()
    outer, inner = (_tag(_text(unit, f"vlan-tags/{side}")) for side in ("outer", "inner"))
    if outer and inner:
        yield InUse("vlan", f"{outer}/{inner}", where, port)
    written = [unit.find("vlan-id"), *unit.iterfind("vlan-id-list"), unit.find("vlan-id-range")]
    for element in written:
        for vlan in _vlans("" if element is None else (element.text or "").strip()):
            vlans.add(str(vlan))
            yield InUse("vlan", str(vlan), where, port)
    number = _text(unit, "name")
    if _is_within(number, _MOST_VLAN) and number not in vlans:
        yield InUse("vlan", number, f"{where}, by the number of the unit", port)


def _instance(
    instance: etree._Element, router: etree._Element, communities: dict[str, tuple[str, ...]]
) -> Iterator[InUse]:
    where = _where(instance)
    for rd in instance.iterfind(".//route-distinguisher/rd-type"):
        shown = _number(RouteDistinguisher, (rd.text or "").strip())
        if shown:
            yield InUse("rd", shown, where)
    own = _targets(
        one
        # An EVPN may have one for each of its VNIs.
        for path in ("vrf-target/community", "vrf-target/import", "vrf-target/export")
        for one in instance.iterfind(f".//{path}")
    )
    for target in own:
        yield InUse("route-target", target, where)
    named = {
        (one.text or "").strip() for side in ("vrf-import", "vrf-export")
        for one in instance.iterfind(side)
    }  # fmt: skip
    through = [
        target
        for policy in router.iterfind("policy-options/policy-statement")
        if _text(policy, "name") in named
        for reference in (
            *policy.iterfind(".//from/community"),
            *policy.iterfind(".//then/community/community-name"),
        )
        for target in communities.get((reference.text or "").strip(), ())
    ]
    for site in instance.iterfind("protocols/vpls/site"):
        ve_id = _text(site, "site-identifier")
        if _is_within(ve_id, _MOST_VE_ID):
            yield InUse("ve-id", ve_id, where, targets=tuple(dict.fromkeys((*own, *through))))


def _named(root: etree._Element, profile: Profile) -> Iterator[InUse]:
    """What is where the profile says: elements by the end of their path."""
    for element in root.iter():
        if not is_element(element) or next(children(element), None) is not None:
            continue
        chain = [one.tag for one in (*reversed(list(element.iterancestors())), element)]
        text = (element.text or "").strip()
        for kind, paths in profile.in_use.items():
            if any(chain[-len(path) :] == path for path in (one.split("/") for one in paths)):
                yield from _of_kind(kind, text, _where(element), _port(element, profile))


def _port(element: etree._Element, profile: Profile) -> str:
    """The key of the interface that it is in."""
    for one in element.iterancestors("interface"):
        key = key_leaf(one, profile.keys)
        if key is not None:
            return (key.text or "").strip()
    return ""


# -- numbers --


def _of_kind(kind: str, text: str, where: str, port: str) -> Iterator[InUse]:
    if kind == "vlan":
        for vlan in _vlans(text):
            yield InUse(kind, str(vlan), where, port)
    elif kind == "vni":
        if _is_within(text, _MOST_VNI):
            yield InUse(kind, str(int(text)), where)
    else:
        shown = _number(RouteDistinguisher if kind == "rd" else RouteTarget, text)
        if shown:
            yield InUse(kind, shown, where)


def _targets(elements: Iterator[etree._Element]) -> tuple[str, ...]:
    shown = (_number(RouteTarget, (one.text or "").strip()) for one in elements)
    return tuple(one for one in shown if one)


def _number(kind: type[RouteTarget] | type[RouteDistinguisher], text: str) -> str:
    """A target or distinguisher as a policy has it; empty where it is none."""
    parse: Callable[[str], RouteTarget | RouteDistinguisher] = kind.parse
    bare = text.removeprefix("target:")
    administrator, colon, number = bare.partition(":")
    asn = administrator.removesuffix("L")
    if asn != administrator and asn.isdecimal() and int(asn) > _TWO_OCTETS:
        # Junos ends every AS of four octets so; a policy only one that would fit into two.
        bare = f"{asn}{colon}{number}"
    try:
        return str(parse(bare))
    except ValueError:
        return ""


def _vlans(text: str) -> range:
    match = _RANGE.fullmatch(text)
    if match is not None:
        return range(max(int(match[1]), 1), min(int(match[2]), _MOST_VLAN) + 1)
    tag = _tag(text)
    return range(int(tag), int(tag) + 1) if tag else range(0)


def _tag(text: str) -> str:
    match = _TAG.fullmatch(text)
    return str(int(match[1])) if match and _is_within(match[1], _MOST_VLAN) else ""


def _is_within(text: str, last: int) -> bool:
    return _DIGITS.fullmatch(text) is not None and 1 <= int(text) <= last


def _text(element: etree._Element, path: str) -> str:
    found = element.find(path)
    return "" if found is None else (found.text or "").strip()
