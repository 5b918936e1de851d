"""Which of several routes to one destination is best (RFC 4271 section 9.1.2.2, RFC 4456 9).

The interior cost to the next hop is not known here and so not compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import NamedTuple

from vpnctl.routing.table import Path

_Step = Callable[[Sequence[Path]], list[Path]]


def _lowest(measure: Callable[[Path], int | bytes]) -> _Step:
    """Keep the paths of the lowest measure."""

    def keep(paths: Sequence[Path]) -> list[Path]:
        measures = [measure(path) for path in paths]
        least = min(measures)
        return [path for path, found in zip(paths, measures, strict=True) if found == least]

    return keep


def _lowest_med(paths: Sequence[Path]) -> list[Path]:
    # MED is compared among routes of one neighbouring AS only, so it removes, it does not order.
    lowest: dict[int, int] = {}
    for path in paths:
        asn, med = path.attributes.neighbor_as, path.attributes.med
        lowest[asn] = min(med, lowest.get(asn, med))
    return [path for path in paths if path.attributes.med == lowest[path.attributes.neighbor_as]]


_Measures = tuple[tuple[str, Callable[[Path], int | bytes]], ...]

#: What is compared before and after MULTI_EXIT_DISC, the lowest first, each with the reason for
#: what it keeps.
_BEFORE_MED: _Measures = (
    ("the other one is long-lived stale (RFC 9494)", lambda path: path.group.stale),
    ("a higher LOCAL_PREF", lambda path: -path.attributes.local_pref),
    ("a shorter AS_PATH", lambda path: path.attributes.as_path_length),
    ("a lower ORIGIN", lambda path: path.attributes.origin_code),
)
_AFTER_MED: _Measures = (
    ("heard from an external peer", lambda path: not path.attributes.origin.external),
    ("a lower router id of the originator", lambda path: path.attributes.originator_id),
    ("a shorter CLUSTER_LIST", lambda path: path.attributes.cluster_count),
    ("a lower peer address", lambda path: path.peer_address),
    # Two PEs cannot have one address; the name makes the outcome certain all the same.
    ("the first name", lambda path: path.peer.encode()),
    ("the same PE announced it in an earlier slot", lambda path: path.slot),
)

#: The steps of the decision, each with the reason for what it keeps.
_STEPS: tuple[tuple[str, _Step], ...] = (
    *((reason, _lowest(measure)) for reason, measure in _BEFORE_MED),
    ("a lower MULTI_EXIT_DISC", _lowest_med),
    *((reason, _lowest(measure)) for reason, measure in _AFTER_MED),
)


def ranked(
    candidates: Sequence[Path], owner: str | None = None
) -> tuple[Path, list[tuple[Path, str]]]:
    """The best of one or more paths to one NLRI, and why each of the others is not.

    ``owner``: the PE to whose endpoint the NLRI's route distinguisher belongs.  Its path goes
    before all others, so that a PE which forges another's distinguisher displaces nothing.
    """
    left = [path for path in candidates if path.peer == owner] or list(candidates)
    losers = [
        (path, "its PE has the route distinguisher") for path in candidates if path not in left
    ]
    for reason, keep in _STEPS:
        if len(left) == 1:
            break
        kept = keep(left)
        losers += [(path, reason) for path in left if path not in kept]
        left = kept
    return left[0], losers


def best(candidates: Sequence[Path], owner: str | None = None) -> Path:
    """The best of one or more paths to one NLRI; see `ranked`."""
    if len(candidates) == 1:
        return candidates[0]
    return ranked(candidates, owner)[0]


class _Measured(NamedTuple):
    """What decides about one path: its owner, then the measures before and after MED."""

    path: Path
    before: tuple[int | bytes, ...]
    after: tuple[int | bytes, ...]


def leading(candidates: Sequence[Path], most: int, owner: str | None = None) -> list[Path]:
    """The ``most`` best of the paths to one NLRI, the best one first, then the best of the others.

    Each path is looked at once, so that many paths cost little more than few.
    """
    if most == 1:
        return [best(candidates, owner)]
    left = [
        _Measured(
            path,
            (path.peer != owner, *(measure(path) for _, measure in _BEFORE_MED)),
            tuple(measure(path) for _, measure in _AFTER_MED),
        )
        for path in candidates
    ]
    found: list[Path] = []
    while left and len(found) < most:
        first = min(each.before for each in left)
        equal = {each.path: each for each in left if each.before == first}
        chosen = min((equal[path] for path in _lowest_med([*equal])), key=attrgetter("after"))
        found.append(chosen.path)
        left.remove(chosen)
    return found
