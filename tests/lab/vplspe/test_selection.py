"""Label arithmetic and import decision, without a socket or a device."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnctl.lab.vplspe.labels import LAST_LABEL, LabelBlock
from vpnctl.lab.vplspe.selection import Heard, Selection, difference, select
from vpnctl.lab.vplspe.values import (
    Layer2Info,
    NlriKey,
    PeConfig,
    Pseudowire,
    VeRoute,
    VpnAtPe,
)
from vpnctl.model import RouteDistinguisher, RouteTarget

E1, E2, OTHER = (RouteTarget.parse(f"65000:{number}") for number in (101, 201, 999))
BLOCK, LAYER2 = LabelBlock(5000, 1, 8), Layer2Info(19, 1500)
SERVER, SECOND = "10.0.0.100", "10.0.0.101"


def vpn(name: str, target: RouteTarget, base: int, ve_id: int = 1) -> VpnAtPe:
    return VpnAtPe(
        name=name, rd=RouteDistinguisher.parse(f"10.0.0.1:{base}"), imports=frozenset((target,)),
        exports=(target,), ve_id=ve_id, block=LabelBlock(base, 1, 8), bridge=name,
        interfaces=("eth1",), vlan=None, mtu=1500,
    )  # fmt: skip


CONFIG = PeConfig(
    router_id=IPv4Address("10.0.0.1"), address=IPv4Address("10.0.0.1"), asn=65000, hold_time=9,
    neighbors=(), underlay=(), vpns=(vpn("E1", E1, 1000), vpn("E2", E2, 2000)),
)  # fmt: skip


def route(
    ve_id: int = 2,
    *,
    rd: str = "10.0.0.2:1",
    block: LabelBlock = BLOCK,
    next_hop: str = "10.0.0.2",
    targets: frozenset[RouteTarget] = frozenset((E1,)),
    local_preference: int = 100,
    layer2: Layer2Info | None = LAYER2,
) -> VeRoute:
    key = NlriKey(rd, ve_id, block.offset)
    return VeRoute(key, block, next_hop, targets, local_preference, layer2)


def heard(*routes: VeRoute, by: str = SERVER) -> Heard:
    return {by: {one.key: one for one in routes}}


def test_labels_are_those_of_the_rfc() -> None:
    """RFC 4761 section 3.2.2: LB + V - VBO, while VBO <= V < VBO + VBS."""
    block = LabelBlock(base=1000, offset=5, size=4)
    assert [block.label(ve_id) for ve_id in (4, 5, 8, 9)] == [None, 1000, 1003, None]


@given(
    st.integers(16, 10**6), st.integers(1, 100), st.integers(1, 50),
    st.integers(16, 10**6), st.integers(1, 100), st.integers(1, 50),
    st.integers(1, 200), st.integers(1, 200),
)  # fmt: skip
def test_what_one_end_transmits_the_other_receives(
    base: int, offset: int, size: int, base2: int, offset2: int, size2: int, here: int, there: int
) -> None:
    """Both ends compute the labels of a pseudowire from the same two blocks."""
    ours, theirs = LabelBlock(base, offset, size), LabelBlock(base2, offset2, size2)

    def at(own: LabelBlock, own_ve: int, remote: LabelBlock, remote_ve: int) -> Selection:
        pe = replace(CONFIG, vpns=(replace(vpn("E1", E1, 16, own_ve), block=own),))
        return select(pe, heard(route(remote_ve, block=remote)))

    near, far = at(ours, here, theirs, there), at(theirs, there, ours, here)
    assert len(near.pseudowires) == len(far.pseudowires)
    for one, other in zip(near.pseudowires, far.pseudowires, strict=True):
        assert (one.receive, one.transmit) == (other.transmit, other.receive)
        assert one.receive in ours.labels
        assert one.transmit in theirs.labels
    assert bool(near.pseudowires) == (
        here != there and there in ours.ve_ids and here in theirs.ve_ids
    )


def test_a_route_becomes_a_pseudowire() -> None:
    selection = select(CONFIG, heard(route()))
    assert selection.refusals == ()
    assert selection.pseudowires == (Pseudowire("E1", 2, IPv4Address("10.0.0.2"), 1001, 5000),)
    assert selection.pseudowires[0].device == "pw1001"


def test_a_route_that_no_import_target_asks_for_is_not_even_refused() -> None:
    assert select(CONFIG, heard(route(targets=frozenset((OTHER,))))) == Selection((), ())
    both = select(CONFIG, heard(route(targets=frozenset((OTHER, E1)))))
    assert [one.vpn for one in both.pseudowires] == ["E1"]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (route(1), "its VE-ID 1 is ours"),
        (route(0), "0 is no VE-ID"),
        (route(9), "our label block is for the VE-IDs 1 to 8; give it a larger size"),
        (
            route(block=LabelBlock(5000, 2, 4)),
            "its label block is for the VE-IDs 2 to 5, ours is 1",
        ),
        (route(block=LabelBlock(5000, 1, 0)), "its label block is empty"),
        (route(block=LabelBlock(3, 1, 8)), "its labels 3 to 10 are not within 16 to 1048575"),
        (
            route(block=LabelBlock(LAST_LABEL, 1, 2)),
            "its labels 1048575 to 1048576 are not within 16 to 1048575",
        ),
        (route(layer2=Layer2Info(4, 1500)), "its encapsulation is 4, not VPLS (19)"),
        (route(layer2=Layer2Info(19, 1400)), "its MTU is 1400, ours 1500"),
        (route(next_hop="10.0.0.1"), "its next hop 10.0.0.1 is ourselves"),
        (route(next_hop="2001:db8::1"), "its next hop 2001:db8::1 is no IPv4 address"),
        *(
            (route(next_hop=hop), f"its next hop {hop} is not the address of a router")
            for hop in ("0.0.0.0", "127.0.0.1", "224.0.0.1", "169.254.1.1", "255.255.255.255")
        ),
    ],
)
def test_a_route_that_cannot_be_used_is_refused_with_its_reason(bad: VeRoute, why: str) -> None:
    selection = select(CONFIG, heard(bad))
    assert selection.pseudowires == ()
    assert [(one.vpn, one.route, one.neighbor, one.why) for one in selection.refusals] == [
        ("E1", str(bad.key), SERVER, why)
    ]


def test_a_next_hop_outside_the_underlay_is_refused() -> None:
    config = replace(CONFIG, underlay=(IPv4Network("10.0.0.0/24"),))
    assert len(select(config, heard(route())).pseudowires) == 1
    (refusal,) = select(config, heard(route(next_hop="192.0.2.1"))).refusals
    assert refusal.why == "its next hop 192.0.2.1 is outside the underlay"


def test_what_is_not_said_of_layer_2_is_no_mistake() -> None:
    for layer2 in (None, Layer2Info(19, 0)):
        assert len(select(CONFIG, heard(route(layer2=layer2))).pseudowires) == 1


def test_of_several_blocks_of_a_ve_the_one_with_our_label_is_taken() -> None:
    """RFC 4761 section 3.2.2: a VE announces another block when VE-IDs run out of the first."""
    selection = select(
        CONFIG, heard(route(block=LabelBlock(6000, 9, 8)), route(block=LabelBlock(5000, 1, 8)))
    )
    assert [one.transmit for one in selection.pseudowires] == [5000]
    assert selection.refusals == ()


def test_the_same_route_of_two_servers_is_one_pseudowire() -> None:
    selection = select(CONFIG, {**heard(route()), **heard(route(), by=SECOND)})
    assert len(selection.pseudowires) == 1
    assert selection.refusals == ()


def test_a_ve_at_two_pes_is_reached_by_the_better_one() -> None:
    """RFC 4761 section 3.5: one PE of a multi-homed site is chosen by BGP's path selection."""
    far = route(rd="10.0.0.3:1", next_hop="10.0.0.3", local_preference=200)
    selection = select(CONFIG, heard(route(), far))
    assert [str(one.peer) for one in selection.pseudowires] == ["10.0.0.3"]
    assert [one.why for one in selection.refusals] == ["the route to this VE by 10.0.0.3 is better"]


