"""Routes by what they share: the tables that make work proportional to what changed.

::

    route target --> TargetGroup --> Path --> NLRI
                     one verdict      one set of attributes

Routes that one PE announced in one UPDATE's worth of attributes are one `Path`; paths of one PE
and family with the same route targets are one `TargetGroup`, for which the rule of rewriting is
asked once.  A changed rule is looked up by its targets and touches the groups found there.

The Loc-RIB maps the key of an NLRI to the `Path` that announces it or, where several PEs do, to a
tuple of them; which one a peer gets depends on what that peer may hear, so it is decided per peer.
"""

from __future__ import annotations

from collections.abc import Collection
from zlib import crc32

from vpnctl.model import Family
from vpnctl.model.community import ES_IMPORT
from vpnctl.model.family import SESSION_FAMILIES
from vpnctl.routing.attributes import Attributes
from vpnctl.routing.audience import Audience
from vpnctl.routing.guard import Account
from vpnctl.routing.long_lived import is_stale
from vpnctl.routing.nlri import KEY_OF
from vpnctl.routing.path_ids import PATH_ID_OCTETS, SLOTS
from vpnctl.routing.rewrite import Rules, Verdict, rewrite

_NO_TARGETS: frozenset[bytes] = frozenset()

#: Numbers that PEs may have, so that a path identifier has room for each PE's slots.
_NUMBERS = ((1 << 8 * PATH_ID_OCTETS) - 1) // SLOTS


class TargetGroup:
    """Paths of one PE and family with the same route targets, and what the rules say of them.

    ``allowed``: the verdict of the rules; ``verdict``: without the PEs that do not take such
    routes, where a group is ``constrained`` by that (see `vpnctl.routing.audience`).  ``stale``:
    its paths are long-lived stale (RFC 9494).  ``number``: the PE's, which no other has.
    """

    constrained = True

    __slots__ = (
        "allowed",
        "family",
        "identity",
        "number",
        "paths",
        "peer",
        "stale",
        "targets",
        "verdict",
    )

    def __init__(
        self,
        peer: str,
        family: Family,
        targets: frozenset[bytes],
        verdict: Verdict,
        number: int = 0,
        *,
        stale: bool = False,
    ) -> None:
        self.peer = peer
        self.number = number
        self.family = family
        self.targets = targets
        self.stale = stale
        self.identity = _identity(peer, family, targets, stale)
        self.allowed = self.verdict = verdict
        self.paths: set[Path] = set()


def _identity(
    peer: str, family: Family, targets: frozenset[bytes], stale: bool
) -> tuple[str, str, frozenset[bytes]]:
    return peer, f"{family.name} stale" if stale else family.name, targets


class Path:
    """Routes that one PE announced with the same attributes and next hop.

    ``identity``: AFI, SAFI, next hop and attributes as received; ``nlris``: key -> NLRI as
    received.  ``peer_address`` breaks ties (packed, 4 or 16 octets); ``account`` counts the
    routes of the session and family.  ``heard``: the attributes as the PE announced them, which
    ``attributes`` may make less of.  ``slot``: see `vpnctl.routing.path_ids`.  ``outlived``: the
    PE has been away for longer than a graceful restart may take (RFC 9494).
    """

    __slots__ = (
        "account",
        "attributes",
        "group",
        "heard",
        "identity",
        "next_hop",
        "nlris",
        "outlived",
        "peer",
        "peer_address",
        "rib",
        "slot",
    )

    def __init__(
        self,
        group: TargetGroup,
        rib: LocRib,
        peer_address: bytes,
        next_hop: bytes,
        identity: bytes,
        attributes: Attributes,
        account: Account,
        slot: int = 0,
    ) -> None:
        self.slot = slot
        self.account = account
        self.group = group
        self.rib = rib
        self.peer = group.peer
        self.peer_address = peer_address
        self.next_hop = next_hop
        self.identity = identity
        self.attributes = self.heard = attributes
        self.nlris: dict[bytes, bytes] = {}
        self.outlived = False

    @property
    def family(self) -> Family:
        return self.rib.family

    @property
    def path_id(self) -> bytes:
        """The identifier by which peers know it that are told several paths (4 octets)."""
        return (self.group.number * SLOTS + self.slot + 1).to_bytes(PATH_ID_OCTETS, "big")

    @property
    def source(self) -> str:
        """Where the routes come from, as the operator knows it."""
        return self.peer


#: What the Loc-RIB holds for a key.
Entry = Path | tuple[Path, ...]


def candidates(entry: Entry | None) -> tuple[Path, ...]:
    """The paths of a Loc-RIB entry."""
    if entry is None:
        return ()
    return entry if isinstance(entry, tuple) else (entry,)


