"""Trusted PEs that announce anything: nobody else's VPN hears of it, and nothing is left over."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.routing import wire
from tests.routing.flowspec.policy import RULES_OF_E1, files
from tests.routing.flowspec.test_flow_engine import ALL, as_words
from tests.routing.flowspec.test_taken import DROP, MARK, SLOW
from vpnctl.flowspec.nlri import RD_OCTETS, frame
from vpnctl.model import VPNV4, RouteDistinguisher
from vpnctl.model.family import FLOW_VPN4
from vpnctl.routing.engine import Engine
from vpnctl.routing.flowspec.taken import TakenPath
from vpnctl.routing.inspect import rib_out
from vpnctl.routing.nlri import from_text
from vpnctl.routing.rewrite import compile_rules
from vpnctl.ruleset import Compiled, load

#: Trusted ones: hq and branch of both E1 and E2; pe3 is not.
PES = {0: "pe0", 1: "pe1", 3: "pe3"}

#: Kind, session, route distinguisher and what it is about, targets, actions.
Step = tuple[str, int, str, tuple[str, ...], bytes]

#: What a session announced: the UPDATE that says so, by what it is about.
Said = dict[tuple[int, bytes], bytes]


def policy(trusted: Sequence[str], rules: Sequence[str], e2: bool) -> dict[str, bytes]:
    return files(rules, () if e2 else None, trusted=trusted)


_RULESET = load(policy(("pe0", "pe1"), (), True)).ruleset
_ENDPOINTS = tuple(_RULESET.endpoints())
_TARGETS = (*sorted({str(one.export_targets[0]) for one in _ENDPOINTS}), "65000:9999")
_RDS = (*sorted({str(one.rd) for one in _ENDPOINTS}), "65000:4711")

_prefixes = st.sampled_from(
    ["10.1.0.0/16", "10.1.7.0/24", "10.1.7.1/32", "10.2.0.0/16", "10.0.0.0/8"]
)
_some_targets = st.lists(st.sampled_from(_TARGETS), min_size=1, max_size=2, unique=True)
_numbers = st.sampled_from(sorted(PES))


@st.composite
def _speaking(draw: st.DrawFn) -> tuple[int, str, tuple[str, ...]]:
    """A PE, a route distinguisher and targets: mostly its own, and of one endpoint."""
    number = draw(_numbers)
    endpoint = draw(st.sampled_from([one for one in _ENDPOINTS if one.pe == PES[number]]))
    rd, targets = str(endpoint.rd), (str(endpoint.export_targets[0]),)
    lie = draw(st.integers(0, 5))
    if lie in (1, 3):
        rd = draw(st.sampled_from(_RDS))
    if lie in (2, 3):
        targets = tuple(draw(_some_targets))
    return number, rd, targets


@st.composite
def _unicast(draw: st.DrawFn) -> Step:
    number, rd, targets = draw(_speaking())
    return "unicast", number, f"{rd} {draw(_prefixes)}", targets, b""


@st.composite
def _flow(draw: st.DrawFn) -> Step:
    number, rd, targets = draw(_speaking())
    does = draw(st.sampled_from([DROP, DROP, DROP, SLOW, MARK, b""]))
    return "flow", number, f"flow4/{rd}/destination={draw(_prefixes)}", targets, does


#: With what it begins: hq and branch announce what is theirs, in E1 and in E2.
_HONEST: tuple[Step, ...] = tuple(
    ("unicast", number, f"{one.rd} 10.{number + 1}.0.0/16", (str(one.export_targets[0]),), b"")
    for number in (0, 1)
    for one in _ENDPOINTS
    if one.pe == PES[number]
)

_again = st.tuples(st.just("again"), _numbers)
_withdraw = st.tuples(st.just("withdraw"), st.integers(0, 50))
_rule = st.tuples(
    st.just("rules"),
    st.sampled_from([(), ("pe0",), ("pe0", "pe1")]),
    st.sampled_from([(), RULES_OF_E1[4:5], RULES_OF_E1[:1]]),
    st.booleans(),
)


def octets(step: Step) -> tuple[bytes, bytes]:
    """What a step announces: the withdrawal of it, and the announcement."""
    kind, _, text, targets, does = step
    if kind == "flow":
        family, key = from_text(text)
        nlri, hop = frame(key), b""
    else:
        rd, _, prefix = text.partition(" ")
        network, _, bits = prefix.partition("/")
        value = bytes(map(int, network.split(".")))[: (int(bits) + 7) // 8]
        body = (16 << 4 | 1).to_bytes(3, "big") + RouteDistinguisher.parse(rd).octets + value
        family, nlri, hop = VPNV4, bytes((88 + int(bits),)) + body, wire.NEXT_HOP[VPNV4]
    reach = wire.reach(family, nlri, next_hop=hop)
    announcement = wire.update(reach, wire.BASIC, wire.targets(*targets, others=does))
    return wire.update(wire.unreach(family, nlri)), announcement


class World:
    def __init__(self, compiled: Compiled) -> None:
        self.output = wire.Peers()
        self.compiled = compiled
        self.engine = Engine(compile_rules(compiled.ruleset).rules, self.output)
        self.holds: dict[tuple[int, bytes], bytes] = {}
        for number in PES:
            self.up(number)

    def up(self, number: int) -> None:
        self.engine.session_up(wire.opened(number, PES[number], families=ALL))
        self.listen()

    def listen(self) -> None:
        """Note what every PE has been told of flows."""
        for number in self.engine.sessions:
            for told in self.output.updates(number):
                if told.withdrawn_family == FLOW_VPN4:
                    for nlri in told.withdrawn:
                        assert self.holds.pop((number, nlri), None) is not None
                if told.family == FLOW_VPN4:
                    self.holds.update({(number, nlri): told[16] for nlri in told.announced})

    def apply(self, compiled: Compiled) -> None:
        self.compiled = compiled
        change = compile_rules(compiled.ruleset, self.engine.rules)
        previewed = self.engine.audible(self.engine.preview(change))
        assert as_words(previewed) == as_words(self.engine.apply(change))
        self.listen()

    def keeps_apart(self) -> None:
        """No flow of a PE is in a VPN that has not its route distinguisher at that PE."""
        for number, pe in PES.items():
            if number not in self.engine.sessions:
                continue
            for row in rib_out(self.engine, pe, FLOW_VPN4):
                if not isinstance(row.path, TakenPath):
                    continue
                rd = row.key[:RD_OCTETS]
                endpoints = tuple(self.compiled.ruleset.endpoints())
                (owner,) = (one for one in endpoints if one.rd.octets == rd)
                assert owner.pe == row.path.source
                assert self.engine.rules.ruleset.network.pes[owner.pe].flow_routes
                here = [one for one in endpoints if (one.vpn, one.pe) == (owner.vpn, pe)]
                imported = {target.octets for one in here for target in one.import_targets}
                assert set(row.targets) <= imported
                assert pe != owner.pe


@settings(deadline=None)
@given(
    st.sampled_from([("pe0",), ("pe0", "pe1")]),
    st.lists(
        st.one_of(_flow(), _unicast(), _flow(), _unicast(), _again, _withdraw, _rule), max_size=25
    ),
)
def test_whatever_trusted_pes_say(trusted: tuple[str, ...], steps: list[tuple]) -> None:  # type: ignore[type-arg]  # of five kinds
    world = World(load(policy(trusted, (), True)))
    said: Said = {}
    for step in (*_HONEST, *steps):
        if step[0] in ("flow", "unicast"):
            withdrawal, announcement = octets(step)
            said[step[1], withdrawal] = announcement
            world.engine.updates(step[1], announcement)
        elif step[0] == "withdraw" and said:
            number, withdrawal = sorted(said)[step[1] % len(said)]
            del said[number, withdrawal]
            world.engine.updates(number, withdrawal)
        elif step[0] == "again":
            world.engine.session_down(step[1])
            world.holds = {
                place: told for place, told in world.holds.items() if place[0] != step[1]
            }
            said = {place: told for place, told in said.items() if place[0] != step[1]}
            world.listen()
            world.up(step[1])
        elif step[0] == "rules":
            world.apply(load(policy(*step[1:]), previous=world.compiled))
        world.listen()
        world.keeps_apart()
    anew = World(world.compiled)
    for (number, _), announcement in said.items():
        anew.engine.updates(number, announcement)
        anew.listen()
    assert world.holds == anew.holds
    assert set(world.engine.taken.paths) == set(anew.engine.taken.paths)