def test_one_whose_pe_has_been_away_for_long_is_the_last_choice() -> None:
    """RFC 9494 section 4.3, before anything else."""
    far = route(rd="10.0.0.3:1", next_hop="10.0.0.3", local_preference=200)
    selection = select(CONFIG, heard(route(), replace(far, long_lived_stale=True)))
    assert [str(one.peer) for one in selection.pseudowires] == ["10.0.0.2"]
    selection = select(CONFIG, heard(replace(route(), long_lived_stale=True)))
    assert [str(one.peer) for one in selection.pseudowires] == ["10.0.0.2"]


def test_overlapping_blocks_of_two_ves_at_one_pe_are_not_both_used() -> None:
    selection = select(
        CONFIG, heard(route(2), route(3, rd="10.0.0.2:9", block=LabelBlock(5004, 1, 8)))
    )
    assert [one.ve_id for one in selection.pseudowires] == [2]
    assert [one.why for one in selection.refusals] == [
        "10.0.0.2 has given labels of its block to 10.0.0.2:1:ve2@1 in E1"
    ]


def test_overlapping_blocks_of_two_customers_at_one_pe_are_not_both_used() -> None:
    intruder = route(3, rd="10.0.0.66:1", targets=frozenset((E2,)))
    selection = select(CONFIG, heard(route(2), intruder))
    assert [one.vpn for one in selection.pseudowires] == ["E1"]
    assert [one.vpn for one in selection.refusals] == ["E2"]


