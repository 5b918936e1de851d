"""From ``network.yaml`` to a `Network`, with what the VPN files need to know of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vpnctl.model import (
    VPNV4,
    VPNV6,
    AddPath,
    Controller,
    Family,
    Listen,
    Network,
    Pe,
    Place,
    Pools,
    RouteDistinguisher,
    RouteTarget,
    Site,
)
from vpnctl.model.family import FLOW_VPN4, FLOW_VPN6
from vpnctl.ruleset.allocation import Pool
from vpnctl.ruleset.claims import RD, ROUTE_TARGET, VNI
from vpnctl.ruleset.guard import guard_of
from vpnctl.ruleset.network_file import PLATFORMS, ControllerEntry, NetworkFile, PeEntry
from vpnctl.ruleset.reading import Reading, read
from vpnctl.ruleset.shape import POLICY
from vpnctl.ruleset.values import MAX_VLAN
from vpnctl.yamltree.mistake import Mistake, choices, suggestion
from vpnctl.yamltree.tree import DocumentError, parse, parse_text

#: File names that mean the network and not a VPN.
NETWORK_FILES = ("network.yaml", "network.yml")


def is_network(path: str) -> bool:
    """Whether a policy file of this name describes the network."""
    return path.rsplit("/", 1)[-1] in NETWORK_FILES


_STAND_IN = parse_text(
    "network.yaml",
    "{asn: 64999, router_id: 192.0.2.1, listen: [192.0.2.1, '2001:db8::1'],"
    " pools: {vlans: 1-4094, vnis: 1-16777215}}",
    POLICY,
)
_MAX_RD_NUMBER = {0: 0xFFFFFFFF, 1: 0xFFFF, 2: 0xFFFF}


@dataclass(frozen=True, slots=True, eq=False)
class NetworkView:
    """The network as the VPN files see it.

    ``lost`` names what had mistakes of its own (``sites.cloud1``), about which nothing more is
    said.  ``prefixes`` finds the pool from which an explicit route target or distinguisher could
    have been allocated: by space and by its octets before the number.
    """

    file: str
    network: Network
    site_places: Mapping[str, Place]
    pe_places: Mapping[str, Place]
    lost: frozenset[str]
    route_targets: Pool
    vnis: Pool
    rds: Mapping[str, Pool]
    prefixes: Mapping[tuple[str, bytes], str]

    def pool_of(self, space: str, value: object) -> tuple[str, int] | None:
        """The pool and number as which a claimed value could have been allocated."""
        if isinstance(value, int):
            return space, value
        if isinstance(value, bytes):
            for width in (4, 6):
                pool = self.prefixes.get((space, value[:width]))
                if pool is not None:
                    return pool, int.from_bytes(value[width:], "big")
        return None


def read_network(file: str, content: bytes) -> tuple[NetworkView | None, list[Mistake]]:
    """The network of a file, and every mistake in it.

    There is a view wherever enough is left to check VPN files against it.
    """
    try:
        root = parse(file, content, POLICY)
    except DocumentError as error:
        return None, list(error.mistakes)
    reading = read(NetworkFile, file, root, {"controller": _STAND_IN})
    mistakes = list(reading.mistakes)
    if reading.model is None:
        return None, mistakes
    listens = _listens(reading, mistakes)
    pes = _pes(reading, listens, mistakes)
    _check_logins(reading, pes, mistakes)
    sites = _sites(reading, pes, mistakes)
    return _view(reading, reading.model, listens, pes, sites), mistakes


def _listens(reading: Reading[NetworkFile], mistakes: list[Mistake]) -> tuple[Listen, ...]:
    assert reading.model is not None
    entries = reading.model.controller.listen
    for index, listen in enumerate(entries):
        if listen in entries[:index]:
            mistakes.append(
                reading.mistake(
                    ("controller", "listen", index), f"{listen} stands here twice", "keep one"
                )
            )
    return tuple(dict.fromkeys(entries))


def _pes(
    reading: Reading[NetworkFile], listens: tuple[Listen, ...], mistakes: list[Mistake]
) -> dict[str, Pe]:
    assert reading.model is not None
    controller = reading.model.controller
    known = "controller" not in reading.lost
    first_at: dict[object, str] = {}
    pes = {}
    for name, entry in reading.model.pes.items():
        loc = ("pes", name, "address")
        other = first_at.setdefault(entry.address, name)
        if other != name:
            mistakes.append(
                reading.mistake(
                    loc,
                    f"{entry.address} is the address of {other} already "
                    f"({reading.place('pes', other, 'address')})",
                    "every PE needs an address of its own",
                )
            )
        if known and any(entry.address == listen.address for listen in listens):
            mistakes.append(
                reading.mistake(
                    loc,
                    f"{entry.address} is an address of the controller "
                    f"({reading.place('controller', 'listen')})",
                    "give the PE an address of its own",
                )
            )
        listen = _listen_of(reading, name, entry, listens, mistakes) if known else listens[0]
        families = _families(reading, name, entry, mistakes)
        pes[name] = Pe(
            name=name,
            address=entry.address,
            asn=controller.asn if entry.asn is None else entry.asn,
            platform=entry.platform,
            families=families,
            listen=listen,
            port=entry.port,
            vlans=_vlans(reading, name, entry),
            bgp_port=entry.bgp_port,
            passive=entry.passive,
            hold_time=entry.hold_time,
            rt_constraint=entry.rt_constraint,
            drain=entry.drain,
            add_path=_add_path(reading, name, entry, families, mistakes),
            flow_routes=_flow_routes(reading, name, entry, families, mistakes),
            graceful_restart=entry.graceful_restart,
            long_lived_graceful_restart=entry.long_lived_graceful_restart,
            stale_routes=_stale_routes(reading, name, entry, controller, mistakes),
            guard=guard_of(entry.guard, controller.guard, name, entry.address),
            netconf=None if entry.netconf is None else entry.netconf.model,
            frr=None if entry.frr is None else entry.frr.model,
            outer_vlans=_outer_vlans(reading, name, entry, mistakes),
            place=reading.place("pes", name),
        )
    return pes


def _stale_routes(
    reading: Reading[NetworkFile],
    name: str,
    entry: PeEntry,
    controller: ControllerEntry,
    mistakes: list[Mistake],
) -> bool:
    if entry.stale_routes and entry.asn not in (None, controller.asn):
        message = f"{name} is of AS {entry.asn}, and LOCAL_PREF 0 would not get there"
        hint = "leave it out; a PE of another AS is sent such routes if it offers to take them"
        mistakes.append(reading.mistake(("pes", name, "stale_routes"), message, hint))
    return entry.stale_routes


def _add_path(
    reading: Reading[NetworkFile],
    name: str,
    entry: PeEntry,
    families: frozenset[Family],
    mistakes: list[Mistake],
) -> AddPath:
    if entry.add_path is None:
        return AddPath()
    if not families & {VPNV4, VPNV6}:
        spoken = ", ".join(str(family) for family in sorted(families))
        message = f"{name} speaks {spoken}, and there is one path to a destination in these"
        hint = "leave it out, or give the PE the family vpnv4 or vpnv6"
        mistakes.append(reading.mistake(("pes", name, "add_path"), message, hint))
    return AddPath(entry.add_path.send, entry.add_path.receive)


def _families(
    reading: Reading[NetworkFile], name: str, entry: PeEntry, mistakes: list[Mistake]
) -> frozenset[Family]:
    """Those that the entry names, or those of its platform."""
    if entry.families:
        return frozenset(entry.families)
    known = PLATFORMS.get(entry.platform)
    if known is not None:
        return known
    if f"pes.{name}.families" not in reading.lost:
        mistakes.append(
            reading.mistake(
                ("pes", name, "platform"),
                f"no platform is called {entry.platform!r}{suggestion(entry.platform, PLATFORMS)}",
                f"{choices(PLATFORMS, 'platforms')}; one of your own needs `families:` here",
            )
        )
    return PLATFORMS["generic"]


def _flow_routes(
    reading: Reading[NetworkFile],
    name: str,
    entry: PeEntry,
    families: frozenset[Family],
    mistakes: list[Mistake],
) -> bool:
    """Whether the PE's own flow routes are taken, which it must be able to announce."""
    if entry.flow_routes and not families & {FLOW_VPN4, FLOW_VPN6}:
        mistakes.append(
            reading.mistake(
                ("pes", name, "flow_routes"),
                f"{name} speaks neither {FLOW_VPN4} nor {FLOW_VPN6}, so it can announce none",
                f"add one to its `families`, as in `families: [vpnv4, {FLOW_VPN4}]`",
            )
        )
    return entry.flow_routes


