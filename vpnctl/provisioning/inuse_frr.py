"""The numbers in FRR's configuration, those that it derives by itself included."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from vpnctl.provisioning.blocks import Block
from vpnctl.provisioning.words import legible

#: What of a line is a number, by kind; a line may have several targets.
_LINES = {
    "rd": re.compile(r"rd (?:vpn export )?(\S+)"),
    "vni": re.compile(r"vni ([0-9]+)"),
    "route-target": re.compile(r"(?:route-target|rt vpn) (?:import|export|both) (.+)"),
}
_BGP = re.compile(r"router bgp ([0-9]{1,10})(?: vrf (\S+))?")
_EVPN = "address-family l2vpn evpn"
_IMPORTS = ("route-target import ", "route-target both ")
#: Octets of an AS in a target that FRR derives (RFC 8365 section 5.1.2.1 has the two of them).
_TWO_OCTETS = 0xFFFF
_BETWEEN = " / "


def frr_numbers(root: Block, owned: Collection[str]) -> Iterator[tuple[str, str, str]]:
    """Kind, value and path of each number in what is not ``owned``.

    A target may be one with a ``*``, which stands for any AS.
    """
    yield from _lines(root, owned, ())
    yield from _derived(root, owned)


def _lines(
    root: Block, owned: Collection[str], above: tuple[str, ...]
) -> Iterator[tuple[str, str, str]]:
    for block in root.lines:
        path = (*above, block.line)
        where = _BETWEEN.join(path)
        if where in owned:
            continue
        shown = legible(where)
        for kind, pattern in _LINES.items():
            match = pattern.fullmatch(block.line)
            for value in match[1].split() if match else ():
                yield kind, value, shown
        yield from _lines(block, owned, path)


def _derived(root: Block, owned: Collection[str]) -> Iterator[tuple[str, str, str]]:
    """The targets of VNIs that are given none: ``AS:VNI``, taken in from any AS."""
    for router in root.lines:
        match = _BGP.fullmatch(router.line)
        family = router.find(_EVPN) if match else None
        if match is None or family is None:
            continue
        asn = int(match[1]) & _TWO_OCTETS
        if match[2]:  # of a VRF the VNI stands elsewhere
            vrf = root.find(f"vrf {match[2]}")
            layers = [] if vrf is None or _imports(family) else [(f"vrf {match[2]}", vrf)]
        else:
            layers = [(f"{router.line}{_BETWEEN}{_EVPN}", family)]
        for above, holder in layers:
            for block in holder.lines:
                where = f"{above}{_BETWEEN}{block.line}"
                vni = _LINES["vni"].fullmatch(block.line)
                if vni is not None and where not in owned and not _imports(block):
                    for administrator in (str(asn), "*"):
                        target = f"{administrator}:{vni[1]}"
                        yield "route-target", target, f"{legible(where)}, which gives no target"


def _imports(block: Block) -> bool:
    return any(one.line.startswith(_IMPORTS) for one in block.lines)
