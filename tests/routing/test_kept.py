"""Another engine goes on with the sessions of one that is gone, and no peer can tell."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from tests.routing import wire
from tests.routing.test_engine_whole import Whole, _crowded, _with_paths
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


TestKept = Kept.TestCase
TestKept.settings = settings(
    max_examples=30,
    stateful_step_count=30,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
TestKeptPaths = KeptPaths.TestCase
TestKeptPaths.settings = TestKept.settings
