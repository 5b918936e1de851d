"""What Junos' schema lets pass and a router refuses, or takes and does not do.

The schema knows that a VLAN is a word, that a route target is a word, and that a policy has a
name; 5000, ``targt:65000:1`` and a policy that nobody wrote are fine with it.  These checks read
the configuration that a template made, whatever template that was, and so see its mistakes too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from lxml import etree

from vpnctl.model import RouteDistinguisher, RouteTarget

_LABEL_BLOCK_SIZES = ("2", "4", "8", "16")
_MOST_SITES = 65534
_MOST_VLAN = 4094
#: VLANs below are not for VPLS where the port as a whole has the encapsulation vlan-vpls.
_LEAST_VPLS_VLAN = 512
_BGP_POLICIES = ("import", "export")
_VRF_POLICIES = ("vrf-import", "vrf-export")
#: Encapsulations of a physical interface, and those that its units may have then.
_UNITS = {
    "flexible-ethernet-services": ("vlan-vpls", "vlan-bridge", "vlan-ccc", None),
    "ethernet-vpls": (None,),
    "ethernet-bridge": (None,),
    "vlan-vpls": ("vlan-vpls",),
}


def check_document(configuration: etree._Element) -> list[str]:
    """Everything that is wrong, in words that name the node.

    ``configuration``: a ``<configuration>`` without a namespace.  What it refers to must be in it,
    as all that is ours is; a logical system is a router of its own.
    """
    physical = _physical(configuration)
    found = list(_router(configuration, physical, "the router"))
    for system in configuration.findall("logical-systems"):
        found += _router(system, physical, f"logical system {_name(system)}")
    return found


def _physical(configuration: etree._Element) -> dict[str, str | None]:
    """The encapsulation of each physical interface that the document sets up."""
    return {
        _name(one): _text(one, "encapsulation")
        for one in configuration.iterfind("interfaces/interface")
    }


def _router(router: etree._Element, physical: dict[str, str | None], where: str) -> Iterator[str]:
    units = {}
    for interface in router.iterfind("interfaces/interface"):
        tags: Counter[tuple[str, ...]] = Counter()
        for unit in interface.iterfind("unit"):
            name = f"{_name(interface)}.{_name(unit)}"
            units[name] = unit
            yield from _unit(unit, f"{where}, {name}", physical.get(_name(interface)))
            tags[_tags(unit)] += 1
        for tag, count in tags.items():
            if count > 1 and tag:
                yield f"{where}, {_name(interface)}: VLAN {'/'.join(tag)} has {count} units"
    yield from _policies(router, where)
    rds: Counter[str] = Counter()
    owners: Counter[str] = Counter()
    for instance in router.iterfind("routing-instances/instance"):
        inside = f"{where}, instance {_name(instance)}"
        yield from _instance(instance, units, inside)
        rds[_text(instance, "route-distinguisher/rd-type") or ""] += 1
        owners.update({_name(one) for one in instance.iterfind("interface")})
    for rd, count in rds.items():
        if count > 1 and rd:
            yield f"{where}: {count} instances have the route distinguisher {rd}"
    for interface, count in owners.items():
        if count > 1:
            yield f"{where}: {interface} is in {count} instances"
    for group in router.iterfind("protocols/bgp/group"):
        yield from _bgp_group(group, f"{where}, BGP group {_name(group)}")


def _tags(unit: etree._Element) -> tuple[str, ...]:
    tags = (_text(unit, path) for path in ("vlan-id", "vlan-tags/outer", "vlan-tags/inner"))
    return tuple(tag for tag in tags if tag is not None)


def _unit(unit: etree._Element, where: str, physical: str | None) -> Iterator[str]:
    for tag in _tags(unit):
        if not tag.isdecimal() or not 1 <= int(tag) <= _MOST_VLAN:
            yield f"{where}: VLAN {tag} is outside 1 to {_MOST_VLAN}"
        elif physical == "vlan-vpls" and int(tag) < _LEAST_VPLS_VLAN:
            yield (
                f"{where}: VLAN {tag} is below {_LEAST_VPLS_VLAN}, on a port that is all vlan-vpls"
            )
    encapsulation = _text(unit, "encapsulation")
    if encapsulation is not None and not _tags(unit):
        yield f"{where}: encapsulation {encapsulation} without a VLAN"
    if physical is not None and encapsulation not in _UNITS.get(physical, (encapsulation,)):
        yield (
            f"{where}: encapsulation {encapsulation or 'of none'} on a port with encapsulation "
            f"{physical}"
        )


def _instance(
    instance: etree._Element, units: dict[str, etree._Element], where: str
) -> Iterator[str]:
    kind = _text(instance, "instance-type")
    if kind is None:
        yield f"{where}: has no instance-type"
    yield from _number(instance, "route-distinguisher/rd-type", RouteDistinguisher.parse, where)
    for path in ("vrf-target/community", "vrf-target/import", "vrf-target/export"):
        yield from _target(_text(instance, path), where)
    vrf_policies = {name for name in _VRF_POLICIES if instance.find(name) is not None}
    if instance.find("vrf-target") is None and len(vrf_policies) < len(_VRF_POLICIES):
        yield f"{where}: neither vrf-target nor both of vrf-import and vrf-export"
    named = [*instance.iterfind("interface"), *instance.iterfind("vlans/vlan/interface")]
    for interface in named:
        unit = units.get(_name(interface))
        if unit is None:
            yield f"{where}: interface {_name(interface)} is not there"
        elif kind == "vpls" and unit.find("family/vpls") is None:
            yield f"{where}: interface {_name(interface)} is not of family vpls"
    if not named:
        yield f"{where}: has no interface"
    vpls = instance.find("protocols/vpls")
    if vpls is not None:
        yield from _vpls(vpls, {_name(one) for one in named}, where)


def _vpls(vpls: etree._Element, interfaces: set[str], where: str) -> Iterator[str]:
    size = _text(vpls, "label-block-size")
    if size is not None and size not in _LABEL_BLOCK_SIZES:
        yield f"{where}: label-block-size {size} is none of {', '.join(_LABEL_BLOCK_SIZES)}"
    site_range = _whole(_text(vpls, "site-range"), _MOST_SITES)
    if not 1 <= site_range <= _MOST_SITES:
        yield f"{where}: site-range {_text(vpls, 'site-range')} is outside 1 to {_MOST_SITES}"
    for site in vpls.iterfind("site"):
        ve_id = _whole(_text(site, "site-identifier"), 0)
        if not 1 <= ve_id <= min(site_range, _MOST_SITES):
            yield f"{where}: site-identifier {ve_id} is outside 1 to site-range {site_range}"
        for interface in site.iterfind("interface"):
            if _name(interface) not in interfaces:
                yield f"{where}: site interface {_name(interface)} is not in the instance"
    if vpls.find("site") is None:
        yield f"{where}: has no site"


def _policies(router: etree._Element, where: str) -> Iterator[str]:
    """What is named and not there, and what a community has for members."""
    policies = {_name(one) for one in router.iterfind("policy-options/policy-statement")}
    communities = {_name(one) for one in router.iterfind("policy-options/community")}
    used = [
        *((name, one) for one in router.iterfind("routing-instances/instance")
          for name in _VRF_POLICIES),
        *((name, one) for one in router.iterfind("protocols/bgp/group") for name in _BGP_POLICIES),
    ]  # fmt: skip
    for name, owner in used:
        for reference in owner.iterfind(name):
            if (reference.text or "").strip() not in policies:
                yield f"{where}, {_name(owner)}: {name} names no policy: {reference.text}"
    for statement in router.iterfind("policy-options/policy-statement"):
        for reference in (
            *statement.iterfind(".//from/community"),
            *statement.iterfind(".//then/community/community-name"),
        ):
            if (reference.text or "").strip() not in communities:
                yield f"{where}, policy {_name(statement)}: no community is {reference.text}"
    for community in router.iterfind("policy-options/community"):
        for member in community.iterfind("members"):
            yield from _target((member.text or "").strip(), f"{where}, {_name(community)}")


def _bgp_group(group: etree._Element, where: str) -> Iterator[str]:
    if group.find("neighbor") is None:
        yield f"{where}: has no neighbor"
    if group.find("family") is None:
        yield f"{where}: has no family"
    external = _text(group, "type") == "external"
    if external and group.find("peer-as") is None and group.find("neighbor/peer-as") is None:
        yield f"{where}: is external and has no peer-as"


def _target(text: str | None, where: str) -> Iterator[str]:
    if text is None:
        return
    kind, _, rest = text.partition(":")
    if kind != "target":
        yield f"{where}: {text} is no route target; they begin with target:"
        return
    try:
        RouteTarget.parse(_plain(rest))
    except ValueError as error:
        yield f"{where}: {error}"


def _number(
    element: etree._Element, path: str, parse: Callable[[str], object], where: str
) -> Iterator[str]:
    text = _text(element, path)
    if text is None:
        yield f"{where}: has no {path.partition('/')[0]}"
        return
    try:
        parse(_plain(text))
    except ValueError as error:
        yield f"{where}: {error}"


def _plain(text: str) -> str:
    """``4200000000L:1`` as we read it: the letter only tells four octets from two."""
    administrator, colon, number = text.partition(":")
    bare = administrator.removesuffix("L")
    return f"{bare}{colon}{number}" if bare.isdecimal() and int(bare) > 0xFFFF else text


def _whole(text: str | None, default: int) -> int:
    return default if text is None else int(text) if text.isdecimal() else -1


def _text(element: etree._Element, path: str) -> str | None:
    found = element.find(path)
    return None if found is None else (found.text or "").strip()


def _name(element: etree._Element) -> str:
    return _text(element, "name") or ""
