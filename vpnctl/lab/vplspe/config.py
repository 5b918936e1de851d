"""A PE's YAML file to a checked `PeConfig`, every mistake with its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vpnctl.errors import PolicyError
from vpnctl.lab.vplspe.config_file import LONGEST_DEVICE, PeFile, VpnEntry
from vpnctl.lab.vplspe.labels import LabelBlock
from vpnctl.lab.vplspe.values import Neighbor, PeConfig, VpnAtPe
from vpnctl.ruleset.reading import Reading, read
from vpnctl.yamltree.mistake import Mistake
from vpnctl.yamltree.tree import DocumentError, Genre, parse

_BRIDGE = "vpls-"

_PE = Genre(
    "router_id: 10.0.0.1",
    "a PE (`router_id:`, `asn:`, `neighbors:`, `vpns:`)",
    "lab/README.md",
)


def read_config(file: str, content: bytes) -> PeConfig:
    """``file``: how mistakes name it.  Raises `PolicyError` with every mistake."""
    try:
        reading = read(PeFile, file, parse(file, content, _PE))
    except DocumentError as error:
        raise _error(error.mistakes) from error
    mistakes = list(reading.mistakes)
    if reading.model is not None:
        mistakes += _contradictions(reading, reading.model)
    if mistakes or reading.model is None:
        raise _error(tuple(mistakes))
    return _config(reading.model)


def _error(mistakes: tuple[Mistake, ...]) -> PolicyError:
    many = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    return PolicyError(f"{many}, the PE was not started", mistakes=mistakes)


def _contradictions(reading: Reading[PeFile], model: PeFile) -> Iterator[Mistake]:
    """What is right on its own and cannot be together."""
    if model.long_lived_graceful_restart and not model.graceful_restart:
        yield reading.mistake(
            ("long_lived_graceful_restart",),
            "long-lived graceful restart begins after a graceful one",
            "give `graceful_restart` some seconds, too",
        )
    addresses = set()
    for number, neighbor in enumerate(model.neighbors):
        if neighbor.address in addresses:
            yield reading.mistake(
                ("neighbors", number, "address"), f"{neighbor.address} is a neighbor already"
            )
        addresses.add(neighbor.address)
    owners: dict[str, str] = {}
    blocks: dict[str, LabelBlock] = {}
    for number, vpn in enumerate(model.vpns):
        if vpn.vpn in blocks:
            yield reading.mistake(("vpns", number, "vpn"), f"there is a VPN {vpn.vpn} already")
            continue
        for key, what in _names(vpn):
            owner = owners.setdefault(what, vpn.vpn)
            if owner != vpn.vpn:
                yield reading.mistake(
                    ("vpns", number, key), f"{what} is taken by {owner}", "choose another"
                )
        if len(_bridge(vpn)) > LONGEST_DEVICE:
            yield reading.mistake(
                ("vpns", number, "vpn"),
                f"its bridge would be called {_bridge(vpn)}, in more than {LONGEST_DEVICE} octets",
                "name one with `bridge: vpls-1`, say",
            )
        yield from _labels(reading, number, _block(vpn), blocks)
        blocks[vpn.vpn] = _block(vpn)


def _names(vpn: VpnEntry) -> Iterator[tuple[str, str]]:
    """What no other VPN of the PE can have, too, each with its key."""
    yield "rd", f"route distinguisher {vpn.rd}"
    yield "bridge" if vpn.bridge else "vpn", f"bridge {_bridge(vpn)}"
    for interface in vpn.interfaces:
        vlan = "" if vpn.vlan is None else f", VLAN {vpn.vlan}"
        yield "interfaces", f"interface {interface}{vlan}"


def _labels(
    reading: Reading[PeFile], number: int, block: LabelBlock, others: Mapping[str, LabelBlock]
) -> Iterator[Mistake]:
    loc = ("vpns", number, "labels")
    if block.mistake:
        yield reading.mistake(loc, block.mistake, "choose a lower base")
    for owner, other in others.items():
        if block.overlaps(other):
            yield reading.mistake(
                loc,
                f"labels {_span(block.labels)} overlap with {owner}'s {_span(other.labels)}",
                "frames of two customers could not be told apart: choose another base",
            )


def _span(labels: range) -> str:
    return f"{labels.start}-{labels.stop - 1}"


def _block(vpn: VpnEntry) -> LabelBlock:
    return LabelBlock(vpn.labels.base, vpn.labels.offset, vpn.labels.size)


def _bridge(vpn: VpnEntry) -> str:
    return vpn.bridge or f"{_BRIDGE}{vpn.vpn}"


def _config(model: PeFile) -> PeConfig:
    return PeConfig(
        router_id=model.router_id,
        address=model.address or model.router_id,
        asn=model.asn,
        hold_time=model.hold_time,
        restart_time=model.graceful_restart,
        long_lived_time=model.long_lived_graceful_restart,
        neighbors=tuple(
            Neighbor(one.address, one.asn, one.port, one.passive) for one in model.neighbors
        ),
        underlay=tuple(model.underlay or ()),
        vpns=tuple(
            VpnAtPe(
                name=vpn.vpn,
                rd=vpn.rd,
                imports=frozenset(vpn.targets.import_),
                exports=tuple(vpn.targets.export),
                ve_id=vpn.ve_id,
                block=_block(vpn),
                bridge=_bridge(vpn),
                interfaces=tuple(vpn.interfaces),
                vlan=vpn.vlan,
                mtu=vpn.mtu,
            )
            for vpn in model.vpns
        ),
    )
