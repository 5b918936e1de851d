"""Files to a checked `Ruleset`: the whole at first, then only what a change touches."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from immutables import Map

from vpnctl.errors import PolicyError
from vpnctl.model import (
    Allocation,
    Endpoint,
    Place,
    RouteDistinguisher,
    RouteTarget,
    Ruleset,
    Service,
    Vpn,
)
from vpnctl.model.tags import tags
from vpnctl.ruleset import connectivity
from vpnctl.ruleset.allocation import Register, allocate
from vpnctl.ruleset.claims import ROUTE_TARGET, VNI, Claims
from vpnctl.ruleset.document import DocumentError, parse
from vpnctl.ruleset.draft import Draft, Extranet, Member, draft, name_in
from vpnctl.ruleset.mistake import Mistake, choices, suggestion
from vpnctl.ruleset.network import NETWORK_FILES, NetworkView, is_network, read_network
from vpnctl.ruleset.network_file import OWN_VNI_ONLY
from vpnctl.ruleset.numbers import vlan_space
from vpnctl.ruleset.reading import read
from vpnctl.ruleset.vpn_file import VpnFile

#: Mistakes that are reported at once: a file of garbage has one in every line.
MOST_MISTAKES = 1000


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    """A VPN's file: its bytes, and the draft made of them."""

    content: bytes
    draft: Draft


@dataclass(slots=True, eq=False)
class _State:
    """What a load leaves for the next one.  Never changed once its load is over."""

    view: NetworkView
    network_content: bytes
    entries: Map[str, _Entry] = field(default_factory=Map)
    #: Of the VPNs' files, by name of the VPN.
    paths: Map[str, str] = field(default_factory=Map)
    #: By VPN, the paths of the files that declare an extranet with it.
    declarers: Map[str, frozenset[str]] = field(default_factory=Map)
    claims: Claims = field(default_factory=Claims)
    register: Register = field(default_factory=Register)
    vpns: dict[str, Vpn] = field(default_factory=dict)
    #: Mistakes of the network file; none once the load is over.
    mistakes: tuple[Mistake, ...] = ()
    #: Whether the register agrees with the VPNs.
    begun: bool = False

    def copy(self) -> _State:
        return _State(
            self.view,
            self.network_content,
            self.entries,
            self.paths,
            self.declarers,
            self.claims.copy(),
            self.register.copy(),
            self.vpns.copy(),
            begun=self.begun,
        )

    def enter(self, path: str, entry: _Entry) -> None:
        self.entries = self.entries.set(path, entry)
        for name in entry.draft.partners:
            declarers = self.declarers.get(name, frozenset()) | {path}
            self.declarers = self.declarers.set(name, declarers)

    def take_out(self, path: str) -> Draft:
        former = self.entries[path].draft
        self.entries = self.entries.delete(path)
        self.paths = self.paths.delete(former.name)
        for name in former.partners:
            declarers = self.declarers[name] - {path}
            if declarers:
                self.declarers = self.declarers.set(name, declarers)
            else:
                self.declarers = self.declarers.delete(name)
        self.claims.remove(former.claims)
        return former

    def declared_with(self, name: str) -> list[Draft]:
        """The drafts whose files declare an extranet with a VPN, in the order of files."""
        return [self.entries[path].draft for path in sorted(self.declarers.get(name, ()))]


@dataclass(frozen=True, slots=True)
class Compiled:
    """A checked policy.

    ``allocations``: every number that was ever chosen and not given to somebody else since; what
    the policy does not need any more is ``released``.  Keep them and give them to the next
    `load`.  ``since``: what it was loaded with as ``previous``, and ``differing`` the names of the
    VPNs that are other objects than there, came or went.
    """

    ruleset: Ruleset
    allocations: frozenset[Allocation]
    _state: _State = field(repr=False, compare=False)
    since: Ruleset | None = field(default=None, repr=False, compare=False)
    differing: frozenset[str] = field(default=frozenset(), repr=False, compare=False)

    @property
    def view(self) -> NetworkView:
        """The network with its pools."""
        return self._state.view


def load(
    files: Mapping[str, bytes],
    allocations: Iterable[Allocation] = (),
    previous: Compiled | None = None,
    changed: Collection[str] | None = None,
) -> Compiled:
    """Compile the files of a policy directory, by name as shown to the operator.

    ``network.yaml`` is the network, every other file a VPN.  ``allocations`` are the numbers
    chosen so far; with ``previous`` and none given, they are those of ``previous``.

    With ``previous`` only what changed since is done again: files with the same bytes are not
    parsed, and a VPN to which nothing happened is the same object as before.  The result is equal
    to that of a load without ``previous`` and with the same allocations.  ``changed``: the only
    paths that may have come, gone or changed since ``previous``, where the caller knows them.

    Raises `PolicyError` with every mistake of all files, in the order of their places.  Where two
    files want one number, the one that changed since ``previous`` is the one to blame.
    """
    if previous is not None and allocations is not previous.allocations:
        given = frozenset(allocations)
        allocations = given if given and given != previous.allocations else previous.allocations
    if (
        previous is not None
        and allocations is previous.allocations
        and files.get(previous._state.view.file) == previous._state.network_content
    ):
        loading = _Loading(files, previous._state.copy(), previous.ruleset, changed)
    else:
        state = _begin(files, allocations)
        loading = _Loading(files, state, None if previous is None else previous.ruleset, None)
    return loading.run()


