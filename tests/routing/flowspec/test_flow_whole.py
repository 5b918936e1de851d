"""Whatever happens, each PE has the flow routes that the policy gives it from scratch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.routing import wire
from tests.routing.flowspec.policy import EXTRAS, RULES_OF_E1, RULES_OF_E2, files, network
from vpnctl.flowspec.nlri import frame
from vpnctl.model import Family, Ruleset
from vpnctl.model.family import FLOW_FAMILIES, SESSION_FAMILIES
from vpnctl.routing.engine import Engine
from vpnctl.routing.flowspec.routes import flow_routes
from vpnctl.routing.inspect import access, counts, rib_out
from vpnctl.routing.rewrite import compile_rules
from vpnctl.ruleset import load

PES = ("pe0", "pe1", "pe2", "pe3")
_ALL = frozenset(SESSION_FAMILIES.values())
_FLOW = tuple(FLOW_FAMILIES.values())

#: What a PE was told of a flow: family and NLRI -> the extended communities.
Rib = dict[tuple[Family, bytes], bytes]


@st.composite
def _rules(draw: st.DrawFn, pool: tuple[str, ...]) -> list[str]:
    chosen = [each for each in pool if draw(st.booleans())]
    return [
        each + (f"\n{draw(st.sampled_from(EXTRAS))}" if each.startswith("accept") else "")
        for each in chosen
    ]


@st.composite
def _policies(draw: st.DrawFn) -> dict[str, bytes]:
    return files(
        draw(_rules(RULES_OF_E1)),
        draw(st.none() | _rules(RULES_OF_E2)),
        comment=draw(st.sampled_from(("", "a line more"))),
        cloud_is_plain=draw(st.booleans()),
    )


def expected(ruleset: Ruleset, pe: str, families: frozenset[Family]) -> Rib:
    """What a PE is to have, from scratch."""
    return {
        (route.family, route.nlri): b"".join(route.targets) + route.communities
        for vpn in ruleset.vpns.values()
        for route in flow_routes(vpn, ruleset)
        if route.pe == pe and route.family in families
    }


class Whole(RuleBasedStateMachine):
    """An engine, and its peers' RIBs replayed from octets."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: Iterator[int] = iter(range(1, 10**6))
        self.output = wire.Peers()
        self.up: dict[str, int] = {}
        self.families: dict[str, frozenset[Family]] = {}
        self.slow: set[str] = set()
        self.ribs: dict[str, Rib] = {}

    @initialize(policy=_policies())
    def begin(self, policy: dict[str, bytes]) -> None:
        self.policy = policy
        self.compiled = load(policy)
        self.engine = Engine(compile_rules(self.compiled.ruleset).rules, self.output)
        for pe in PES:
            self.session_up(pe, _ALL)

    @rule(
        pe=st.sampled_from(PES),
        families=st.sampled_from((_ALL, frozenset(_FLOW[:1]), frozenset(_FLOW[2:]))),
    )
    def session_up(self, pe: str, families: frozenset[Family]) -> None:
        number = next(self.numbers)
        self.up[pe], self.families[pe], self.ribs[pe] = number, families, {}
        self.slow.discard(pe)
        asn = 65002 if pe == "pe2" else wire.LOCAL_ASN
        self.engine.session_up(wire.opened(number, pe, asn=asn, families=families))
        self.settle()

    @rule(pe=st.sampled_from(PES))
    def session_down(self, pe: str) -> None:
        number = self.up.pop(pe, None)
        self.slow.discard(pe)
        if number is not None:
            self.engine.session_down(number)
            self.settle()

    @rule(plain=st.booleans())
    def a_pe_learns_or_forgets_a_family(self, plain: bool) -> None:
        """Nothing else of the policy changes."""
        self.rules_change(self.policy | {"network.yaml": network(cloud_is_plain=plain)})

    @rule(policy=_policies())
    def rules_change(self, policy: dict[str, bytes]) -> None:
        self.policy = policy
        self.compiled = load(policy, previous=self.compiled)
        change = compile_rules(self.compiled.ruleset, self.engine.rules)
        promised = self.engine.audible(self.engine.preview(change))
        told = self.engine.apply(change)
        assert [move[:1] + move[4:] for move in promised] == [move[:1] + move[4:] for move in told]
        before = {pe: dict(rib) for pe, rib in self.ribs.items()}
        self.settle()
        for pe in self.up.keys() - self.slow - {move.peer for move in told}:
            assert self.ribs[pe] == before[pe]

    @precondition(lambda self: self.up)
    @rule(data=st.data())
    def a_pe_announces_flows(self, data: st.DataObject) -> None:
        """Its own, or those of others, or anything; nobody is to hear of it."""
        pe = data.draw(st.sampled_from(sorted(self.up)))
        family = data.draw(st.sampled_from(_FLOW))
        known = [nlri for rib in self.ribs.values() for told, nlri in rib if told == family]
        nlri = data.draw(
            st.sampled_from(known or [b"\x03\x03\x81\x06"])
            | st.binary(min_size=1, max_size=30).map(frame)
        )
        target = data.draw(st.sampled_from(("65000:100", "65000:101", "65000:104")))
        if data.draw(st.booleans()):
            octets = wire.update(
                wire.reach(family, nlri, next_hop=b""), wire.BASIC, wire.targets(target)
            )
        else:
            octets = wire.update(wire.unreach(family, nlri))
        self.engine.updates(self.up[pe], octets)
        self.settle()

    @precondition(lambda self: self.up)
    @rule(data=st.data(), family=st.sampled_from(_FLOW))
    def refresh(self, data: st.DataObject, family: Family) -> None:
        pe = data.draw(st.sampled_from(sorted(self.up)))
        self.engine.refresh(self.up[pe], family)
        self.settle()

    @precondition(lambda self: self.up)
    @rule(data=st.data())
    def becomes_slow(self, data: st.DataObject) -> None:
        self.slow.add(data.draw(st.sampled_from(sorted(self.up))))

    @precondition(lambda self: self.slow)
    @rule(data=st.data())
    def catches_up(self, data: st.DataObject) -> None:
        self.slow.discard(data.draw(st.sampled_from(sorted(self.slow))))
        self.settle()

    def settle(self) -> None:
        """Everybody but the slow reads until nothing more comes; then all must be right."""
        while True:
            for pe, number in self.up.items():
                for update in self.output.updates(number):
                    for nlri in update.withdrawn:
                        del self.ribs[pe][update.withdrawn_family, nlri]  # type: ignore[arg-type]
                    for nlri in update.announced:
                        assert update.family in FLOW_FAMILIES.values()
                        self.ribs[pe][update.family, nlri] = update[16]  # type: ignore[index]
            behind = [
                each
                for pe, each in self.engine.by_peer.items()
                if pe not in self.slow and each.written_octets < each.sent_octets
            ]
            if not behind:
                break
            for each in behind:
                self.engine.written(each.opened.number, each.sent_octets)
        ruleset = self.compiled.ruleset
        for pe in self.up.keys() - self.slow:
            wanted = expected(ruleset, pe, self.families[pe])
            assert self.ribs[pe] == wanted
            shown = {(row.family, row.path.nlris[row.key]) for row in rib_out(self.engine, pe)}
            assert shown == wanted.keys()
            for family in self.families[pe]:
                sent = sum(told == family for told, _ in wanted)
                assert counts(self.engine).sent[pe, family] == sent
        self.nobody_has_what_is_not_for_it()

    def nobody_has_what_is_not_for_it(self) -> None:
        """A flow route has the route distinguisher and targets of one endpoint, at its PE."""
        vpns = self.compiled.ruleset.vpns
        for path, _ in access(self.engine):
            route = path.route
            here = [one for one in vpns[route.vpn].endpoints if one.pe == route.pe]
            if route.family.safi == 134:
                (endpoint,) = (one for one in here if route.key.startswith(one.rd.octets))
                assert set(route.targets) == {one.octets for one in endpoint.import_targets}
                assert endpoint.site in route.rule.sites
            else:
                every = {one.vpn for one in self.compiled.ruleset.endpoints() if one.pe == route.pe}
                assert every == {route.vpn}
                assert not route.targets


@pytest.fixture(autouse=True)
def _little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few UPDATEs fill a peer's room, so that slow ones have a backlog."""
    monkeypatch.setattr("vpnctl.routing.session.MOST_OCTETS_IN_FLIGHT", 200)


TestWhole = Whole.TestCase
TestWhole.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, report_multiple_bugs=False
)