def _check_logins(
    reading: Reading[NetworkFile], pes: Mapping[str, Pe], mistakes: list[Mistake]
) -> None:
    """One way to configure a PE, and one PE for each configuration."""
    first_at: dict[object, str] = {}
    for name, pe in pes.items():
        if pe.netconf is None:
            continue
        if pe.frr is not None:
            mistakes.append(
                reading.mistake(
                    ("pes", name, "frr"), "the PE has `netconf` already", "keep one", key=True
                )
            )
        address = pe.netconf.address or pe.address
        other = first_at.setdefault((address, pe.netconf.port), name)
        if other != name:
            mistakes.append(
                reading.mistake(
                    ("pes", name, "netconf"),
                    f"{address} port {pe.netconf.port} is that of {other} already "
                    f"({reading.place('pes', other, 'netconf')})",
                    "a router's configuration is changed for one PE at a time: make them one PE",
                )
            )


def _outer_vlans(
    reading: Reading[NetworkFile], name: str, entry: PeEntry, mistakes: list[Mistake]
) -> tuple[int, int] | None:
    assert reading.model is not None
    outer = entry.outer_vlans or reading.model.controller.pools.outer_vlans
    first, last = _vlans(reading, name, entry)
    if outer is not None and first <= outer[1] and outer[0] <= last:
        own = ("pes", name, "outer_vlans")
        mistakes.append(
            reading.mistake(
                own if entry.outer_vlans else ("controller", "pools", "outer_vlans"),
                f"the outer tags {outer[0]}-{outer[1]} are among the VLANs {first}-{last} of "
                f"{name} too",
                "a tag is either a VLAN or has VLANs inside: take others",
            )
        )
    return outer