class LocRib:
    """All routes of one family, and the ones to which there is more than one path.

    ``octets``: AFI and SAFI; ``key_of``: from an NLRI to its key.  Since the peers were last
    told: ``touched``: key -> the entry before; ``gone``: key -> an NLRI that was taken out;
    ``relabelled``: keys, and paths that still announce them but with another NLRI; ``plural``:
    keys of which a PE had several paths, so that ``gone`` may be any of these.
    """

    __slots__ = (
        "contested",
        "entries",
        "family",
        "gone",
        "key_of",
        "octets",
        "plural",
        "relabelled",
        "touched",
    )

    def __init__(self, family: Family) -> None:
        self.family = family
        self.octets = family.octets
        self.key_of = KEY_OF[family]
        self.entries: dict[bytes, Entry] = {}
        self.contested: set[bytes] = set()
        self.touched: dict[bytes, Entry | None] = {}
        self.gone: dict[bytes, bytes] = {}
        self.relabelled: set[tuple[bytes, Path]] = set()
        self.plural: set[bytes] = set()

    def add(self, key: bytes, path: Path) -> None:
        """Put a path beside others, in place of an earlier one of the same PE and slot."""
        others = tuple(
            other
            for other in candidates(self.entries.get(key))
            if other.peer != path.peer or other.slot != path.slot
        )
        if others:
            self.entries[key] = (*others, path)
            self.contested.add(key)
        else:
            self.entries[key] = path
            self.contested.discard(key)

    def remove(self, key: bytes, path: Path) -> None:
        """Take a path out."""
        others = tuple(other for other in candidates(self.entries.get(key)) if other is not path)
        if not others:
            self.entries.pop(key, None)
        else:
            self.entries[key] = others if len(others) > 1 else others[0]
        if len(others) < 2:
            self.contested.discard(key)

    def settled(self) -> None:
        """The peers were told."""
        self.touched.clear()
        self.gone.clear()
        self.relabelled.clear()
        self.plural.clear()


def _index(target: bytes) -> bytes:
    """What a target is found by: ES-Import targets all together, because rules concern all."""
    return ES_IMPORT if target.startswith(ES_IMPORT) else target


class Tables:
    """The rules, the Loc-RIBs and the groups of all families.

    ``audience``: what PEs take; ``stale``: the groups whose paths are long-lived stale.
    """

    __slots__ = ("_by_target", "_numbers", "audience", "groups", "ribs", "rules", "stale")

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.ribs: dict[Family, LocRib] = {
            family: LocRib(family) for family in SESSION_FAMILIES.values()
        }
        self.groups: dict[tuple[str, str, frozenset[bytes]], TargetGroup] = {}
        self.stale: set[TargetGroup] = set()
        self.audience = Audience()
        self._by_target: dict[bytes, set[TargetGroup]] = {}
        self._numbers: dict[str, int] = {}

    def groups_of(self, target: bytes) -> Collection[TargetGroup]:
        """The groups of routes that were announced with a target; see `RulesChange.targets`."""
        return self._by_target.get(target, ())

    def new_path(
        self,
        peer: str,
        peer_address: bytes,
        rib: LocRib,
        next_hop: bytes,
        identity: bytes,
        attributes: Attributes,
        account: Account,
        slot: int = 0,
    ) -> Path:
        """A path without routes, in its group; a route in a loop speaks for no target."""
        targets = _NO_TARGETS if attributes.loop else attributes.targets
        stale = is_stale(attributes)
        group = self.groups.get(_identity(peer, rib.family, targets, stale))
        if group is None:
            verdict = rewrite(self.rules, peer, rib.family, targets)
            number = self._number_of(peer)
            group = TargetGroup(peer, rib.family, targets, verdict, number, stale=stale)
            group.verdict = self.audience.of(verdict, stale=stale)
            self.groups[group.identity] = group
            if stale:
                self.stale.add(group)
            for target in targets:
                self._by_target.setdefault(_index(target), set()).add(group)
        path = Path(group, rib, peer_address, next_hop, identity, attributes, account, slot)
        group.paths.add(path)
        return path

    def _number_of(self, peer: str) -> int:
        """A PE's number: made of its name, so that every controller gives it the same."""
        number = self._numbers.get(peer)
        if number is None:
            number = crc32(peer.encode()) % _NUMBERS
            taken = set(self._numbers.values())
            while number in taken:
                number = (number + 1) % _NUMBERS
            self._numbers[peer] = number
        return number

    def path_beside(self, path: Path, identity: bytes, attributes: Attributes) -> Path:
        """A path without routes that differs from one of the same PE in neither targets nor loop.

        ``path`` may have been dropped in the meantime.
        """
        group = path.group
        if not group.paths or group.stale != is_stale(attributes):
            # The group went with its last path, or another one is meant.
            return self.new_path(
                path.peer,
                path.peer_address,
                path.rib,
                path.next_hop,
                identity,
                attributes,
                path.account,
            )
        found = Path(
            group,
            path.rib,
            path.peer_address,
            path.next_hop,
            identity,
            attributes,
            path.account,
        )
        group.paths.add(found)
        return found

    def drop_path(self, path: Path) -> None:
        """Forget a path that announces nothing any more, and its group if it was the last."""
        group = path.group
        group.paths.discard(path)
        if group.paths:
            return
        self.groups.pop(group.identity, None)
        self.stale.discard(group)
        for target in group.targets:
            left = self._by_target.get(_index(target))
            if left is not None:
                left.discard(group)
                if not left:
                    del self._by_target[_index(target)]
