"""What is done before anything is known of the link."""

from __future__ import annotations

import pytest

from vpnctl.sidecar.elimination import Effort
from vpnctl.sidecar.run.beginning import Beginning
from vpnctl.sidecar.run.steering import Look, Steering

NEAR, FAR = 0.0003, 0.02
FREE = Look(elapsed=0.01, stream=4_000_000, carried=4_000_000, held_s=0.0)
HELD = Look(elapsed=0.25, stream=3_000_000, carried=3_000_000, held_s=0.24)


def test_a_link_over_a_short_way_gets_octets_as_they_are_at_once() -> None:
    beginning = Beginning(NEAR, 100.0)
    assert beginning.most(100.0) is Effort.NONE
    beginning.seen(FREE)
    assert beginning.most(101.9) is Effort.NONE
    assert beginning.most(102.1) is Effort.ALL


def test_a_link_over_a_long_way_gets_everything_at_once() -> None:
    assert Beginning(FAR, 100.0).most(100.0) is Effort.ALL


def test_a_link_that_holds_octets_up_is_not_fast_however_near_it_is() -> None:
    beginning = Beginning(NEAR, 100.0)
    beginning.held(0.01)
    assert beginning.most(100.1) is Effort.NONE
    beginning.held(0.03)
    assert beginning.most(100.1) is Effort.ALL


def test_a_link_that_swallows_octets_has_to_deliver_them() -> None:
    beginning = Beginning(NEAR, 100.0)
    beginning.under_way(2 << 20, 1.0)
    # Where processors are busy, a little more may wait for a moment.
    beginning.under_way(16 << 20, 0.09)
    assert beginning.most(100.1) is Effort.NONE
    beginning.under_way((2 << 20) + 1, 0.11)
    assert beginning.most(100.1) is Effort.ALL


@pytest.mark.parametrize(("look", "most"), [(FREE, Effort.NONE), (HELD, Effort.ALL)])
def test_whether_it_was_the_link_that_held_octets_up_a_look_tells(look: Look, most: Effort) -> None:
    beginning = Beginning(NEAR, 100.0)
    beginning.seen(look)
    beginning.held(1.0)
    assert beginning.most(101.0) is most


def test_no_more_is_done_than_what_is_allowed() -> None:
    steering = Steering(True)
    assert steering.effort(1 << 20, Effort.NONE) is Effort.NONE
    assert steering.effort(1 << 20) is Effort.ALL
    assert Steering(False).effort(1 << 20, Effort.NONE) is Effort.ALL
