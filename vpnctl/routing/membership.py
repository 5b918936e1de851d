"""Which route targets a PE asked for (RFC 4684), and what of a verdict is left of that.

A PE that negotiated route target constraint is sent a route only if one of the targets that the
route would carry there is among those asked for.  This can only ever take routes away from what
`vpnctl.routing.rewrite` lets a PE have.  Ethernet Segment routes are sent unasked: they concern
the PEs of one site, and hardly a PE asks for ES-Import targets.

We ask every such PE for everything, by the default route target of section 3: what it must not
announce is refused, and counted, whatever it was asked for.  What PEs ask for is not passed on to
others, since what is a target at one PE is another target at the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vpnctl.model.community import ES_IMPORT
from vpnctl.model.family import RT_CONSTRAINT
from vpnctl.routing import update
from vpnctl.routing.as_path import AS_SEQUENCE, octets_of
from vpnctl.routing.attributes import (
    AS_PATH,
    DEFAULT_LOCAL_PREF,
    LOCAL_PREF,
    ORIGIN,
    WELL_KNOWN,
    Origin,
    attribute,
)
from vpnctl.routing.nlri import NlriFramingError
from vpnctl.routing.rewrite import Verdict

#: Octets of the origin AS, which stands before the target.
_ASN_OCTETS = 4
_SHORTEST_BITS, _LONGEST_BITS = 32, 96

#: What asks for everything (section 3).
DEFAULT_NLRI = b"\x00"

#: More is not remembered of one PE.
MOST = 100_000

_ORIGIN_IGP = attribute(WELL_KNOWN, ORIGIN, b"\x00")
_LOCAL_PREF = attribute(WELL_KNOWN, LOCAL_PREF, DEFAULT_LOCAL_PREF.to_bytes(4, "big"))


def default_request(origin: Origin) -> bytes:
    """The UPDATE by which we ask the peer of a session for everything."""
    path, last = b"", _LOCAL_PREF
    if origin.external:
        path, last = octets_of([(AS_SEQUENCE, [origin.local_asn])], 4 if origin.asn4 else 2), b""
    attributes = _ORIGIN_IGP + attribute(WELL_KNOWN, AS_PATH, path) + last
    head = update.announcing(RT_CONSTRAINT.octets, origin.router_id, DEFAULT_NLRI, len(attributes))
    return head + attributes


def split(field: bytes) -> list[bytes]:
    """Cut an NLRI field into NLRI; raises `NlriFramingError`."""
    found = []
    at, end = 0, len(field)
    while at < end:
        bits = field[at]
        if bits and not _SHORTEST_BITS <= bits <= _LONGEST_BITS:
            raise NlriFramingError(f"a route target membership of {bits} bits")
        stop = at + 1 + (bits + 7) // 8
        if stop > end:
            raise NlriFramingError(f"a route target membership runs {stop - end} octets over")
        found.append(field[at:stop])
        at = stop
    return found


def _canonical(nlri: bytes) -> bytes:
    """An NLRI without what stands in the bits behind the prefix."""
    spare = -nlri[0] & 7
    return nlri[:-1] + bytes((nlri[-1] >> spare << spare,)) if spare else nlri


class Membership:
    """The targets that one PE asked for.

    ``changed``: something came or went since it was last set to False; ``complete``: the PE has
    sent its End-of-RIB, or was not waited for any longer.
    """

    __slots__ = ("_asked", "_everything", "_exact", "_prefixes", "_stale", "changed", "complete")

    def __init__(self) -> None:
        self._asked: set[bytes] = set()
        self._exact: set[bytes] = set()
        self._prefixes: set[tuple[int, int]] = set()
        self._everything = False
        self._stale = False
        self.changed = False
        self.complete = False

    def __len__(self) -> int:
        return len(self._asked)

    @property
    def asked(self) -> frozenset[bytes]:
        """The NLRI that the PE announces."""
        return frozenset(self._asked)

    @property
    def everything(self) -> bool:
        """Whether the PE asked for all routes."""
        self._index()
        return self._everything

    def add(self, nlri: bytes) -> None:
        """Take note of an NLRI; one that is known changes nothing.  `OverflowError` over `MOST`."""
        nlri = _canonical(nlri)
        if nlri in self._asked:
            return
        if len(self._asked) >= MOST:
            raise OverflowError(f"more than {MOST} route target memberships")
        self._asked.add(nlri)
        self._stale = self.changed = True

    def discard(self, nlri: bytes) -> None:
        """Forget an NLRI."""
        nlri = _canonical(nlri)
        if nlri in self._asked:
            self._asked.discard(nlri)
            self._stale = self.changed = True

    def _index(self) -> None:
        """Sort what was asked for by how it is looked up; the origin AS plays no part in that."""
        if not self._stale:
            return
        self._stale = False
        self._everything = False
        self._exact, self._prefixes = set(), set()
        for nlri in self._asked:
            bits = max(nlri[0] - 8 * _ASN_OCTETS, 0)
            octets = nlri[1 + _ASN_OCTETS :]
            if not bits:
                self._everything = True
            elif bits == 64:
                self._exact.add(octets)
            else:
                self._prefixes.add((bits, int.from_bytes(octets, "big") >> 8 * len(octets) - bits))

    def wants(self, targets: Iterable[bytes]) -> bool:
        """Whether one of the targets (8 octets each) was asked for."""
        self._index()
        if self._everything:
            return True
        for target in targets:
            if target in self._exact or target.startswith(ES_IMPORT):
                return True
            number = int.from_bytes(target, "big")
            if any(number >> (64 - bits) == prefix for bits, prefix in self._prefixes):
                return True
        return False


def restricted(verdict: Verdict, interests: Mapping[str, Membership]) -> Verdict:
    """A verdict without the PEs that did not ask; ``interests``: by PE, where constrained."""
    if not interests:
        return verdict
    deaf = {
        peer
        for peer, targets in verdict.sent.items()
        if (membership := interests.get(peer)) is not None and not membership.wants(targets)
    }
    if not deaf:
        return verdict
    kept = {peer: targets for peer, targets in verdict.sent.items() if peer not in deaf}
    return Verdict(kept, verdict.refused)