def test_the_same_labels_at_two_pes_are_no_overlap() -> None:
    selection = select(CONFIG, heard(route(2), route(3, rd="10.0.0.3:1", next_hop="10.0.0.3")))
    assert [one.ve_id for one in selection.pseudowires] == [2, 3]


BLOCKS = st.builds(LabelBlock, st.integers(0, 60), st.integers(0, 12), st.integers(0, 9))
ROUTES = st.builds(
    route,
    st.integers(0, 12),
    rd=st.sampled_from(["10.0.0.2:1", "10.0.0.3:1", "10.0.0.2:2"]),
    block=BLOCKS,
    next_hop=st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3", "224.0.0.1"]),
    targets=st.frozensets(st.sampled_from([E1, E2, OTHER])),
    local_preference=st.sampled_from([100, 200]),
)


@given(st.lists(ROUTES, max_size=12), st.randoms(use_true_random=False))
def test_whatever_is_announced_no_frame_can_go_astray(
    routes: list[VeRoute], chance: object
) -> None:
    selection = select(CONFIG, heard(*routes))
    pseudowires = selection.pseudowires
    vpns = {one.name: one for one in CONFIG.vpns}
    # What comes in is of one VE of one customer; what goes out is for one.
    assert len({one.receive for one in pseudowires}) == len(pseudowires)
    assert len({(one.peer, one.transmit) for one in pseudowires}) == len(pseudowires)
    assert len({(one.vpn, one.ve_id) for one in pseudowires}) == len(pseudowires)
    for one in pseudowires:
        assert one.receive == vpns[one.vpn].block.label(one.ve_id)
        assert one.peer != CONFIG.address
        assert any(
            each.targets & vpns[one.vpn].imports and each.block.label(1) == one.transmit
            for each in routes
        )
    # The order of arrival does not matter.
    latest = list(heard(*routes)[SERVER].values())
    chance.shuffle(latest)  # type: ignore[attr-defined]
    assert select(CONFIG, heard(*latest)) == selection


@given(st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20)))
def test_the_difference_leads_from_what_is_to_what_shall_be(
    there: set[int], shall: set[int]
) -> None:
    def wires(numbers: set[int], transmit: int) -> set[Pseudowire]:
        peer = IPv4Address("10.0.0.2")
        return {Pseudowire("E1", one, peer, one, one % 2 and transmit) for one in numbers}

    present, wanted = wires(there, 1), wires(shall, 2)
    change = difference(present, wanted)
    left = present - set(change.remove)
    # Nothing is added whose device is still there.
    assert not {one.device for one in left} & {one.device for one in change.add}
    assert left | set(change.add) == wanted
    assert left == present & wanted
