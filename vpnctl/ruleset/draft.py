"""A VPN's file checked against the network: everything but the numbers to be allocated."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

from vpnctl.model import (
    Pe,
    Place,
    RouteDistinguisher,
    RouteTarget,
    Service,
    Site,
    SiteOfVpn,
)
from vpnctl.ruleset import connectivity
from vpnctl.ruleset.access import Access, access
from vpnctl.ruleset.allocation import Need
from vpnctl.ruleset.claims import Claim
from vpnctl.ruleset.connectivity import Link
from vpnctl.ruleset.network import NetworkView
from vpnctl.ruleset.numbers import Numbers
from vpnctl.ruleset.reading import Reading, Step
from vpnctl.ruleset.vpn_file import SiteOfVpnEntry, VpnFile
from vpnctl.yamltree.mistake import MOST_SUGGESTIONS, Mistake, choices, suggestion
from vpnctl.yamltree.tree import Mapping as MappingNode
from vpnctl.yamltree.tree import Scalar

#: Links of one VPN: a full mesh of a thousand sites.  They grow as the square of the sites.
MOST_LINKS = 1_000_000


@dataclass(frozen=True, slots=True)
class Member:
    """A site of the VPN.  What is `None` or empty is to be allocated, or does not apply.

    ``rds`` and ``ve_ids`` are by PE.
    """

    site: str
    pes: tuple[str, ...]
    place: Place
    export_targets: tuple[RouteTarget, ...]
    import_targets: tuple[RouteTarget, ...]
    vlan: int | None
    rds: Mapping[str, RouteDistinguisher]
    ve_ids: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Extranet:
    """Routes exchanged with the VPN ``to``: ``sends`` ours there, ``hears`` theirs here."""

    to: str
    sites: tuple[str, ...]
    sends: bool
    hears: bool
    place: Place
    path: str


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """A VPN as its file has it, with its claims to explicit numbers and its needs of others."""

    name: str
    service: Service
    topology: str
    place: Place
    members: tuple[Member, ...]
    vni: int | None
    links: frozenset[Link]
    extranets: tuple[Extranet, ...]
    claims: tuple[Claim, ...]
    needs: tuple[Need, ...]
    access: Access

    @property
    def partners(self) -> frozenset[str]:
        """VPNs with which this one's file declares an extranet."""
        return frozenset(extranet.to for extranet in self.extranets)

    def nodes(self, sites: Iterable[str] | None = None) -> list[SiteOfVpn]:
        """Nodes of the connectivity graph: of ``sites``, or of every site."""
        chosen = (member.site for member in self.members) if sites is None else sites
        return [SiteOfVpn(self.name, site) for site in chosen]


def name_in(root: MappingNode) -> str | None:
    """The VPN's name as it is written, for a file from which no draft can be made."""
    entry = root.entries.get("vpn")
    return entry[1].text if entry is not None and isinstance(entry[1], Scalar) else None


def draft(
    reading: Reading[VpnFile], view: NetworkView, former: Draft | None = None
) -> tuple[Draft, list[Mistake]]:
    """The VPN of a file whose shape is right, and everything that is wrong with it on its own.

    ``former``: what an earlier version of the file gave on the same network; a full mesh of the
    same sites is not worked out again.
    """
    return _Drafting(reading, view, former).run()


