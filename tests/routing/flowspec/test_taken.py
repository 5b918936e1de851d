"""Flow routes of PEs that are trusted with them: who gets them, and that nobody else does."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest

from tests.routing import wire
from tests.routing.flowspec.policy import files
from tests.routing.flowspec.test_flow_engine import ALL, announced, as_words
from vpnctl.flowspec.nlri import frame
from vpnctl.model import VPNV4, RouteTarget
from vpnctl.model.family import FLOW_VPN4
from vpnctl.routing import inspect
from vpnctl.routing.engine import Engine
from vpnctl.routing.nlri import from_text
from vpnctl.routing.rewrite import compile_rules
from vpnctl.ruleset import Compiled, load

DROP = struct.pack("!HHf", 0x8006, 0, 0.0)
SLOW = struct.pack("!HHf", 0x8006, 0, 1e6)
MARK = bytes.fromhex("800900000000002e")
#: Of hq of E1 at pe0: its route distinguisher and target.
HQ_RD, HQ = 1, "65000:100"
ATTACKED = "flow4/10.0.0.1:1/destination=10.1.0.7/32,protocol=17"


class House:
    """An engine with the sessions of pe0 to pe3; pe0 and pe1 are trusted unless said otherwise."""

    def __init__(self, *e1: str, trusted: Sequence[str] = ("pe0", "pe1")) -> None:
        self.output = wire.Peers()
        self.compiled: Compiled = load(files(e1, (), trusted=trusted))
        self.engine = Engine(compile_rules(self.compiled.ruleset).rules, self.output)
        for number in range(4):
            self.up(number)

    def up(self, number: int) -> list[wire.Decoded]:
        asn = 65002 if number == 2 else wire.LOCAL_ASN
        opened = wire.opened(number, f"pe{number}", asn=asn, families=ALL)
        self.engine.session_up(opened)
        return self.hears(number)

    def hears(self, number: int) -> list[wire.Decoded]:
        found = self.output.updates(number)
        self.engine.written(number, self.engine.sessions[number].sent_octets)
        return found

    def quiet(self) -> bool:
        """Whether nobody is told anything."""
        heard = [self.hears(number) for number in self.engine.sessions]
        return not any(heard)

    def target(self, pe: str, vpn: str = "E1") -> str:
        endpoints = self.compiled.ruleset.vpns[vpn].endpoints
        (found,) = (one.export_targets[0] for one in endpoints if one.pe == pe)
        return str(found)

    def unicast(self, number: int, prefix: bytes, *, rd: int = 77, come: bool = True) -> None:
        """A PE announces a route of E1, or takes it back."""
        nlri = wire.vpnv4(rd, prefix)
        asn = [65002] if number == 2 else []
        attributes = wire.ORIGIN + wire.attribute(0x40, 2, wire.as_path(*asn))
        if number != 2:
            attributes += wire.LOCAL_PREF
        targets = wire.targets(self.target(f"pe{number}"))
        self.engine.updates(
            number,
            wire.update(wire.reach(VPNV4, nlri), attributes, targets)
            if come
            else wire.update(wire.unreach(VPNV4, nlri)),
        )

    def flow(
        self,
        number: int = 0,
        text: str = ATTACKED,
        *,
        targets: Sequence[str] = (HQ,),
        does: bytes = DROP,
        come: bool = True,
        more: bytes = b"",
    ) -> None:
        """A PE announces a flow route, or takes it back."""
        family, key = from_text(text)
        self.engine.updates(
            number,
            wire.update(
                wire.reach(family, frame(key), next_hop=bytes((10, 9, 9, 9))),
                wire.BASIC,
                wire.targets(*targets, others=does),
                more,
            )
            if come
            else wire.update(wire.unreach(family, frame(key))),
        )

    def apply(self, *e1: str, trusted: Sequence[str] = ("pe0", "pe1")) -> set[str]:
        self.compiled = load(files(e1, (), trusted=trusted), previous=self.compiled)
        change = compile_rules(self.compiled.ruleset, self.engine.rules)
        previewed = self.engine.audible(self.engine.preview(change))
        told = self.engine.apply(change)
        assert as_words(previewed) == as_words(told)
        return {move.peer for move in told}

    def status(self, peer: str = "pe0") -> str:
        (row,) = inspect.rib_in(self.engine, peer, FLOW_VPN4)
        return row.status


@pytest.fixture
def house() -> House:
    """pe0 announces 10.1.0.0/16 and everybody has been told."""
    found = House()
    found.unicast(0, bytes((10, 1)))
    assert not found.quiet()
    return found


def test_a_pe_asks_the_others_not_to_send_what_it_is_attacked_with(house: House) -> None:
    house.flow(more=wire.attribute(0xC0, 25, bytes(20)) + wire.attribute(0xC0, 8, bytes(4)))
    for number in (1, 3):
        ((text, told),) = announced(house.hears(number)).items()
        assert text == ATTACKED
        # Its target there; the rate and nothing that was not looked at; reflected.
        other = RouteTarget.parse(house.target(f"pe{number}")).octets
        assert told[16] == other + DROP
        assert told.attributes.keys() == {1, 2, 5, 9, 10, 16}
        assert told.next_hop == b""
        assert told[9] == house.engine.sessions[0].opened.peer_router_id
    house.hears(2)
    assert house.quiet()
    assert house.status() == "accepted"
    assert inspect.counts(house.engine).refused_flows == {}
    house.flow(come=False)
    for number in (1, 2, 3):
        (gone,) = house.hears(number)
        assert (gone.withdrawn_family, len(gone.withdrawn)) == (FLOW_VPN4, 1)
    assert house.quiet()
    assert not house.engine.ribs[FLOW_VPN4].entries


def test_by_default_nothing_is_taken_and_it_is_said_what_would_be() -> None:
    house = House(trusted=())
    house.unicast(0, bytes((10, 1)))
    house.quiet()
    house.flow()
    assert house.quiet()
    assert inspect.counts(house.engine).refused_flows == {"pe0": 1}
    sent, lines = inspect.explain(house.engine, *from_text(ATTACKED), "pe1")
    assert not sent
    assert "with `flow_routes` of pe0 set: pe1, pe2, pe3 would get it" in lines
    assert house.apply(trusted=("pe0",)) == {"pe1", "pe2", "pe3"}
    assert list(announced(house.hears(1))) == [ATTACKED]
    sent, lines = inspect.explain(house.engine, *from_text(ATTACKED), "pe1")
    assert sent
    assert lines[0] == "heard from pe0 with target 65000:100"
    assert house.apply(trusted=()) == {"pe1", "pe2", "pe3"}


def test_it_lives_and_dies_with_the_route_to_its_destination(house: House) -> None:
    house.unicast(0, bytes((10, 1)), come=False)
    house.quiet()
    house.flow()
    assert house.quiet()
    assert house.status() == (
        "refused: not feasible (RFC 9117): no unicast route leads to its destination (b)"
    )
    house.unicast(0, bytes((10, 1)))
    assert ATTACKED in announced(house.hears(1))
    # Another site announces a part of the destination, or more of it: the traffic is its own now.
    for other in (bytes((10, 1, 0, 7)), bytes((10, 1, 0))):
        house.unicast(1, other, rd=2)
        assert [len(one.withdrawn) for one in house.hears(3) if one.withdrawn] == [1]
        assert "pe1" in house.status()
        house.unicast(1, other, rd=2, come=False)
        assert ATTACKED in announced(house.hears(3))
    # What has nothing to do with it changes nothing.
    house.unicast(1, bytes((10, 2)), rd=2)
    assert ATTACKED not in announced(house.hears(3))
    # The session goes, with everything.
    house.engine.session_down(0)
    told = house.hears(3)
    assert {one.withdrawn_family for one in told} == {VPNV4, FLOW_VPN4}


def test_each_pe_is_judged_by_its_own_vrf(house: House) -> None:
    """pe3 itself announces the destination: at its place the flow would be about its own hosts."""
    house.unicast(3, bytes((10, 1, 0, 7)), rd=4)
    house.quiet()
    house.flow()
    assert house.quiet()
    assert "pe3 announces" in house.status() or "that of pe3" in house.status()


@pytest.mark.parametrize(
    ("text", "targets", "does", "why"),
    [
        ("flow4/10.0.0.2:1/destination=10.1.0.7/32", [HQ], DROP, "of another PE, pe1"),
        ("flow4/65000:4711/destination=10.1.0.7/32", [HQ], DROP, "nobody's route distinguisher"),
        (ATTACKED, [], DROP, "no route target"),
        (ATTACKED, ["65000:9999"], DROP, "not exported by the endpoint"),
        (ATTACKED, [HQ, "65000:9999"], DROP, "65000:9999 is not exported"),
        (ATTACKED, [HQ], MARK, "may only drop or limit"),
        (ATTACKED, [HQ], DROP + MARK, "may only drop or limit"),
        (ATTACKED, [HQ], bytes.fromhex("8008fde800000064"), "redirect to 65000:100"),
        (ATTACKED, [HQ], bytes.fromhex("0800000000000000"), "something unknown"),
        (ATTACKED, [HQ], b"", "it accepts"),
        (ATTACKED, [HQ], bytes.fromhex("800600007fc00000"), "no number"),
        ("flow4/10.0.0.1:1/protocol=17", [HQ], DROP, "no destination (a)"),
        ("flow4/10.0.0.1:1/destination=0.0.0.0/0", [HQ], DROP, "no unicast route"),
        ("flow4/10.0.0.1:1/destination=10.2.0.0/16", [HQ], DROP, "no unicast route"),
    ],
)
def test_what_a_trusted_pe_may_not_ask_for(
    house: House, text: str, targets: list[str], does: bytes, why: str
) -> None:
    house.flow(text=text, targets=targets, does=does)
    assert house.quiet()
    assert house.status().startswith("refused: ")
    assert why in house.status()
    assert inspect.counts(house.engine).refused_flows == {"pe0": 1}


def test_a_limit_passes_unless_it_could_open_what_a_rule_denies(house: House) -> None:
    house.flow(does=SLOW)
    (told,) = announced(house.hears(1)).values()
    assert told[16].endswith(SLOW)
    rule = "deny: {to: branch, protocol: tcp, at: branch}"
    assert house.apply(rule) == {"pe1", "pe2", "pe3"}
    (flow,) = (one for one in house.hears(3) if one.withdrawn)
    assert flow.withdrawn_family == FLOW_VPN4
    assert "it may only drop" in house.status()
    house.flow(does=DROP)
    assert ATTACKED in announced(house.hears(3))


def test_another_action_takes_the_place_of_the_one_before(house: House) -> None:
    house.flow(does=SLOW)
    house.quiet()
    house.flow(does=DROP)
    (told,) = house.hears(1)
    assert told[16].endswith(DROP)


def test_a_pe_that_comes_back_gets_them_and_its_own_go_when_it_goes(house: House) -> None:
    house.flow()
    house.quiet()
    house.engine.session_down(3)
    assert ATTACKED in announced(house.up(3))
    ((text, path),) = (
        (row.status, row.path) for row in inspect.rib_out(house.engine, "pe3", FLOW_VPN4)
    )
    assert (text, path.source) == ("sent", "pe0")
    house.engine.session_down(0)
    assert {one.withdrawn_family for one in house.hears(3)} == {VPNV4, FLOW_VPN4}
