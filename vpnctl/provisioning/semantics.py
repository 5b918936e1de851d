"""What a platform cannot have, known before a word of configuration is written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import groupby

from vpnctl.model import RouteDistinguisher, RouteTarget
from vpnctl.provisioning.intent import Attachment, RouterIntent
from vpnctl.provisioning.profile import Profile
from vpnctl.provisioning.refusal import Refusal, endpoint_refusal, router_refusal

_ANOTHER = "choose another number, or leave it out and one is allocated"


def check_intent(intent: RouterIntent, profile: Profile) -> list[Refusal]:
    """Everything in the intent that a router of this profile would refuse, or take and not do."""
    refusals = [
        *_session(intent, profile),
        *_twice(intent, profile),
    ]
    for attachment in intent.attachments:
        refusals += [
            endpoint_refusal(intent, attachment, message, hint)
            for message, hint in _endpoint(intent, attachment, profile)
        ]
    if profile.port and intent.attachments and not intent.port:
        refusals.append(
            router_refusal(
                intent, "port", "has no port for its customers", "write `port: ge-0/0/1`, say"
            )
        )
    return refusals


def _session(intent: RouterIntent, profile: Profile) -> Iterator[Refusal]:
    port = profile.limits.bgp_port
    if port is not None and intent.passive and intent.controller_port != port:
        yield router_refusal(
            intent,
            "passive",
            f"a router of this platform connects to TCP port {port} only, and the controller "
            f"waits at {intent.controller_port}",
            "take `passive` out, or let the controller listen at port 179",
        )
    for family in intent.families:
        if family.name not in profile.families:
            yield router_refusal(
                intent,
                "families",
                f"{intent.platform} cannot be configured for {family}",
                f"write `families: [{', '.join(profile.families)}]`, or fewer",
            )


def _endpoint(
    intent: RouterIntent, endpoint: Attachment, profile: Profile
) -> Iterator[tuple[str, str]]:
    limits = profile.limits
    if not profile.provisions(endpoint.service):
        yield (
            f"{intent.platform} provisions {' and '.join(profile.services)}, no "
            f"{endpoint.service.value}",
            "choose another platform for the PE, or configure it by hand: take its `netconf` or "
            "`frr` out",
        )
        return
    if re.fullmatch(limits.name, endpoint.name) is None:
        yield (
            f"{endpoint.name!r} cannot be the name of an instance on {intent.platform}",
            "choose shorter names of letters, digits, - and _ for the VPN and the site",
        )
    for what, number, (first, last) in (
        ("VLAN", endpoint.vlan, limits.vlan),
        ("inner VLAN", endpoint.inner_vlan, limits.vlan),
        ("interface unit", endpoint.unit, limits.unit),
        ("VE-ID", endpoint.ve_id, limits.ve_id),
        ("VNI", endpoint.vni, limits.vni),
    ):
        if number is not None and not first <= number <= last:
            yield f"{what} {number} is outside {first} to {last} on {intent.platform}", _ANOTHER
    size = endpoint.label_block_size
    if size is not None and limits.label_block_size and size not in limits.label_block_size:
        yield f"a label block of {size} is none on {intent.platform}", "choose another platform"
    if endpoint.ve_id is not None and endpoint.ve_id > (endpoint.site_range or endpoint.ve_id):
        yield f"VE-ID {endpoint.ve_id} is above the site range {endpoint.site_range}", _ANOTHER
    if endpoint.vlan is None and profile.port and not profile.untagged:
        yield f"has no VLAN, and {intent.platform} needs one", "write `vlan:` for the site"
    if endpoint.inner_vlan is not None and not profile.double_tagged:
        yield (
            f"VLAN {endpoint.inner_vlan} in {endpoint.vlan}: {intent.platform} is not configured "
            "for two tags",
            "choose a single VLAN, or retract a VPN from the port",
        )
    yield from _targets(intent, endpoint, profile)


def _targets(
    intent: RouterIntent, endpoint: Attachment, profile: Profile
) -> Iterator[tuple[str, str]]:
    limits = profile.limits
    for side, targets in (
        ("export", endpoint.export_targets),
        ("import", endpoint.import_targets),
    ):
        if limits.targets is not None and len(targets) > limits.targets:
            yield (
                f"{len(targets)} {side} targets are more than {intent.platform} takes",
                f"give it {limits.targets} at most",
            )
    numbers: tuple[RouteTarget | RouteDistinguisher, ...] = (
        endpoint.rd,
        *endpoint.export_targets,
        *endpoint.import_targets,
    )
    for number in dict.fromkeys(numbers):
        administrator = str(number).partition(":")[0]
        if administrator.endswith("L") and not limits.four_octet_form:
            yield (
                f"{number}: {intent.platform} has no way to write a small AS in four octets",
                f"write {str(number).replace('L', '')}",
            )


def _twice(intent: RouterIntent, profile: Profile) -> Iterator[Refusal]:
    """What two endpoints have that only one may."""
    shared: list[tuple[str, Callable[[Attachment], object]]] = [
        ("the instance name {}", lambda one: one.name),
        ("the route distinguisher {}", lambda one: one.rd),
    ]
    if "vni" in profile.unique:
        shared.append(("VNI {}", lambda one: one.vni))
    if profile.port:
        shared.append(("interface {}", lambda one: one.interface))
    for words, key in shared:
        valued = [one for one in intent.attachments if key(one) is not None]
        for value, group in groupby(sorted(valued, key=lambda one: str(key(one))), key=key):
            first, *others = group
            for other in others:
                yield endpoint_refusal(
                    intent,
                    other,
                    f"{words.format(value)} is that of {first.vpn} at {first.site} already",
                    "give one of them another VLAN, name or number",
                )
    untagged = [one for one in intent.attachments if one.vlan is None]
    if profile.port and untagged and len(intent.attachments) > len(untagged):
        yield endpoint_refusal(
            intent,
            untagged[0],
            f"has no VLAN and so the whole of {intent.port}, where others have VLANs",
            "write `vlan:` for the site",
        )
