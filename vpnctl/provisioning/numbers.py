"""The numbers that a change takes at a router, and who has them there already.

A router refuses a VLAN or a route distinguisher that it has twice, in words of its own.  Nobody
refuses a route target: an instance of somebody else's that imports one of ours would be given a
customer's routes.  So what a router uses is looked at before anything is changed there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from vpnctl.model import InUse
from vpnctl.provisioning.intent import Attachment, RouterIntent

if TYPE_CHECKING:
    from vpnctl.provisioning.profile import Profile  # late, as whatever reads configurations


@dataclass(frozen=True, slots=True)
class Taking:
    """The ``numbers`` that a change takes at a router, and the ``profile`` to read it by.

    Of each number, ``where`` says whose it is: ``E1 at cloud2``.
    """

    numbers: tuple[InUse, ...]
    profile: Profile


class Clash(NamedTuple):
    """One number of ours, and who else has it."""

    ours: InUse
    theirs: InUse

    def __str__(self) -> str:
        of_port = f" at {self.ours.port}" if self.ours.port else ""
        return (
            f"{_NOUNS[self.ours.kind]} {self.ours.value}{of_port}, which is for {self.ours.where},"
            f" is in use in {self.theirs.where}"
        )


_NOUNS = {
    "rd": "route distinguisher",
    "route-target": "route target",
    "ve-id": "VE-ID",
    "vlan": "VLAN",
    "vni": "VNI",
}


def numbers(intent: RouterIntent | None) -> frozenset[InUse]:
    """Every number that a router's endpoints have."""
    found: set[InUse] = set()
    for attachment in intent.attachments if intent is not None else ():
        found.update(_numbers(attachment))
    return frozenset(found)


def _numbers(one: Attachment) -> Iterator[InUse]:
    where = f"{one.vpn} at {one.site}"
    targets = tuple(dict.fromkeys(map(str, (*one.export_targets, *one.import_targets))))
    yield InUse("rd", str(one.rd), where)
    for target in targets:
        yield InUse("route-target", target, where)
    if one.ve_id is not None:
        yield InUse("ve-id", str(one.ve_id), where, targets=targets)
    if one.vlan is not None and one.inner_vlan is None:
        yield InUse("vlan", str(one.vlan), where, one.port)
    elif one.vlan is not None:
        yield InUse("vlan", f"{one.vlan}/{one.inner_vlan}", where, one.port)
    if one.vni is not None:
        yield InUse("vni", str(one.vni), where)


def clashes(taking: Taking, configuration: str, owned: Collection[str]) -> tuple[Clash, ...]:
    """Which of the numbers somebody else has in a router's running configuration.

    ``owned``: the nodes that are ours there; a number that these have already is not taken anew.
    """
    from vpnctl.provisioning.inuse import in_use  # late: it reads XML

    theirs = in_use(taking.profile, configuration, owned)
    every = in_use(taking.profile, configuration)
    had = {(one.kind, one.value, one.port) for one in set(every).difference(theirs)}
    new = [one for one in taking.numbers if (one.kind, one.value, one.port) not in had]
    return shared(replace(taking, numbers=tuple(new)), configuration, owned)


def shared(taking: Taking, configuration: str, owned: Collection[str]) -> tuple[Clash, ...]:
    """As `clashes`, with the numbers that are ours at the router by now."""
    from vpnctl.provisioning.inuse import in_use, wildcards

    theirs = in_use(taking.profile, configuration, owned)
    new = taking.numbers
    found = [
        Clash(ours, other) for ours in new for other in theirs if _is_same(ours, other)
    ] + [
        Clash(ours, InUse(ours.kind, ours.value, where))
        for where, pattern in wildcards(taking.profile, configuration, owned)
        for ours in new
        if ours.kind == "route-target" and pattern.fullmatch(ours.value)
    ]  # fmt: skip
    return tuple(sorted(set(found)))


def _is_same(ours: InUse, other: InUse) -> bool:
    if (ours.kind, ours.value) != (other.kind, other.value):
        return False
    if ours.kind == "vlan":
        return ours.port == other.port
    # A VE-ID is one of a VPN's, and it is the targets that make a VPN.
    return ours.kind != "ve-id" or not set(ours.targets).isdisjoint(other.targets)