class _Drafting:
    """The work on one file; mistakes are collected on the way."""

    def __init__(self, reading: Reading[VpnFile], view: NetworkView, former: Draft | None) -> None:
        assert reading.model is not None
        self.file: VpnFile = reading.model
        self.former = former
        self.reading = reading
        self.view = view
        self.numbers = Numbers(reading, view)
        self.mistakes: list[Mistake] = []
        #: Where each site stands first.
        self._sites: dict[str, int] = {}
        for index, entry in enumerate(self.file.sites):
            self._sites.setdefault(entry.site, index)

    def run(self) -> tuple[Draft, list[Mistake]]:
        members = self._members()
        vni = self.numbers.vni()
        links = self._links()
        extranets = self._extranets()
        self._check_shared_targets(members, links, extranets)
        rules, wrong = access(self.reading, self.view)
        self.mistakes += wrong
        result = Draft(
            name=self.file.vpn,
            service=self.file.service,
            topology=self.file.topology.name,
            place=self.reading.place("vpn"),
            members=members,
            vni=vni,
            links=links,
            extranets=extranets,
            claims=(*self.numbers.claims, *rules.claims),
            needs=tuple(self.numbers.needs),
            access=rules,
        )
        return result, self.mistakes + self.numbers.mistakes

    def _report(self, loc: tuple[Step, ...], message: str, hint: str) -> None:
        self.mistakes.append(self.reading.mistake(loc, message, hint))

    def _suggestion(self, wrong: str, right: Collection[str]) -> str:
        """See `suggestion`; none any more in a file with so many mistakes that nobody reads on."""
        return suggestion(wrong, right) if len(self.mistakes) < MOST_SUGGESTIONS else ""

    # -- sites --

    def _members(self) -> tuple[Member, ...]:
        members: dict[str, Member] = {}
        for index, entry in enumerate(self.file.sites):
            loc: tuple[Step, ...] = ("sites", index)
            if entry.site in members:
                first = members[entry.site].place
                self._report(
                    (*loc, "site"), f"{entry.site} stands here twice, first at {first}", "keep one"
                )
                continue
            site = self.view.network.sites.get(entry.site)
            if site is None:
                self._unknown_site((*loc, "site"), entry.site)
                site = Site(entry.site, "enterprise", ())
            members[entry.site] = self._member(loc, entry, site)
        return tuple(members.values())

    def _unknown_site(self, loc: tuple[Step, ...], name: str) -> None:
        if f"sites.{name}" not in self.view.lost:
            sites = self.view.network.sites
            self._report(
                loc,
                f"no site is called {name!r}{self._suggestion(name, sites)}",
                f"{choices(sites, 'sites')} ({self.view.file})",
            )

    def _member(self, loc: tuple[Step, ...], entry: SiteOfVpnEntry, site: Site) -> Member:
        pes = [self.view.network.pes[name] for name in site.pes]
        for pe in pes:
            self._check_families(loc, pe)
        export, import_ = self.numbers.targets(loc, entry, site)
        self.numbers.vlan(loc, entry, site, pes)
        return Member(
            site=site.name,
            pes=site.pes,
            place=self.reading.place(*loc),
            export_targets=export,
            import_targets=import_,
            vlan=entry.vlan,
            rds=self.numbers.rds(loc, entry, site),
            ve_ids=self.numbers.ve_ids(loc, entry, site),
        )

    def _check_families(self, loc: tuple[Step, ...], pe: Pe) -> None:
        service = self.file.service
        if pe.families & service.families:
            return
        spoken = ", ".join(sorted(str(family) for family in pe.families))
        wanted = " or ".join(sorted(str(family) for family in service.families))
        self._report(
            (*loc, "site"),
            f"{pe.name} speaks {spoken}, which carries no {service.value}",
            f"add {wanted} to pes.{pe.name}.families ({self.view.pe_places[pe.name]}), or leave "
            "the site out",
        )

    # -- who hears whom --

    def _node(self, loc: tuple[Step, ...], site: str, what: str) -> SiteOfVpn | None:
        """The node of a site that is named at ``loc`` and must be a member."""
        members = self._sites
        if site in members:
            return SiteOfVpn(self.file.vpn, site)
        if not any(path.startswith("sites") for path in self.reading.lost):
            self._report(
                loc,
                f"{what} {site!r} is no site of {self.file.vpn}{self._suggestion(site, members)}",
                f"add it to `sites`, or take it out here; {choices(members, 'sites')}",
            )
        return None

    def _links(self) -> frozenset[Link]:
        topology = self.file.topology
        # A site that the network does not have is a mistake already, and links grow as the square.
        known = self.view.network.sites
        nodes = [SiteOfVpn(self.file.vpn, site) for site in self._sites if site in known]
        if topology.hub_and_spoke is not None:
            named = [
                self._node(("topology", "hub-and-spoke", "hubs", index), hub, "the hub")
                for index, hub in enumerate(topology.hub_and_spoke.hubs)
            ]
            hubs = [hub for hub in dict.fromkeys(named) if hub is not None and hub.site in known]
            if self._too_many(2 * len(hubs) * len(nodes), "these hubs"):
                return frozenset()
            return connectivity.links(connectivity.hub_and_spoke(nodes, hubs))
        if topology.links is not None:
            return connectivity.links(connectivity.explicit(nodes, self._explicit_links()))
        if self._too_many(len(nodes) * (len(nodes) - 1), "a full mesh"):
            return frozenset()
        former = self.former
        if (
            former is not None
            and former.topology == topology.name
            and former.name == self.file.vpn
            and [member.site for member in former.members] == [node.site for node in nodes]
        ):
            return former.links
        return connectivity.links(connectivity.full_mesh(nodes))

    def _too_many(self, links: int, what: str) -> bool:
        if links <= MOST_LINKS:
            return False
        self._report(
            ("sites",),
            f"{what} of {len(self._sites)} sites would be {links} links; at most {MOST_LINKS} are"
            " kept",
            "write `topology: {hub-and-spoke: {hubs: [SITE]}}` with few hubs, or split the VPN",
        )
        return True

    def _explicit_links(self) -> list[Link]:
        pairs: list[Link] = []
        for index, link in enumerate(self.file.topology.links or ()):
            loc: tuple[Step, ...] = ("topology", "links", index)
            if link.between is not None:
                ends = [
                    self._node((*loc, "between", position), site, "the end")
                    for position, site in enumerate(link.between)
                ]
                nodes = [end for end in ends if end is not None]
                self._check_ends(loc, link.between)
                pairs += [(a, b) for a in nodes for b in nodes if a != b]
            elif link.from_ is not None and link.to is not None:
                speaker = self._node((*loc, "from"), link.from_, "the speaker")
                hearer = self._node((*loc, "to"), link.to, "the hearer")
                self._check_ends(loc, [link.from_, link.to])
                if speaker is not None and hearer is not None and speaker != hearer:
                    pairs.append((speaker, hearer))
        return pairs

    def _check_ends(self, loc: tuple[Step, ...], sites: list[str]) -> None:
        if len(set(sites)) < len(sites):
            self._report(
                loc,
                "a link of a site with itself",
                "name different sites; the PEs of one site always hear each other",
            )

    def _extranets(self) -> tuple[Extranet, ...]:
        extranets = []
        for index, entry in enumerate(self.file.extranet):
            loc: tuple[Step, ...] = ("extranet", index)
            if entry.to == self.file.vpn:
                self._report(
                    (*loc, "to"),
                    f"{entry.to} is this VPN itself",
                    "name another VPN; within a VPN, `topology` says who hears whom",
                )
                continue
            sites = [
                site
                for position, site in enumerate(entry.sites or ())
                if self._node((*loc, "sites", position), site, "the extranet site") is not None
            ]
            if entry.sites is None:
                sites = [one.site for one in self.file.sites]
            node = self.reading.node(*loc, "to")
            extranets.append(
                Extranet(
                    entry.to,
                    tuple(dict.fromkeys(sites)),
                    entry.direction in ("both", "to"),
                    entry.direction in ("both", "from"),
                    node.place,
                    node.path,
                )
            )
        return tuple(extranets)

    def _check_shared_targets(
        self, members: tuple[Member, ...], links: frozenset[Link], extranets: tuple[Extranet, ...]
    ) -> None:
        """Two sites behind one PE with one target are one to the PE: they must be to us, too.

        A route sent to the PE for the one would be imported by the other as well.
        """
        hears: dict[str, set[str]] = {member.site: set() for member in members}
        speaks: dict[str, set[str]] = {member.site: set() for member in members}
        for speaker, hearer in links:
            hears[hearer.site].add(speaker.site)
            speaks[speaker.site].add(hearer.site)
        for extranet in extranets:
            for site in extranet.sites:
                # No site is called so: a name has no slash.
                if extranet.hears:
                    hears[site].add(f"{extranet.to}/")
                if extranet.sends:
                    speaks[site].add(f"{extranet.to}/")
        # Allocated targets are the site's own.
        given = [member for member in members if member.export_targets]
        behind: dict[str, list[Member]] = {}
        for member in given:
            for pe in member.pes:
                behind.setdefault(pe, []).append(member)
        for pe, one, other in (
            (pe, one, other)
            for pe, sharing in behind.items()
            for one, other in combinations(sharing, 2)
        ):
            pair = {one.site, other.site}
            for verb, graph, common in (
                ("do not hear", hears, set(one.import_targets) & set(other.import_targets)),
                ("are not heard by", speaks, set(one.export_targets) & set(other.export_targets)),
            ):
                if common and graph[one.site] - pair != graph[other.site] - pair:
                    self.mistakes.append(
                        Mistake(
                            other.place,
                            self.reading.node("sites", self._index(other.site)).path,
                            f"{other.site} has the target {min(common)} at {pe} like "
                            f"{one.site}, but they {verb} the same sites",
                            "give each a target of its own, or leave `targets` out and they are "
                            "allocated",
                        )
                    )
                    break

    def _index(self, site: str) -> int:
        return self._sites[site]
