"""The numbers in a VPN's file: explicit ones are claimed, those left out become needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from vpnctl.model import Pe, RouteDistinguisher, RouteTarget, Service, Site
from vpnctl.model.tags import tags_text
from vpnctl.ruleset.allocation import Need, Pool
from vpnctl.ruleset.claims import RD, ROUTE_TARGET, VNI, Claim
from vpnctl.ruleset.network import NetworkView
from vpnctl.ruleset.reading import Reading, Step
from vpnctl.ruleset.shape import EVERY_PE
from vpnctl.ruleset.values import MAX_ALLOCATED_VE_ID, MAX_VLAN
from vpnctl.ruleset.vpn_file import SiteOfVpnEntry, TargetsEntry, VpnFile
from vpnctl.yamltree.mistake import Mistake, choices, suggestion

T = TypeVar("T")

_TAKE_ANOTHER = "choose another, or leave it out and one is allocated"


def port_of(pe: Pe) -> str:
    """The PE's port as a message names it."""
    return f"{pe.name} port {pe.port}" if pe.port else pe.name


def vlan_space(pe: Pe) -> str:
    """The pool of VLANs at the PE's port."""
    return f"vlan/{pe.name}/{pe.port}" if pe.port else f"vlan/{pe.name}"


def vlan_pool(pe: Pe) -> Pool:
    """The VLANs at the PE's port."""
    return Pool(vlan_space(pe), vlan_space(pe), *pe.vlans, outer=pe.outer_vlans)


def _vlans_of(pe: Pe) -> str:
    single = f"{pe.vlans[0]}-{pe.vlans[1]}"
    if pe.outer_vlans is None:
        return single
    return f"{single} and {pe.outer_vlans[0]}/1-{pe.outer_vlans[1]}/{MAX_VLAN}"


