"""The shape of a VPN's file: every file of the directory but ``network.yaml``."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from vpnctl.ruleset.access_file import AccessEntry, Prefix
from vpnctl.ruleset.shape import OneOrMore, PerPe, Shape
from vpnctl.ruleset.values import (
    NAME_SCHEMA,
    PAIR_SCHEMA,
    Name,
    Rd,
    ServiceName,
    Target,
    Text,
    VeId,
    Vlan,
    Vni,
    mistake,
    one_of,
)


class TargetsEntry(Shape):
    """Route targets by direction; a direction that is left out is the same as the other."""

    short_form: ClassVar[tuple[dict[str, Any], ...]] = (
        PAIR_SCHEMA,
        {"type": "array", "items": PAIR_SCHEMA, "minItems": 1},
    )

    export: OneOrMore[Target] | None = Field(
        None,
        description="Targets with which the PE announces the site's routes.",
        examples=["65000:2214"],
    )
    import_: OneOrMore[Target] | None = Field(
        None,
        alias="import",
        description="Targets that the PE imports into the site's VRF.",
        examples=["65000:2214"],
    )

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, value: object) -> object:
        if isinstance(value, str | list):
            return {"export": value, "import": value}
        if value == {}:
            raise mistake("names neither export nor import", "write one, or take the key out")
        return value


class SiteOfVpnEntry(Shape):
    """A site of the VPN: its name alone, or a mapping where some number matters."""

    short_form: ClassVar[tuple[dict[str, Any], ...]] = (NAME_SCHEMA,)

    site: Name = Field(description="Name of the site in `network.yaml`.", examples=["cloud1"])
    targets: TargetsEntry | None = Field(
        None,
        description="Route targets: one, a list, or `{export, import}`; default the VPN's, else "
        "one is allocated for the site.",
        examples=["65000:2214"],
    )
    vlan: Vlan | None = Field(
        None,
        description="VLAN at the port of every PE of the site, or `OUTER/INNER` for two tags; "
        "default allocated at cloud sites, none at enterprise sites.",
        examples=[214],
    )
    vni: Vni | None = Field(
        None,
        description="VNI; must be the same at every site of an EVPN VPN.",
        examples=[10214],
    )
    rd: PerPe[Rd] | None = Field(
        None,
        description="Route distinguisher; a mapping PE to value where the site has several PEs.  "
        "Default allocated as `PE-ADDRESS:N`.",
        examples=["10.0.0.1:100"],
    )
    ve_id: PerPe[VeId] | None = Field(
        None,
        description="VPLS edge identifier (RFC 4761), unique in the VPN; a mapping PE to value "
        "where the site has several PEs.  Default allocated.",
        examples=[3],
    )

    prefixes: OneOrMore[Prefix] | None = Field(
        None,
        description="The addresses of the customer's hosts there, for access rules.",
        examples=[["10.1.0.0/16", "2001:db8:1::/48"]],
    )

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, value: object) -> object:
        return {"site": value} if isinstance(value, str) else value


class HubAndSpokeEntry(Shape):
    """Hubs hear everybody, spokes hear the hubs only."""

    hubs: OneOrMore[Name] = Field(description="The sites that are hubs.", examples=[["e2-hq"]])


class LinkEntry(Shape):
    """A directed link (`from`, `to`) or sites that all hear each other (`between`)."""

    from_: Name | None = Field(
        None, alias="from", description="Site whose routes are heard.", examples=["cloud1"]
    )
    to: Name | None = Field(None, description="Site that hears them.", examples=["e1-hq"])
    between: list[Name] | None = Field(
        None,
        min_length=2,
        description="Two or more sites that all hear each other.",
        examples=[["e1-hq", "cloud1"]],
    )

    @model_validator(mode="after")
    def _one_form(self) -> LinkEntry:
        if (self.between is None) == (self.from_ is None or self.to is None) or (
            self.between is not None and (self.from_ is not None or self.to is not None)
        ):
            raise mistake(
                "must be either {from, to} or {between}",
                "write {from: a, to: b} for one direction, {between: [a, b]} for both",
            )
        return self


FULL_MESH = "full-mesh"


class TopologyEntry(Shape):
    """`full-mesh`, `{hub-and-spoke: {hubs: [..]}}` or `{links: [..]}`."""

    short_form: ClassVar[tuple[dict[str, Any], ...]] = ({"type": "string", "enum": [FULL_MESH]},)

    hub_and_spoke: HubAndSpokeEntry | None = Field(
        None, alias="hub-and-spoke", description="Hubs hear everybody, spokes hear the hubs only."
    )
    links: list[LinkEntry] | None = Field(
        None, min_length=1, description="Exactly these links and no others."
    )

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, value: object) -> object:
        if value == FULL_MESH:
            return {}
        if isinstance(value, str):
            raise mistake(
                f"no topology is called {value[:60]!r}",
                "write full-mesh, {hub-and-spoke: {hubs: [SITE]}} or "
                "{links: [{from: SITE, to: SITE}]}",
            )
        if isinstance(value, dict) and len(value) != 1:
            raise mistake("must name one topology", "write either hub-and-spoke or links")
        return value

    @property
    def name(self) -> str:
        """``full-mesh``, ``hub-and-spoke`` or ``links``."""
        if self.hub_and_spoke is not None:
            return "hub-and-spoke"
        return FULL_MESH if self.links is None else "links"


Direction = Annotated[str, *one_of(("both", "to", "from"), "direction", "directions")]


class ExtranetEntry(Shape):
    """Routes exchanged with another VPN; either VPN's file may say so."""

    to: Name = Field(description="The other VPN.", examples=["shared-dns"])
    sites: OneOrMore[Name] | None = Field(
        None,
        description="Sites of this VPN that take part; default all.",
        examples=[["cloud1"]],
    )
    direction: Direction = Field(
        "both",
        description="`to`: our routes are heard there; `from`: theirs are heard here; `both`.",
        examples=["both"],
    )


class VpnFile(Shape):
    """One customer's VPN."""

    vpn: Name = Field(description="Name of the VPN, unique in the directory.", examples=["E1"])
    service: ServiceName = Field(
        description="`vpls` (RFC 4761), `evpn` (RFC 7432) or `l3vpn` (RFC 4364).",
        examples=["vpls"],
    )
    sites: list[SiteOfVpnEntry] = Field(
        min_length=1,
        description="The sites of the VPN, by name or as a mapping.",
        examples=[["e1-hq", "cloud1"]],
    )
    topology: TopologyEntry = Field(
        default_factory=lambda: TopologyEntry.model_validate(FULL_MESH),
        description="Which sites hear which; default `full-mesh`.",
        examples=["full-mesh"],
    )
    targets: TargetsEntry | None = Field(
        None,
        description="Route targets of every site that gives none of its own.",
        examples=["65000:100"],
    )
    vni: Vni | None = Field(
        None, description="VNI of an EVPN VPN; default allocated.", examples=[10214]
    )
    extranet: list[ExtranetEntry] = Field(
        default_factory=list, description="Other VPNs with which routes are exchanged."
    )
    access: list[AccessEntry] = Field(
        default_factory=list,
        description="Access rules, as Flowspec to the PEs; a packet is compared with them in "
        "this order.",
    )
    description: Text = Field(
        "", description="Anything worth knowing; shown, not interpreted.", examples=["Example Ltd"]
    )
