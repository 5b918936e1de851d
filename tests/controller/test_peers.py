"""Between the session process and the engine: what comes late, and what comes unasked."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from ipaddress import IPv4Address

import pytest

from tests.routing import wire
from tests.support.rulesets import LOCAL_ASN, ROUTER_ID, network
from vpnctl.bgp.wire import Configured, NeighborConfig, Problem, SessionClosed, SessionOpened
from vpnctl.controller.events import EventHub
from vpnctl.controller.peers import Peers, SessionState
from vpnctl.errors import SessionProcessError
from vpnctl.model import EVPN, VPNV4, Listen, Ruleset
from vpnctl.routing.rewrite import compile_rules

pytestmark = pytest.mark.anyio


class Speaker:
    """A session process that does what it is told, or refuses to listen."""

    found = False

    def __init__(self) -> None:
        self.sent: list[tuple[int, bytes]] = []
        self.notified: list[tuple[int, int, int, bool]] = []
        self.neighbors: tuple[NeighborConfig, ...] = ()
        self.problems: tuple[Problem, ...] = ()

    async def start(self) -> None:
        pass

    async def configure(
        self, neighbors: tuple[NeighborConfig, ...], listens: tuple[Listen, ...]
    ) -> Configured:
        self.neighbors = tuple(neighbors)
        return Configured(1, tuple(listens), self.problems)

    def send(self, session: int, data: bytes) -> None:
        self.sent.append((session, data))

    def notify(self, session: int, code: int, subcode: int, *, hard: bool) -> None:
        self.notified.append((session, code, subcode, hard))


@pytest.fixture
def speaker() -> Speaker:
    return Speaker()


@pytest.fixture
def peers(speaker: Speaker) -> Peers:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    rules = compile_rules(Ruleset(network(), {})).rules
    peers = Peers(rules, EventHub(lambda: now), lambda: now)
    peers._speaker = speaker  # type: ignore[assignment]
    return peers


def opened(neighbor: str) -> SessionOpened:
    return SessionOpened(
        neighbor=neighbor,
        families=((VPNV4.afi, VPNV4.safi), (1, 1)),
        asn4=True,
        message_size=4096,
        local_asn=LOCAL_ASN,
        peer_asn=LOCAL_ASN,
        peer_router_id=IPv4Address("10.0.0.1"),
        hold_time=90,
        refresh="enhanced",
        local_address=ROUTER_ID,
        local_port=179,
        peer_address=IPv4Address("10.0.0.1"),
        peer_port=50000,
    )


async def test_a_session_becomes_one_of_the_engine(peers: Peers, speaker: Speaker) -> None:
    await peers.configure(network())
    assert {neighbor.name for neighbor in speaker.neighbors} == set(peers.states)
    peers.session_up(7, opened("pe0"))
    session = peers.engine.by_peer["pe0"].opened
    # Families that are none of ours do not count.
    assert (session.number, session.families) == (7, frozenset((VPNV4,)))
    assert session.peer_address == IPv4Address("10.0.0.1").packed
    assert session.router_id == ROUTER_ID.packed
    assert session.enhanced_refresh
    assert peers.states["pe0"].state == "established"
    (end,) = [wire.decode(octets[19:]) for number, octets in speaker.sent if number == 7]
    assert end.end_of_rib
    peers.session_down(7, SessionClosed("pe0", "hold timer expired"))
    assert peers.engine.by_peer == {}
    assert (peers.states["pe0"].state, peers.states["pe0"].reason) == ("idle", "hold timer expired")
    peers.neighbor_state("pe0", "connect", "")
    assert peers.states["pe0"].reason == "hold timer expired"


async def test_a_session_of_a_pe_that_was_just_taken_out_is_nothing(peers: Peers) -> None:
    await peers.configure(network(("pe1",)))
    peers.session_up(7, opened("pe0"))
    peers.neighbor_state("pe0", "established", "")
    peers.updates(7, wire.update(wire.BASIC))
    peers.refresh(7, VPNV4.afi, 0, VPNV4.safi)
    peers.written(7, 100, 1)
    peers.session_down(7, SessionClosed("pe0", "the peer was removed"))
    assert peers.engine.sessions == {}
    assert set(peers.states) == {"pe1"}


async def test_a_pe_taken_out_while_its_session_stands_is_forgotten(peers: Peers) -> None:
    await peers.configure(network())
    peers.session_up(7, opened("pe0"))
    await peers.configure(network(("pe1",)))
    assert set(peers.states) == {"pe1"}
    peers.session_down(7, SessionClosed("pe0", "the peer was removed"))
    assert peers.engine.sessions == {}
    assert set(peers.states) == {"pe1"}


async def test_only_requests_are_answered_with_the_table(peers: Peers, speaker: Speaker) -> None:
    await peers.configure(network())
    peers.session_up(7, opened("pe0"))
    speaker.sent.clear()
    for subtype in (1, 2):
        peers.refresh(7, VPNV4.afi, subtype, VPNV4.safi)
    peers.refresh(7, 1, 0, 1)
    assert speaker.sent == []
    peers.refresh(7, VPNV4.afi, 0, VPNV4.safi)
    assert [kind for _, octets in speaker.sent for kind, _ in wire.messages(octets)] == [5, 5]


async def test_defects_reset_the_session_that_hit_them(
    peers: Peers, speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    await peers.configure(network())
    peers.session_up(7, opened("pe0"))

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    for name in ("updates", "refresh", "written"):
        monkeypatch.setattr(type(peers.engine), name, broken)
    peers.updates(7, b"")
    peers.refresh(7, VPNV4.afi, 0, VPNV4.safi)
    peers.written(7, 1, 1)
    assert speaker.notified == [(7, 6, 4, True)] * 3


async def test_octets_for_a_session_that_has_just_gone_are_no_route_of_a_watched_mac(
    peers: Peers, speaker: Speaker
) -> None:
    mac = bytes.fromhex("525400000001")
    watcher = peers._hub.watch([mac])
    watching = asyncio.ensure_future(anext(watcher))
    await asyncio.sleep(0)
    peers.states["pe1"] = SessionState()
    peers.session_up(7, opened("pe1"))
    assert (await watching).kind == "session"
    route = wire.update(wire.reach(EVPN, wire.evpn_mac(1, mac)))
    peers.session_down(7, SessionClosed("pe1", "the peer closed the connection"))
    assert (await anext(watcher)).kind == "session"
    peers.send(7, route)
    peers.session_up(8, opened("pe1"))
    peers.send(8, route)
    heard = [await anext(watcher), await anext(watcher)]
    assert [(event.kind, event.subject) for event in heard] == [
        ("session", "pe1"),
        ("route", "pe1"),
    ]
    assert [(session, octets) for session, octets in speaker.sent if octets == route] == [
        (7, route),
        (8, route),
    ]
    await watcher.aclose()


async def test_an_address_that_cannot_be_had_is_an_error_at_the_start_only(
    peers: Peers, speaker: Speaker
) -> None:
    speaker.problems = (Problem("listen 10.0.0.100:179", "cannot listen: in use", "stop it"),)
    with pytest.raises(SessionProcessError, match=r"10\.0\.0\.100:179") as refused:
        await peers.start(network().controller.listen)
    assert refused.value.hint == "stop it"
    assert speaker.neighbors == ()
    await peers.configure(network())
    assert peers.problems == ("listen 10.0.0.100:179: cannot listen: in use (stop it)",)
