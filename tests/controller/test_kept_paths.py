"""Path identifiers (RFC 7911) outlive the controller that gave them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.routing import wire
from tests.support.loopback import free_port, loopback_address
from tests.support.rawbgp import VPNV4, RawPeer, add_path
from tests.support.serve import Serve
from vpnctl.model import VPNV4 as FAMILY

pytestmark = pytest.mark.daemon

KEEP = 30
NLRI = wire.vpnv4(7, b"\x0a\x07\x01")


class House:
    """A PE that announces several paths, and one that is told them."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        ours = loopback_address()
        port = free_port(ours)
        at = {name: loopback_address() for name in ("speaker", "hearer")}
        self.policies = directory / "policies"
        self.policies.mkdir()
        pes = "".join(
            f"  {name}: {{address: {address}, passive: true, families: [vpnv4],"
            " add_path: {send: 4, receive: 4}}\n"
            for name, address in at.items()
        )
        sites = "".join(f"  at-{name}: {{kind: enterprise, pes: [{name}]}}\n" for name in at)
        (self.policies / "network.yaml").write_text(
            f'controller: {{asn: 65000, router_id: 10.255.0.1, listen: "{ours}:{port}"}}\n'
            f"sites:\n{sites}pes:\n{pes}"
        )
        lines = "".join(
            f"  - {{site: at-{name}, targets: 65000:{number}}}\n"
            for number, name in enumerate(at, 101)
        )
        (self.policies / "e1.yaml").write_text(f"vpn: E1\nservice: l3vpn\nsites:\n{lines}")
        self.serve = self.start()
        self.peers = {}
        for number, (name, address) in enumerate(at.items()):
            peer = RawPeer(
                local=address,
                remote=(ours, port),
                asn=65000,
                router_id=f"10.255.0.{number + 2}",
                families=(VPNV4,),
                more=add_path(VPNV4, send=True, receive=True),
            )
            self.peers[name] = stack.enter_context(peer)
            peer.connect()
            peer.wait_established()

    def start(self) -> Serve:
        store = f"sqlite:///{self.directory / 'store.sqlite'}"
        self.serve = Serve(self.policies, store, self.directory, keep_sessions=KEEP)
        return self.serve

    def announce(self, number: int) -> None:
        next_hop = bytes(8) + bytes((192, 0, 2, number))
        head = wire.reach(FAMILY, wire.path_id(number) + NLRI, next_hop=next_hop)
        octets = wire.update(head, wire.BASIC, wire.targets("65000:101"))
        self.peers["speaker"].send(octets)

    def withdraw(self, number: int) -> None:
        self.peers["speaker"].send(wire.update(wire.unreach(FAMILY, wire.path_id(number) + NLRI)))

    def held(self, since: int = 0) -> dict[bytes, int]:
        """Identifier -> last octet of the next hop, of what the hearer was told."""
        found: dict[bytes, int] = {}
        for octets in self.peers["hearer"].updates[since:]:
            update = wire.decode(octets[19:], (FAMILY,))
            for nlri in update.withdrawn:
                found.pop(nlri[:4], None)
            found.update({nlri[:4]: update.next_hop[-1] for nlri in update.announced})
        return found

    def wait_held(self, *hops: int) -> None:
        wanted = sorted(hops)
        self.peers["hearer"].wait(lambda: sorted(self.held().values()) == wanted, f"{hops}")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with ExitStack() as stack:
        house = House(tmp_path, stack)
        try:
            yield house
        finally:
            house.serve.kill()
            house.serve.kill_sessions()


def test_sessions_with_path_identifiers_go_on_and_only_what_changed_is_told(house: House) -> None:
    for number in (1, 2, 3):
        house.announce(number)
    house.wait_held(1, 2, 3)
    house.withdraw(2)
    house.wait_held(1, 3)
    before, told = house.held(), len(house.peers["hearer"].updates)
    house.serve.kill()
    house.withdraw(1)
    house.announce(4)
    house.start()
    house.wait_held(3, 4)
    house.announce(5)
    house.wait_held(3, 4, 5)
    after = house.held()
    assert {path_id for path_id, hop in after.items() if hop == 3} == {
        path_id for path_id, hop in before.items() if hop == 3
    }
    # The path that stayed was not announced again.
    assert 3 not in house.held(told).values()
    assert not any(peer.closed for peer in house.peers.values())
