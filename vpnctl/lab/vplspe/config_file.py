"""The shape of a PE's YAML file; the package says what it looks like as a whole."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Any

from annotated_types import MinLen
from pydantic import Field, model_validator

from vpnctl.lab.vplspe.labels import FIRST_LABEL, LAST_LABEL
from vpnctl.ruleset.shape import OneOrMore, Shape
from vpnctl.ruleset.values import (
    Asn,
    Flag,
    HoldTime,
    LongLivedTime,
    Name,
    Port,
    Rd,
    RestartTime,
    RouterId,
    Target,
    VeId,
    Vlan,
    leaf,
    mistake,
    parse_address,
    whole_number,
)
from vpnctl.yamltree.mistake import quote

#: Octets of a device's name (IFNAMSIZ without its NUL).
LONGEST_DEVICE = 15


def _device(written: str) -> str:
    if not 0 < len(written.encode()) <= LONGEST_DEVICE or set(written) & set("/: \t"):
        raise mistake(
            f"{quote(written)} is no device name",
            f"a device name has 1 to {LONGEST_DEVICE} octets and no space, / or :",
        )
    return written


def _address(written: str) -> IPv4Address:
    address = parse_address(written)
    if not isinstance(address, IPv4Address):
        raise mistake(f"{written} is no IPv4 address", "a PE of the lab speaks IPv4 only")
    return address


def _prefix(written: str) -> IPv4Network:
    try:
        return IPv4Network(written)
    except ValueError as error:
        raise mistake(
            f"{quote(written)} is no IPv4 prefix: {error}", "write one like 10.0.0.0/24"
        ) from None


def _number(first: int, last: int, what: str) -> tuple[Any, Any]:
    return leaf(
        lambda written: whole_number(written, first, last, what),
        {"type": "integer", "minimum": first, "maximum": last},
    )


Device = Annotated[str, *leaf(_device, {"type": "string"})]
Address4 = Annotated[IPv4Address, *leaf(_address, {"type": "string", "format": "ipv4"})]
Prefix4 = Annotated[IPv4Network, *leaf(_prefix, {"type": "string"})]
Label = Annotated[int, *_number(FIRST_LABEL, LAST_LABEL, "label")]
BlockSize = Annotated[int, *_number(1, 4096, "block size")]
Mtu = Annotated[int, *_number(576, 9216, "MTU")]


class NeighborEntry(Shape):
    """A route server."""

    address: Address4 = Field(examples=["10.0.0.100"])
    asn: Asn = Field(examples=[65000])
    port: Port = Field(179, description="Its TCP port, or ours where it is `passive`.")
    passive: Flag = Field(False, description="It connects to us.")


class TargetsEntry(Shape):
    """``65000:101`` for both directions, or each on its own."""

    short_form = ({"type": "string"},)

    import_: OneOrMore[Target] = Field(alias="import", examples=[["65000:101"]])
    export: OneOrMore[Target] = Field(examples=[["65000:101"]])

    @model_validator(mode="before")
    @classmethod
    def _long(cls, value: object) -> object:
        if isinstance(value, str | list):
            return {"import": value, "export": value}
        return value


class LabelsEntry(Shape):
    """The label block: one label for each VE-ID from ``offset`` on."""

    base: Label = Field(examples=[1000])
    offset: VeId = Field(1)
    size: BlockSize = Field(8)


class VpnEntry(Shape):
    """A VPN at this PE."""

    vpn: Name = Field(examples=["E1"])
    rd: Rd = Field(examples=["10.0.0.1:1"])
    targets: TargetsEntry = Field(examples=["65000:101"])
    ve_id: VeId = Field(examples=[1])
    labels: LabelsEntry = Field(examples=["{base: 1000}"])
    bridge: Device | None = None
    interfaces: OneOrMore[Device] = Field(examples=[["eth1"]])
    vlan: Vlan | None = None
    mtu: Mtu = 1500


class PeFile(Shape):
    """A PE."""

    router_id: RouterId = Field(examples=["10.0.0.1"])
    address: Address4 | None = None
    asn: Asn = Field(examples=[65000])
    hold_time: HoldTime = 90
    graceful_restart: RestartTime = 0
    long_lived_graceful_restart: LongLivedTime = 0
    neighbors: Annotated[list[NeighborEntry], MinLen(1)] = Field(
        examples=[["{address: 10.0.0.100, asn: 65000}"]]
    )
    underlay: OneOrMore[Prefix4] | None = None
    vpns: list[VpnEntry] = Field(examples=[["{vpn: E1, ...}"]])
