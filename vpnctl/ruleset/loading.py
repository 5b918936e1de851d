"""Files to a checked `Ruleset`: the whole at first, then only what a change touches."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from vpnctl.errors import PolicyError
from vpnctl.model import Allocation, Place, Ruleset, Vpn
from vpnctl.ruleset.allocation import Register, allocate
from vpnctl.ruleset.draft import Draft, draft, name_in
from vpnctl.ruleset.joined import mistakes_of_joining
from vpnctl.ruleset.network import NETWORK_FILES, NetworkView, is_network, read_network
from vpnctl.ruleset.reading import read
from vpnctl.ruleset.resolving import resolve
from vpnctl.ruleset.shape import POLICY
from vpnctl.ruleset.state import Entry, State
from vpnctl.ruleset.vpn_file import VpnFile
from vpnctl.yamltree.mistake import Mistake
from vpnctl.yamltree.tree import DocumentError, parse

#: Mistakes that are reported at once: a file of garbage has one in every line.
MOST_MISTAKES = 1000


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
    _state: State = field(repr=False, compare=False)
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


def _begin(files: Mapping[str, bytes], allocations: Iterable[Allocation]) -> State:
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
    return State(view, files[path], register=Register(allocations), mistakes=tuple(mistakes))


def _shapes(files: Mapping[str, bytes]) -> Iterable[Mistake]:
    """What can be said of the VPN files without a network."""
    for path in sorted(files):
        if not is_network(path):
            try:
                yield from read(VpnFile, path, parse(path, files[path], POLICY)).mistakes
            except DocumentError as error:
                yield from error.mistakes


class _Loading:
    """One load: brings a state of its own up to date with the files."""

    def __init__(
        self,
        files: Mapping[str, bytes],
        state: State,
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
        #: The numbers that the previous load's endpoints have, where this one goes on from it.
        self._numbers = state.register.allocations() if state.begun else None

    def run(self) -> Compiled:
        changed = self._take_out()
        for path in sorted(changed):
            self._bring_in(path)
        dirty = self._dirty()
        unsaid = None if self._nameless else self._broken
        self._mistakes += mistakes_of_joining(dirty, self._state, unsaid)
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
            root = parse(path, content, POLICY)
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
        state.enter(path, Entry(content, new))
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
        # The same object as long as no number changed.
        same_numbers = state.register.allocations() is self._numbers
        new = {one.name for one in self._in}
        for one in dirty:
            before = former.get(one.name)
            same = same_numbers and one.name not in new
            vpn = resolve(one, state, before, same_endpoints=same)
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
