"""What a client of a router filters, apart from ExaBGP and the kernel."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from tests.lab.vplspe.test_filters import DROP, SSH
from vpnctl.flowspec.flows import flows
from vpnctl.flowspec.nlri import flow_family, make_key
from vpnctl.lab.flowfilter import __main__ as program
from vpnctl.lab.flowfilter import agent
from vpnctl.lab.flowfilter.agent import Agent, Client
from vpnctl.lab.vplspe.events import FlowAnnounced, FlowWithdrawn, SessionDown, SessionUp
from vpnctl.lab.vplspe.flow_events import FlowKey, FlowRoute
from vpnctl.lab.vplspe.values import Filtered

ROUTER = "10.0.0.1"
CLIENT = Client(
    asn=65000,
    address=IPv4Address("127.0.0.2"),
    router=IPv4Address(ROUTER),
    hold_time=9,
    vpn=Filtered("E1", None, ("eth2",)),
)
TEXT = "flow4/destination=10.1.0.1/32,protocol=6,destination-port=22"


@dataclass
class Kernel:
    """Stands for nftables."""

    scripts: list[str] = field(default_factory=list)

    def clear(self) -> None:
        self.scripts.append("")

    def change(self, script: str) -> None:
        self.scripts.append(script)


def route(does: bytes = DROP) -> FlowRoute:
    (flow,) = flows(SSH, 4)
    family = flow_family(4, vpn=False)
    return FlowRoute(FlowKey(family, make_key(None, 4, flow)), frozenset(), does)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    found = Kernel()
    monkeypatch.setattr(agent, "Netfilter", lambda: found)
    return found


def status(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "status.json").read_text())
    return found


def test_what_is_heard_is_filtered_and_what_is_lost_is_not(kernel: Kernel, tmp_path: Path) -> None:
    client = Agent(CLIENT, tmp_path)
    client.note(SessionUp(ROUTER))
    client.note(FlowAnnounced(ROUTER, route()))
    client.apply()
    assert 'iifname { "eth2" }' in kernel.scripts[-1]
    assert "drop" in kernel.scripts[-1]
    found = status(tmp_path)
    assert found["sessions"] == {ROUTER: "up"}
    assert found["vpns"]["E1"] == {"flows": [TEXT], "refused": []}
    client.note(FlowWithdrawn(ROUTER, route().key))
    client.apply()
    assert kernel.scripts[-1] == ""
    client.note(FlowAnnounced(ROUTER, route()))
    client.note(SessionDown(ROUTER, "it is gone"))
    client.apply()
    assert kernel.scripts[-1] == ""
    assert status(tmp_path)["sessions"] == {ROUTER: "down"}


def test_what_it_cannot_do_is_told(kernel: Kernel, tmp_path: Path) -> None:
    client = Agent(CLIENT, tmp_path)
    client.note(FlowAnnounced(ROUTER, route(bytes.fromhex("8008fde800000064"))))
    client.apply()
    assert kernel.scripts == [""]
    (refused,) = status(tmp_path)["vpns"]["E1"]["refused"]
    assert (refused["route"], refused["neighbor"]) == (TEXT, ROUTER)
    assert "redirect" in refused["why"]


def test_exabgp_is_a_client_with_an_identifier_of_its_own() -> None:
    said = CLIENT.configuration(Path("/run/pe/events.sh"))
    assert "neighbor 10.0.0.1 {" in said
    assert "router-id 127.0.0.2;" in said
    assert "family { ipv4 flow; ipv6 flow; }" in said


def test_it_has_to_be_root(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert program.main(["--vpn", "E1", "--asn", "65000", "--router", ROUTER, "eth2"]) != 0
    assert "run it as root" in capsys.readouterr().err