def _vlans(reading: Reading[NetworkFile], name: str, entry: PeEntry) -> tuple[int, int]:
    assert reading.model is not None
    if entry.vlans is not None:
        return entry.vlans
    if {f"pes.{name}.vlans", "controller.pools", "controller.pools.vlans"} & reading.lost:
        return 1, MAX_VLAN
    return reading.model.controller.pools.vlans


def _listen_of(
    reading: Reading[NetworkFile],
    name: str,
    entry: PeEntry,
    listens: tuple[Listen, ...],
    mistakes: list[Mistake],
) -> Listen:
    """The controller's end of the PE's session."""
    version = entry.address.version
    usable = [listen for listen in listens if listen.address.version == version]
    if not usable:
        mistakes.append(
            reading.mistake(
                ("pes", name, "address"),
                f"the controller listens on no IPv{version} address "
                f"({reading.place('controller', 'listen')})",
                f"add one to controller.listen, or give the PE an IPv{4 if version == 6 else 6} "
                "address",
            )
        )
        return listens[0]
    local = entry.local
    if local is None:
        return usable[0]
    named = [listen for listen in usable if listen == local] or [
        # The port may be left out where the address says enough.
        listen
        for listen in usable
        if listen.address == local.address and local.port == Listen(local.address).port
    ]
    if not named:
        mistakes.append(
            reading.mistake(
                ("pes", name, "local"),
                f"{local} is no IPv{version} entry of controller.listen",
                choices(map(str, usable), f"IPv{version} entries"),
            )
        )
        return usable[0]
    return named[0]


def _sites(
    reading: Reading[NetworkFile], pes: Mapping[str, Pe], mistakes: list[Mistake]
) -> dict[str, Site]:
    assert reading.model is not None
    sites = {}
    for name, entry in reading.model.sites.items():
        kept = []
        for index, pe in enumerate(entry.pes):
            loc = ("sites", name, "pes", index)
            if pe in kept:
                mistakes.append(reading.mistake(loc, f"{pe} stands here twice", "keep one"))
            elif pe in pes:
                kept.append(pe)
            elif f"pes.{pe}" not in reading.lost:
                mistakes.append(
                    reading.mistake(
                        loc, f"no PE is called {pe!r}{suggestion(pe, pes)}", choices(pes, "PEs")
                    )
                )
        sites[name] = Site(name, entry.kind, tuple(kept))
    return sites


def _view(
    reading: Reading[NetworkFile],
    model: NetworkFile,
    listens: tuple[Listen, ...],
    pes: dict[str, Pe],
    sites: dict[str, Site],
) -> NetworkView:
    entry = model.controller
    administrator, first, last = entry.pools.route_targets or (str(entry.asn), 100, 9999)
    octets = RouteTarget.parse(f"{administrator}:{last}").octets
    targets = Pool(ROUTE_TARGET, ROUTE_TARGET, first, last, _prefix(octets, octets[0]))
    rds = {name: _rd_pool(pe, entry.asn) for name, pe in pes.items()}
    prefixes = {(RD, pool.prefix): pool.name for pool in rds.values()}
    prefixes[ROUTE_TARGET, targets.prefix] = ROUTE_TARGET
    return NetworkView(
        file=reading.file,
        network=Network(
            Controller(
                entry.asn,
                entry.router_id,
                listens,
                Pools(
                    (administrator, first, last),
                    entry.pools.vlans,
                    entry.pools.vnis,
                    entry.pools.outer_vlans,
                ),
            ),
            sites,
            pes,
        ),
        site_places={name: reading.place("sites", name) for name in sites},
        pe_places={name: reading.place("pes", name) for name in pes},
        lost=reading.lost,
        route_targets=targets,
        vnis=Pool(VNI, VNI, *entry.pools.vnis),
        rds=rds,
        prefixes=prefixes,
    )


def _rd_pool(pe: Pe, asn: int) -> Pool:
    """Type 1 distinguishers of the PE (RFC 4364 section 4.2); an IPv6 address does not fit."""
    if pe.address.version == 4:
        name, octets = f"{RD}/{pe.name}", RouteDistinguisher.parse(f"{pe.address}:0").octets
    else:
        name, octets = RD, RouteDistinguisher.parse(f"{asn}:0").octets
    kind = octets[1]
    return Pool(name, RD, 1, _MAX_RD_NUMBER[kind], _prefix(octets, kind))


def _prefix(octets: bytes, kind: int) -> bytes:
    """The octets before the number: 4 octets are left for it in type 0, else 2 (RFC 4360)."""
    return octets[:4] if kind == 0 else octets[:6]
