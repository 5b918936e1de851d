"""Which of several routes to one destination is best (RFC 4271 section 9.1.2.2, RFC 4456 9).

The interior cost to the next hop is not known here and so not compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

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


#: The steps of the decision, each with the reason for what it keeps.
_STEPS: tuple[tuple[str, _Step], ...] = (
    ("a higher LOCAL_PREF", _lowest(lambda path: -path.attributes.local_pref)),
    ("a shorter AS_PATH", _lowest(lambda path: path.attributes.as_path_length)),
    ("a lower ORIGIN", _lowest(lambda path: path.attributes.origin_code)),
    ("a lower MULTI_EXIT_DISC", _lowest_med),
    ("heard from an external peer", _lowest(lambda path: not path.attributes.origin.external)),
    ("a lower router id of the originator", _lowest(lambda path: path.attributes.originator_id)),
    ("a shorter CLUSTER_LIST", _lowest(lambda path: path.attributes.cluster_count)),
    ("a lower peer address", _lowest(lambda path: path.peer_address)),
    # Two PEs cannot have one address; the name makes the outcome certain all the same.
    ("the first name", _lowest(lambda path: path.peer.encode())),
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