def policy_error(mistakes: Iterable[Mistake]) -> PolicyError:
    """The error that reports these mistakes, sorted by place; the first `MOST_MISTAKES` of them."""
    found = tuple(sorted(set(mistakes)))
    count = "1 mistake" if len(found) == 1 else f"{len(found)} mistakes"
    if len(found) > MOST_MISTAKES:
        count += f", of which these are the first {MOST_MISTAKES},"
    return PolicyError(
        f"{count} in the policy",
        hint="correct them and try again",
        mistakes=found[:MOST_MISTAKES],
    )


def _begin(files: Mapping[str, bytes], allocations: Iterable[Allocation]) -> _State:
    """A state that knows the network and no VPN yet.

    Raises `PolicyError` where there is no network to check VPNs against.
    """
    candidates = sorted(path for path in files if is_network(path))
    if not candidates:
        directory = next((path.rpartition("/") for path in sorted(files)), ("", "", ""))
        missing = Mistake(
            Place(f"{directory[0]}{directory[1]}{NETWORK_FILES[0]}", 1),
            "",
            "the file is missing: it describes the controller, the sites and the PEs",
            "write it, or begin with `vpnctl init DIR`",
        )
        raise policy_error([missing, *_shapes(files)])
    path = candidates[0]
    view, mistakes = read_network(path, files[path])
    if view is None:
        raise policy_error([*mistakes, *_shapes(files)])
    return _State(view, files[path], register=Register(allocations), mistakes=tuple(mistakes))


def _shapes(files: Mapping[str, bytes]) -> Iterable[Mistake]:
    """What can be said of the VPN files without a network."""
    for path in sorted(files):
        if not is_network(path):
            try:
                yield from read(VpnFile, path, parse(path, files[path])).mistakes
            except DocumentError as error:
                yield from error.mistakes


