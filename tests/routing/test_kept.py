"""Another engine goes on with the sessions of one that is gone, and no peer can tell."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from tests.routing import wire
from tests.routing.test_engine import NLRI, PE0, PE1, PE2, RT0, RT1, House, announce
from tests.routing.test_engine_whole import Whole, _crowded, _with_paths
from tests.support.effort import examples
from tests.support.rulesets import Policy, build, edited
from vpnctl.model import VPNV4
from vpnctl.routing import delivery, kept, session
from vpnctl.routing.engine import Engine
from vpnctl.routing.kept import Told
from vpnctl.routing.rewrite import compile_rules
from vpnctl.routing.session import Opened


def _opened(number: int, pe: str) -> Opened:
    """An external and an internal PE, with and without demarcated refreshes."""
    if pe == "pe2":
        return wire.opened(number, pe, asn=65002)
    return wire.opened(number, pe, enhanced_refresh=pe == "pe1", asn4=pe != "pe3")


class Kept(Whole):
    """Sessions outlive engines; what was heard and told is an image and what came since."""

    opened = staticmethod(_opened)

    def __init__(self) -> None:
        super().__init__()
        self.heard: dict[int, bytes] = {}
        self.told_octets: dict[int, bytes] = {}

    @initialize(policy=_crowded())
    def begin(self, policy: Policy) -> None:
        super().begin(policy)
        self._listen()

    def _listen(self) -> None:
        """Keep what the engine hears."""
        plain = self.engine.updates

        def updates(number: int, messages: bytes) -> None:
            self.heard[number] = self.heard.get(number, b"") + messages
            plain(number, messages)

        self.engine.updates = updates  # type: ignore[method-assign]

    def replay(self) -> None:
        for opened in self.up.values():
            sent = self.output.sent.get(opened.number, b"")
            number = opened.number
            self.told_octets[number] = self.told_octets.get(number, b"") + sent
        super().replay()

    @rule(data=st.data())
    def images(self, data: st.DataObject) -> None:
        """What was kept of a session is made less of."""
        for opened in self.up.values():
            if data.draw(st.booleans()):
                image = list(self.engine.image(opened.number))
                self.heard[opened.number] = b"".join(o for heard, o in image if heard)
                self.told_octets[opened.number] = b"".join(o for heard, o in image if not heard)

    @precondition(lambda self: self.up)
    @rule(data=st.data(), changed=st.booleans())
    def another_engine(self, data: st.DataObject, changed: bool) -> None:
        """The engine is gone, and there is another, perhaps with other rules."""
        self.more_updates(data, 3)
        if changed:
            for _ in range(3):
                self.policy = data.draw(edited(self.policy))
                self.ruleset = build(self.policy, self.ruleset)
            self.reference.ruleset = self.ruleset
        # What stays of PEs that are away is nobody's but the engine's.
        self.reference.left.clear()
        self.lost.clear()
        self.engine = Engine(compile_rules(self.ruleset).rules, self.output)
        for opened in self.up.values():
            self.engine.session_held(opened)
        for opened in self.up.values():
            self.engine.updates(opened.number, self.heard.get(opened.number, b""))
        assert not any(self.output.sent.values()), "nobody is told anything before all is known"
        for opened in self.up.values():
            told = Told(opened.paths_sent)
            told.add(self.told_octets.get(opened.number, b""))
            self.engine.resume(opened.number, told)
        self._listen()
        self.settle()

    @precondition(lambda self: self.up)
    @rule(data=st.data())
    def engine_with_other_rules(self, data: st.DataObject) -> None:
        # Rules are drawn alike; this is what it is about.
        self.another_engine(data, True)


@pytest.fixture(autouse=True)
def _little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MOST_OCTETS_IN_FLIGHT", 150)
    monkeypatch.setattr(delivery, "_FULL_TABLE_OCTETS", 1)
    monkeypatch.setattr(kept, "_STEP", 1)


class KeptPaths(Kept):
    """The same with path identifiers (RFC 7911)."""

    families = (VPNV4,)
    opened = staticmethod(_with_paths)


def _next(house: House, number: int) -> list[wire.Decoded]:
    """What a peer is told by another engine that has the images of all sessions."""
    former, output = house.engine, wire.Peers()
    engine = Engine(former.rules, output)
    images = {each: list(former.image(each)) for each in former.sessions}
    for session_ in former.sessions.values():
        engine.session_held(session_.opened)
    for each, image in images.items():
        engine.updates(each, b"".join(octets for heard, octets in image if heard))
    for each, image in images.items():
        told = Told(former.sessions[each].opened.paths_sent)
        told.add(b"".join(octets for heard, octets in image if not heard))
        engine.resume(each, told)
        engine.written(each, engine.sessions[each].sent_octets)
    return output.updates(number)


def test_who_has_everything_is_told_nothing() -> None:
    house = House()
    house.say(PE0, announce(NLRI))
    house.hears(PE1)
    assert _next(house, PE1) == []


def test_what_waited_for_a_slow_peer_is_told_by_the_next_one() -> None:
    house = House()
    # Nothing of it is read, so the second one waits.
    house.say(PE0, announce(NLRI))
    others = [wire.vpnv4(10, bytes((10, 9, item))) for item in range(20)]
    for other in others:
        house.say(PE0, announce(other))
    house.say(PE0, announce(NLRI, more=wire.attribute(0x80, 4, bytes(4))))
    assert house.engine.by_peer["pe1"].waiting
    told = _next(house, PE1)
    [update] = [each for each in told if NLRI in each.announced]
    assert update[4] == bytes(4)
    # Of the others those that fitted were told before.
    assert len([nlri for each in told for nlri in each.announced if nlri in others]) >= 15


def test_which_of_two_paths_was_told_is_not_guessed() -> None:
    house = House()
    nlri = wire.vpnv4(7777, b"\x0a\x01\x00")
    house.say(PE0, announce(nlri, targets=(RT0,)))
    house.say(PE1, announce(nlri, targets=(RT1,)))
    house.hears(PE2)
    [update] = _next(house, PE2)
    assert update.announced == [nlri]


TestKept = Kept.TestCase
TestKept.settings = settings(
    max_examples=examples(30),
    stateful_step_count=30,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
TestKeptPaths = KeptPaths.TestCase
TestKeptPaths.settings = TestKept.settings