class Numbers:
    """Goes through the numbers of one file, and collects ``claims``, ``needs`` and ``mistakes``."""

    def __init__(self, reading: Reading[VpnFile], view: NetworkView) -> None:
        assert reading.model is not None
        self.file: VpnFile = reading.model
        self.reading = reading
        self.view = view
        self.claims: list[Claim] = []
        self.needs: list[Need] = []
        self.mistakes: list[Mistake] = []

    def targets(
        self, loc: tuple[Step, ...], entry: SiteOfVpnEntry, site: Site
    ) -> tuple[tuple[RouteTarget, ...], tuple[RouteTarget, ...]]:
        own, common = entry.targets, self.file.targets
        self._claim_targets((*loc, "targets"), own)
        if site.name == self.file.sites[0].site:
            self._claim_targets(("targets",), common)
        sides = [
            [targets.export for targets in (own, common) if targets is not None],
            [targets.import_ for targets in (own, common) if targets is not None],
        ]
        export, import_ = (next((one for one in side if one), None) for side in sides)
        if export is None and import_ is None:
            self.needs.append(
                Need(
                    f"{self.file.vpn}/{site.name}",
                    (self.view.route_targets,),
                    self.reading.place(*loc),
                    self.reading.node(*loc).path,
                    "no route target is left in the pool",
                    f"widen controller.pools.route_targets ({self.view.file}), or write "
                    "`targets:` here",
                )
            )
        return (
            tuple(dict.fromkeys(export or import_ or ())),
            tuple(dict.fromkeys(import_ or export or ())),
        )

    def _claim_targets(self, loc: tuple[Step, ...], targets: TargetsEntry | None) -> None:
        if targets is None:
            return
        for side, values in (("export", targets.export), ("import", targets.import_)):
            for index, target in enumerate(values or ()):
                self._claim(
                    (*loc, side, index),
                    ROUTE_TARGET,
                    target.octets,
                    "",
                    f"the target {target} belongs to {{by}}",
                    "a target belongs to one VPN: choose another or leave it out; to join two "
                    "VPNs, use `extranet`",
                    shared=True,
                )

    def vlan(self, loc: tuple[Step, ...], entry: SiteOfVpnEntry, site: Site, pes: list[Pe]) -> None:
        if entry.vlan is None:
            if site.kind == "cloud" and pes:
                self._need_vlan(loc, site, pes)
            return
        shown = tags_text(entry.vlan)
        for pe in pes:
            if not vlan_pool(pe).has(entry.vlan):
                self._report(
                    (*loc, "vlan"),
                    f"{shown} is outside {_vlans_of(pe)}, the VLANs of {port_of(pe)} "
                    f"({self.view.pe_places[pe.name]})",
                    "choose one of these, or leave it out and one is allocated",
                )
            self._claim(
                (*loc, "vlan"),
                vlan_space(pe),
                entry.vlan,
                site.name,
                f"{shown} is taken at {port_of(pe)} by {{by}}",
                _TAKE_ANOTHER,
            )

    def _need_vlan(self, loc: tuple[Step, ...], site: Site, pes: list[Pe]) -> None:
        # Two PEs of a site always differ, and so do their pools.
        pools = tuple(vlan_pool(pe) for pe in pes)
        self.needs.append(
            Need(
                f"{self.file.vpn}/{site.name}",
                pools,
                self.reading.place(*loc),
                self.reading.node(*loc).path,
                f"no VLAN is left at {' and '.join(port_of(pe) for pe in pes)}",
                f"widen controller.pools.vlans or the PE's `vlans`, add `outer_vlans` "
                f"({self.view.file}), or retract a VPN from the site",
            )
        )

    def rds(
        self, loc: tuple[Step, ...], entry: SiteOfVpnEntry, site: Site
    ) -> dict[str, RouteDistinguisher]:
        rds = self._per_pe((*loc, "rd"), entry.rd, site)
        for pe in site.pes:
            if pe in rds:
                self._claim(
                    (*loc, "rd", pe),
                    RD,
                    rds[pe].octets,
                    f"{site.name} at {pe}",
                    f"the route distinguisher {rds[pe]} is taken by {{by}}",
                    f"every endpoint has its own: {_TAKE_ANOTHER}",
                )
            else:
                self.needs.append(
                    Need(
                        f"{self.file.vpn}/{site.name}/{pe}",
                        (self.view.rds[pe],),
                        self.reading.place(*loc),
                        self.reading.node(*loc).path,
                        f"no route distinguisher is left at {pe}",
                        "write `rd:` here",
                    )
                )
        return rds

    def ve_ids(self, loc: tuple[Step, ...], entry: SiteOfVpnEntry, site: Site) -> dict[str, int]:
        if self.file.service is not Service.VPLS:
            if entry.ve_id is not None:
                self._report(
                    (*loc, "ve_id"),
                    f"an {self.file.service.value} has no VE-ID",
                    "take the key out; VE-IDs belong to `service: vpls`",
                    key=True,
                )
            return {}
        space = f"ve-id/{self.file.vpn}"
        ve_ids = self._per_pe((*loc, "ve_id"), entry.ve_id, site)
        for pe in site.pes:
            if pe in ve_ids:
                self._claim(
                    (*loc, "ve_id", pe),
                    space,
                    ve_ids[pe],
                    f"{site.name} at {pe}",
                    f"VE-ID {ve_ids[pe]} is taken by {{by}}",
                    f"it must be unique in the VPN: {_TAKE_ANOTHER}",
                )
            else:
                self.needs.append(
                    Need(
                        f"{self.file.vpn}/{site.name}/{pe}",
                        (Pool(space, space, 1, MAX_ALLOCATED_VE_ID, dense=True),),
                        self.reading.place(*loc),
                        self.reading.node(*loc).path,
                        f"no VE-ID is left in {self.file.vpn}",
                        "retract a site",
                    )
                )
        return ve_ids

    def _per_pe(
        self, loc: tuple[Step, ...], values: Mapping[str, T] | None, site: Site
    ) -> dict[str, T]:
        """Values by PE, of a key that takes one value where there is one PE."""
        known = {}
        for pe, value in (values or {}).items():
            if pe in site.pes:
                known[pe] = value
            elif pe == EVERY_PE and len(site.pes) == 1:
                known[site.pes[0]] = value
            elif pe == EVERY_PE and site.pes:
                self._report(
                    loc,
                    f"{site.name} has {len(site.pes)} PEs, which need a value each",
                    f"write {{{', '.join(f'{name}: ..' for name in site.pes)}}}",
                )
            elif site.pes:
                self._report(
                    (*loc, pe),
                    f"{pe!r} is no PE of {site.name}{suggestion(pe, site.pes)}",
                    choices(site.pes, f"PEs of {site.name}"),
                    key=True,
                )
        return known

    def vni(self) -> int | None:
        places: list[tuple[tuple[Step, ...], int]] = []
        if self.file.vni is not None:
            places.append((("vni",), self.file.vni))
        for index, entry in enumerate(self.file.sites):
            if entry.vni is not None:
                places.append((("sites", index, "vni"), entry.vni))
        if self.file.service is Service.VPLS:
            for loc, _ in places:
                self._report(
                    loc,
                    "a vpls has no VNI",
                    "take the key out; a VNI belongs to `service: evpn`",
                    key=True,
                )
            return None
        if not places:
            if self.file.service is Service.EVPN:
                self.needs.append(
                    Need(
                        self.file.vpn,
                        (self.view.vnis,),
                        self.reading.place("vpn"),
                        "vpn",
                        "no VNI is left in the pool",
                        f"widen controller.pools.vnis ({self.view.file}), or write `vni:` here",
                    )
                )
            return None
        (first_loc, vni), *others = places
        for loc, other in others:
            if other != vni:
                self._report(
                    loc,
                    f"VNI {other} differs from {vni} ({self.reading.place(*first_loc)})",
                    "a VPN has one VNI: write it once, at the top of the file",
                )
        self._claim(
            first_loc,
            VNI,
            vni,
            "",
            f"VNI {vni} is taken by {{by}}",
            _TAKE_ANOTHER,
        )
        return vni

    def _claim(
        self,
        loc: tuple[Step, ...],
        space: str,
        value: int | bytes,
        holder: str,
        message: str,
        hint: str,
        *,
        shared: bool = False,
    ) -> None:
        node = self.reading.node(*loc)
        self.claims.append(
            Claim(space, value, self.file.vpn, holder, node.place, node.path, message, hint, shared)
        )

    def _report(self, loc: tuple[Step, ...], message: str, hint: str, *, key: bool = False) -> None:
        self.mistakes.append(self.reading.mistake(loc, message, hint, key=key))
