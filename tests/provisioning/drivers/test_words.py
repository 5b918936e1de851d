"""What a router says, as it is told and kept: on one line, without what a terminal would obey."""

from __future__ import annotations

from vpnctl.provisioning.drivers.refusals import legible


def test_words_are_on_one_line() -> None:
    assert legible("  the disk\n is   full\x85") == "the disk is full"


def test_nothing_that_a_terminal_obeys_is_left() -> None:
    assert legible("b\x9b31mob, \x1b[2J, \u202etxt\u202c") == "b?31mob, ?[2J, ?txt?"


def test_very_many_words_are_cut() -> None:
    told = legible("no " * 1_000_000)
    assert told.startswith("no no no")
    assert told.endswith(" ...")
    assert len(told) < 1100
