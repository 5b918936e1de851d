"""A link stalls when nothing is answered, and not when nobody has listened."""

from __future__ import annotations

from vpnctl.migration.disk.silence import STALLED_S, Silence


def test_a_link_without_an_answer_stalls_at_the_second_look() -> None:
    silence = Silence()
    looks = [silence.seen(at, at) for at in (0.0, 1.0, STALLED_S, 3.1, 3.2, 3.6)]
    assert looks == [False, False, False, False, False, True]


def test_who_was_stopped_reads_the_answers_first() -> None:
    silence = Silence()
    assert not silence.seen(0.0, 0.0)
    assert not silence.seen(60.0, 60.0)
    # A moment later they are read, and other questions are open.
    assert not silence.seen(0.2, 60.6)
    assert not silence.seen(STALLED_S + 0.1, 64.0)
    assert silence.seen(STALLED_S + 0.6, 64.5)
