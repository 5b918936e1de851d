"""What the benchmark calls right: its judgement must not be fooled by a wrong table."""

from __future__ import annotations

import pytest

from lab.bench.rawbgp import SessionLostError, Table
from lab.bench.workload import COMPANIONS, FAMILIES, Workload, announced, message, route_target

FAMILY = pytest.mark.parametrize("family", sorted(FAMILIES))


def _rewritten(workload: Workload, index: int, version: int = 0) -> bytes:
    """The sender's UPDATE with its target replaced in place."""
    customer = workload.customer_of(index)
    before = route_target(announced(customer))
    after = route_target(100_000 * (version + 1) + customer)
    sent = workload.update(index)
    assert sent.count(before) == 1
    return sent.replace(before, after)


def _table(workload: Workload) -> Table:
    table = Table(workload)
    table.expect_all({})
    return table


@FAMILY
def test_a_table_is_right_with_the_chunk_that_completes_it(family: str) -> None:
    workload = Workload(family, 250)
    table = _table(workload)
    stream = b"".join(_rewritten(workload, index) for index in range(250))
    cut = len(stream) - 7
    table.read(stream[:cut], 1)
    assert (table.wrong, table.complete_at) == (1, None)
    table.read(stream[cut:], 2)
    assert (table.wrong, table.complete_at, table.announced) == (0, 2, 250)


@FAMILY
def test_routes_that_were_not_rewritten_are_wrong(family: str) -> None:
    workload = Workload(family, 10)
    table = _table(workload)
    table.read(b"".join(workload.updates()), 1)
    assert table.wrong == 10
    assert table.complete_at is None
    assert table.first_difference


def test_an_additional_target_is_wrong() -> None:
    workload = Workload("evpn", 1)
    table = _table(workload)
    companion = COMPANIONS["evpn"]
    sent = _rewritten(workload, 0).replace(companion, route_target(7))
    table.read(sent, 1)
    assert table.wrong == 1


def test_a_med_of_another_route_is_wrong() -> None:
    workload = Workload("vpnv4", 2, own_attributes=True)
    table = _table(workload)
    own, other = (bytes((0x80, 4, 4)) + workload.med(index) for index in (0, 1))
    table.read(_rewritten(workload, 0).replace(own, other), 1)
    table.read(_rewritten(workload, 1), 2)
    assert table.wrong == 1


def test_a_route_too_many_is_wrong() -> None:
    table = _table(Workload("vpnv4", 3))
    for index in range(4):
        table.read(_rewritten(Workload("vpnv4", 4), index), index)
    assert table.wrong == 1


def test_a_rule_change_is_complete_when_all_its_routes_came_again() -> None:
    workload = Workload("vpls", 300)
    table = _table(workload)
    table.read(b"".join(_rewritten(workload, index) for index in range(300)), 1)
    table.expect_changes({2: 1})
    assert table.wrong == 100
    for index in workload.indexes(2):
        table.read(_rewritten(workload, index, 1), 10 + index)
    assert (table.wrong, table.complete_at, table.announced) == (0, 10 + 199, 100)


def test_a_change_of_another_customer_is_noticed() -> None:
    workload = Workload("vpnv4", 200)
    table = _table(workload)
    table.read(b"".join(_rewritten(workload, index) for index in range(200)), 1)
    table.expect_changes({1: 1})
    table.read(b"".join(_rewritten(workload, index, 1) for index in range(101)), 2)
    assert table.wrong == 1


def test_withdrawals_are_counted_and_end_of_rib_is_none() -> None:
    workload = Workload("vpnv4", 1)
    table = _table(workload)
    table.read(workload.end_of_rib(), 1)
    assert (table.withdrawn, table.end_of_ribs) == (0, 1)
    unreach = bytes((0, 1, 128)) + workload.nlri(0)
    attribute = bytes((0x80, 15, len(unreach))) + unreach
    table.read(message(2, bytes((0, 0, 0, len(attribute))) + attribute), 2)
    assert table.withdrawn == 1


def test_a_notification_ends_the_session() -> None:
    table = _table(Workload("vpnv4", 1))
    with pytest.raises(SessionLostError, match="4/0"):
        table.read(message(3, bytes((4, 0))), 1)
