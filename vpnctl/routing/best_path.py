"""Which of several routes to one destination is best (RFC 4271 section 9.1.2.2, RFC 4456 9).

The interior cost to the next hop is not known here and so not compared.
"""

from __future__ import annotations

from collections.abc import Sequence

from vpnctl.routing.table import Path


def _after_med(path: Path) -> tuple[bool, bytes, int, bytes]:
    attributes = path.attributes
    return (
        not attributes.origin.external,
        attributes.originator_id,
        attributes.cluster_count,
        path.peer_address,
    )


def best(candidates: Sequence[Path], owner: str | None = None) -> Path:
    """The best of one or more paths to one NLRI.

    ``owner``: the PE to whose endpoint the NLRI's route distinguisher belongs.  Its path goes
    before all others, so that a PE which forges another's distinguisher displaces nothing.
    """
    if len(candidates) == 1:
        return candidates[0]
    owned = [path for path in candidates if path.peer == owner]
    left = owned or candidates
    first = min(
        (-path.attributes.local_pref, path.attributes.as_path_length, path.attributes.origin_code)
        for path in left
    )
    left = [
        path
        for path in left
        if (
            -path.attributes.local_pref,
            path.attributes.as_path_length,
            path.attributes.origin_code,
        )
        == first
    ]
    # MED is compared among routes of one neighbouring AS only, so it removes, it does not order.
    lowest: dict[int, int] = {}
    for path in left:
        asn, med = path.attributes.neighbor_as, path.attributes.med
        lowest[asn] = min(med, lowest.get(asn, med))
    left = [path for path in left if path.attributes.med == lowest[path.attributes.neighbor_as]]
    return min(left, key=_after_med)
