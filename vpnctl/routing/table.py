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

from vpnctl.model import Family
from vpnctl.routing.attributes import Attributes
from vpnctl.routing.rewrite import Verdict


class TargetGroup:
    """Paths of one PE and family with the same route targets, and what the rules say of them."""

    __slots__ = ("family", "paths", "peer", "targets", "verdict")

    def __init__(
        self, peer: str, family: Family, targets: frozenset[bytes], verdict: Verdict
    ) -> None:
        self.peer = peer
        self.family = family
        self.targets = targets
        self.verdict = verdict
        self.paths: set[Path] = set()


class Path:
    """Routes that one PE announced with the same attributes and next hop.

    ``nlris``: key -> NLRI as received.  ``peer_address`` breaks ties (packed, 4 or 16 octets).
    """

    __slots__ = (
        "attributes",
        "family",
        "group",
        "identity",
        "next_hop",
        "nlris",
        "peer",
        "peer_address",
    )

    def __init__(
        self,
        peer: str,
        peer_address: bytes,
        identity: tuple[Family, bytes, bytes],
        attributes: Attributes,
        group: TargetGroup,
    ) -> None:
        self.peer = peer
        self.peer_address = peer_address
        self.identity = identity
        self.family = identity[0]
        self.next_hop = identity[1]
        self.attributes = attributes
        self.group = group
        self.nlris: dict[bytes, bytes] = {}


#: What the Loc-RIB holds for a key.
Entry = Path | tuple[Path, ...]


def candidates(entry: Entry | None) -> tuple[Path, ...]:
    """The paths of a Loc-RIB entry."""
    if entry is None:
        return ()
    return entry if isinstance(entry, tuple) else (entry,)


class LocRib:
    """All routes of one family, and the ones that more than one PE announces.

    Since the peers were last told: ``touched``: key -> the entry before; ``gone``: key -> an NLRI
    that was taken out; ``relabelled``: keys whose path is the same but whose NLRI is not.
    """

    __slots__ = ("contested", "entries", "family", "gone", "relabelled", "touched")

    def __init__(self, family: Family) -> None:
        self.family = family
        self.entries: dict[bytes, Entry] = {}
        self.contested: set[bytes] = set()
        self.touched: dict[bytes, Entry | None] = {}
        self.gone: dict[bytes, bytes] = {}
        self.relabelled: set[bytes] = set()

    def add(self, key: bytes, path: Path) -> None:
        """Put a path beside those of other PEs, in place of an earlier one of the same PE."""
        others = tuple(
            other for other in candidates(self.entries.get(key)) if other.peer != path.peer
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
