"""The decision process, step by step."""

from __future__ import annotations

import struct
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.routing import wire
from tests.routing.wire import attribute
from vpnctl.model import VPNV4
from vpnctl.routing.attributes import Origin, parse
from vpnctl.routing.best_path import best, leading, ranked
from vpnctl.routing.guard import Account
from vpnctl.routing.rewrite import Verdict
from vpnctl.routing.table import LocRib, Path, TargetGroup

RIB = LocRib(VPNV4)


def path(
    peer: str,
    *,
    local_pref: int = 100,
    asns: tuple[int, ...] = (),
    origin: int = 0,
    med: int | None = None,
    external: bool = False,
    router_id: int = 1,
    originator: int | None = None,
    clusters: int = 0,
    address: int = 1,
) -> Path:
    """A path that differs from the others in what is named only."""
    raw = [attribute(0x40, 1, bytes((origin,))), attribute(0x40, 2, wire.as_path(*asns))]
    if med is not None:
        raw.append(attribute(0x80, 4, struct.pack("!I", med)))
    if not external:
        raw.append(attribute(0x40, 5, struct.pack("!I", local_pref)))
    if originator is not None:
        raw.append(attribute(0x80, 9, bytes((10, 0, 0, originator))))
    if clusters:
        raw.append(attribute(0x80, 10, b"hops" * clusters))
    heard_from = Origin(
        external, True, wire.LOCAL_ASN, wire.ROUTER_ID, bytes((10, 0, 0, router_id))
    )
    group = TargetGroup(peer, VPNV4, frozenset(), Verdict({}, frozenset()))
    attributes, account = parse(raw, heard_from), Account(VPNV4)
    return Path(group, RIB, bytes((10, 0, 0, address)), bytes(12), b"", attributes, account)


@pytest.mark.parametrize(
    ("winner", "loser", "reason"),
    [
        (path("a", local_pref=200, asns=(1, 2)), path("b"), "a higher LOCAL_PREF"),
        (path("a", asns=(1,), origin=2), path("b", asns=(1, 2)), "a shorter AS_PATH"),
        (path("a", origin=0, med=9), path("b", origin=1, med=1), "a lower ORIGIN"),
        (path("a", med=None), path("b", med=1), "a lower MULTI_EXIT_DISC"),
        (
            path("a", asns=(1,), external=True, router_id=9),
            path("b", asns=(2,)),
            "heard from an external peer",
        ),
        (
            path("a", originator=1, router_id=9, clusters=2),
            path("b", router_id=2),
            "a lower router id of the originator",
        ),
        (path("a", clusters=1, address=9), path("b", clusters=2), "a shorter CLUSTER_LIST"),
        (path("b", address=1), path("a", address=2), "a lower peer address"),
        (path("a"), path("b"), "the first name"),
    ],
)
def test_each_step_decides(winner: Path, loser: Path, reason: str) -> None:
    for order in permutations((winner, loser)):
        assert ranked(order) == (winner, [(loser, reason)])
        assert best(order) is winner


def test_the_owner_of_the_distinguisher_goes_first() -> None:
    forged, real = path("a", local_pref=4000), path("b")
    assert ranked([forged, real], "b") == (real, [(forged, "its PE has the route distinguisher")])
    assert best([forged, real], "c") is forged


def test_med_counts_among_routes_of_one_neighbour_only() -> None:
    # The lower MED of another neighbour does not remove the route; the same neighbour's does.
    first = path("a", asns=(64512,), med=50, router_id=1)
    second = path("b", asns=(64513,), med=10, router_id=2)
    assert best([first, second]) is first
    third = path("c", asns=(64512,), med=20, router_id=3)
    for order in permutations((first, second, third)):
        winner, losers = ranked(order)
        assert winner is second
        assert {p.peer: why for p, why in losers} == {
            "a": "a lower MULTI_EXIT_DISC",
            "c": "a lower router id of the originator",
        }


def test_a_set_counts_one_and_confederations_nothing() -> None:
    origin = Origin(False, True, wire.LOCAL_ASN, wire.ROUTER_ID, b"\x0a\0\0\1")
    value = b"\1\2" + struct.pack("!II", 1, 2) + b"\3\2" + struct.pack("!II", 3, 4)
    value += wire.as_path(5, 6)
    found = parse([wire.ORIGIN, attribute(0x40, 2, value)], origin)
    assert found.as_path_length == 3
    assert found.neighbor_as == 0


def test_local_pref_of_an_external_peer_does_not_count() -> None:
    origin = replace(path("a", external=True).attributes.origin)
    raw = [wire.ORIGIN, wire.EMPTY_AS_PATH, attribute(0x40, 5, struct.pack("!I", 4000))]
    assert parse(raw, origin).local_pref == 100


@given(
    st.lists(
        st.builds(
            path,
            st.sampled_from("abc"),
            local_pref=st.sampled_from((100, 200)),
            asns=st.sampled_from(((), (1,), (2,), (1, 2))),
            med=st.sampled_from((None, 1, 2)),
            external=st.booleans(),
            router_id=st.integers(1, 2),
            clusters=st.integers(0, 1),
            address=st.integers(1, 3),
        ),
        min_size=2,
        max_size=6,
    ),
    st.integers(1, 6),
    st.sampled_from(("a", "b", None)),
)
def test_those_that_lead_are_each_the_best_of_what_is_left(
    paths: list[Path], most: int, owner: str | None
) -> None:
    for slot, each in enumerate(paths):
        each.slot = slot
    left, wanted = list(paths), []
    while left and len(wanted) < most:
        wanted.append(best(left, owner))
        left.remove(wanted[-1])
    assert leading(paths, most, owner) == wanted