class _Loading:
    """One load: brings a state of its own up to date with the files."""

    def __init__(
        self,
        files: Mapping[str, bytes],
        state: _State,
        former: Ruleset | None,
        paths: Collection[str] | None,
    ) -> None:
        self._files = files
        self._state = state
        #: The previous load, whose VPNs are kept where nothing changed.
        self._former = former
        #: What to look at; None: everything.
        self._paths = paths
        self._mistakes = list(state.mistakes)
        #: Names of VPNs that came, went or changed.
        self._touched: set[str] = set()
        #: Names that extranets speak of and about which nothing can be said.
        self._broken: set[str] = set()
        self._nameless = False
        #: By path, what was taken out.
        self._out: dict[str, Draft] = {}
        self._in: list[Draft] = []

    def run(self) -> Compiled:
        changed = self._take_out()
        for path in sorted(changed):
            self._bring_in(path)
        dirty = self._dirty()
        self._check_extranets(dirty)
        self._check_redirects(dirty)
        self._stop_on_mistakes()
        self._allocate(dirty)
        self._stop_on_mistakes()
        return self._compile(dirty)

    def _stop_on_mistakes(self) -> None:
        if self._mistakes:
            raise policy_error(self._mistakes)

    def _take_out(self) -> list[str]:
        """Take out what is gone or changed; return the paths that are new or changed."""
        files, entries = self._files, self._state.entries
        changed, gone = [], []
        paths = {*files, *entries} if self._paths is None else self._paths
        for path in paths:
            content, entry = files.get(path), entries.get(path)
            if entry is None or (entry.content is not content and entry.content != content):
                if entry is not None:
                    gone.append(path)
                if content is not None and path != self._state.view.file:
                    changed.append(path)
        for path in gone:
            former = self._state.take_out(path)
            self._touched.add(former.name)
            self._out[path] = former
        return changed

    def _bring_in(self, path: str) -> None:
        """Parse and check a file on its own, then against those that are in."""
        state = self._state
        if is_network(path):
            self._mistakes.append(
                Mistake(
                    Place(path, 1),
                    "",
                    f"a second network file; {state.view.file} is the first",
                    "a directory describes one network: keep one of them",
                )
            )
            return
        content = self._files[path]
        try:
            root = parse(path, content)
        except DocumentError as error:
            self._mistakes += error.mistakes
            self._nameless = True
            return
        name = name_in(root)
        reading = read(VpnFile, path, root)
        self._mistakes += reading.mistakes
        if reading.model is None:
            self._nameless |= name is None
            self._broken.add(name or "")
            return
        new, mistakes = draft(reading, state.view, self._out.get(path))
        self._mistakes += mistakes
        other = state.paths.get(new.name)
        if other is not None:
            self._mistakes.append(
                Mistake(
                    new.place,
                    "vpn",
                    f"{new.name} is the name of another VPN already "
                    f"({state.entries[other].draft.place})",
                    "give this one another name, or merge the files",
                )
            )
            return
        state.paths = state.paths.set(new.name, path)
        state.enter(path, _Entry(content, new))
        self._mistakes += state.claims.add(new.claims)
        self._touched.add(new.name)
        self._in.append(new)

    # -- what a change touches --

    def _dirty(self) -> list[Draft]:
        """The drafts whose VPNs may differ from the previous load's, in the order of files."""
        state = self._state
        names = set(self._touched)
        for name in self._touched:
            names.update(other.name for other in state.declared_with(name))
        for changed in (*self._out.values(), *self._in):
            names.update(changed.partners)
        for new in self._in:
            names.update(self._evicted(new))
        paths = sorted(path for name in names if (path := state.paths.get(name)) is not None)
        return [state.entries[path].draft for path in paths]

    def _evicted(self, new: Draft) -> Iterable[str]:
        """VPNs to which a number was allocated that the new draft gives explicitly."""
        state = self._state
        for claim in new.claims:
            pool = state.view.pool_of(claim.space, claim.value)
            owner = None if pool is None else state.register.holder(*pool)
            if owner is not None:
                yield owner.split("/", 1)[0]

    def _check_extranets(self, dirty: Iterable[Draft]) -> None:
        for one in dirty:
            for extranet in one.extranets:
                other = self._draft(extranet.to)
                if other is not None:
                    self._check_services(one, extranet, other)
                elif not self._nameless and extranet.to not in self._broken:
                    self._mistakes.append(
                        Mistake(
                            extranet.place,
                            extranet.path,
                            f"no VPN is called {extranet.to!r}"
                            + suggestion(extranet.to, self._state.paths),
                            choices(self._state.paths, "VPNs"),
                        )
                    )

    def _check_services(self, one: Draft, extranet: Extranet, other: Draft) -> None:
        if not one.service.families & other.service.families:
            self._mistakes.append(
                Mistake(
                    extranet.place,
                    extranet.path,
                    f"{other.name} is {_article(other.service.value)} ({other.place}), whose "
                    f"routes mean nothing to {_article(one.service.value)}",
                    "join VPNs of one service, or an evpn and an l3vpn",
                )
            )
        if one.service is other.service is Service.EVPN:
            self._check_vnis(one, extranet, other)

    def _check_vnis(self, one: Draft, extranet: Extranet, other: Draft) -> None:
        """Each VPN has a VNI of its own, and some routers send with no other than theirs."""
        pes = self._state.view.network.pes
        joined = [member for member in one.members if member.site in extranet.sites]
        present = {pe for member in (*joined, *other.members) for pe in member.pes}
        unable = sorted(name for name in present if pes[name].platform in OWN_VNI_ONLY)
        if unable:
            self._mistakes.append(
                Mistake(
                    extranet.place,
                    extranet.path,
                    f"nothing would arrive between {one.name} and {other.name} ({other.place}): "
                    f"each has a VNI of its own, and FRR ({', '.join(unable)}) sends with no other",
                    "make them one VPN with `links`, or join them as l3vpn",
                )
            )

    def _check_redirects(self, dirty: Iterable[Draft]) -> None:
        """Packets may be forwarded only in a VPN that is joined with theirs, and is there."""
        for one in dirty:
            for redirect in one.access.redirects:
                other = self._draft(redirect.to)
                if other is None:
                    if not self._nameless and redirect.to not in self._broken:
                        message = f"no VPN is called {redirect.to!r}" + suggestion(
                            redirect.to, self._state.paths
                        )
                        hint = choices(self._state.paths, "VPNs")
                        self._mistakes.append(Mistake(redirect.place, redirect.path, message, hint))
                    continue
                if other.name not in one.partners and one.name not in other.partners:
                    message = f"there is no extranet with {other.name} ({other.place})"
                    hint = f"write `extranet: [{{to: {other.name}}}]`, if the two may be joined"
                    self._mistakes.append(Mistake(redirect.place, redirect.path, message, hint))
                    continue
                there = {pe for member in other.members for pe in member.pes}
                for pe in redirect.pes:
                    if pe not in there:
                        message = f"{other.name} ({other.place}) is not at {pe}"
                        hint = "name sites with `at` where it is, or extend it"
                        self._mistakes.append(Mistake(redirect.place, redirect.path, message, hint))

    def _draft(self, name: str) -> Draft | None:
        path = self._state.paths.get(name)
        return None if path is None else self._state.entries[path].draft

    # -- numbers and links --

    def _allocate(self, dirty: list[Draft]) -> None:
        register = self._state.register
        needs = [need for one in dirty for need in one.needs]
        needed = {(pool.name, need.owner) for need in needs for pool in need.pools}
        if self._state.begun:
            for former in self._out.values():
                for need in former.needs:
                    for pool in need.pools:
                        if (pool.name, need.owner) not in needed:
                            register.release(pool.name, need.owner)
        else:
            register.release_all_but(needed)
        self._mistakes += allocate(register, needs, self._state.claims)

    def _compile(self, dirty: list[Draft]) -> Compiled:
        state = self._state
        former: Mapping[str, Vpn] = {} if self._former is None else self._former.vpns
        for name in self._touched:
            if name not in state.paths:
                state.vpns.pop(name, None)
        grown = False
        for one in dirty:
            before = former.get(one.name)
            vpn = self._vpn(one, state.declared_with(one.name), before)
            grown |= one.name not in state.vpns
            state.vpns[one.name] = before if before == vpn else vpn
        if grown:
            state.vpns = dict(sorted(state.vpns.items()))
        touched = self._touched.union(one.name for one in dirty)
        if not state.begun:
            # Of VPNs that are gone the state has never heard.
            touched.update(former)
        state.begun = True
        differing = {name for name in touched if former.get(name) is not state.vpns.get(name)}
        return Compiled(
            Ruleset(state.view.network, state.vpns),
            state.register.allocations(),
            state,
            self._former,
            frozenset(differing),
        )

    def _vpn(self, one: Draft, declarers: Iterable[Draft], before: Vpn | None) -> Vpn:
        added: set[connectivity.Link] = set()
        others = set()
        for extranet in one.extranets:
            other = self._draft(extranet.to)
            assert other is not None
            others.add(other.name)
            if extranet.sends:
                added |= connectivity.crossing(one.nodes(extranet.sites), other.nodes())
        for other in declarers:
            others.add(other.name)
            for extranet in other.extranets:
                if extranet.to == one.name and extranet.hears:
                    added |= connectivity.crossing(one.nodes(), other.nodes(extranet.sites))
        vni = self._number(VNI, one.name) if one.vni is None else one.vni
        endpoints = tuple(
            self._endpoint(one, member, pe, vni) for member in one.members for pe in member.pes
        )
        return Vpn(
            name=one.name,
            service=one.service,
            topology=one.topology,
            # What did not change stays the same object: whoever comes after need not look into it.
            endpoints=before.endpoints if before and before.endpoints == endpoints else endpoints,
            links=one.links | added if added else one.links,
            place=one.place,
            extranets=frozenset(others),
            access=one.access.rules,
        )

    def _endpoint(self, one: Draft, member: Member, pe_name: str, vni: int | None) -> Endpoint:
        view = self._state.view
        of_site = f"{one.name}/{member.site}"
        of_endpoint = f"{of_site}/{pe_name}"
        pe = view.network.pes[pe_name]
        export, import_ = member.export_targets, member.import_targets
        if not export:
            number = self._number(ROUTE_TARGET, of_site)
            assert number is not None
            export = import_ = (RouteTarget(view.route_targets.octets(number)),)
        rd = member.rds.get(pe_name)
        if rd is None:
            number = self._number(view.rds[pe_name].name, of_endpoint)
            assert number is not None
            rd = RouteDistinguisher(view.rds[pe_name].octets(number))
        ve_id, vlan = member.ve_ids.get(pe_name), member.vlan
        if ve_id is None:
            ve_id = self._number(f"ve-id/{one.name}", of_endpoint)
        if vlan is None:
            vlan = self._number(vlan_space(pe), of_site)
        outer, inner = (None, None) if vlan is None else tags(vlan)
        return Endpoint(
            vpn=one.name,
            site=member.site,
            pe=pe_name,
            service=one.service,
            rd=rd,
            export_targets=export,
            import_targets=import_,
            ve_id=ve_id,
            vlan=outer,
            vni=vni,
            place=member.place,
            inner_vlan=inner,
        )

    def _number(self, pool: str, owner: str) -> int | None:
        """The number that is allocated to the owner; a released one is not."""
        register = self._state.register
        return None if register.released(pool, owner) else register.number(pool, owner)


def _article(service: str) -> str:
    return f"{'an' if service[0] in 'el' else 'a'} {service}"
