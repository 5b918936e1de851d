"""What an access rule denies does not arrive; what it accepts does; without it, everything."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.scenarios.figures import Figures
from tests.scenarios.stage import Stage, Staging
from tests.support.daemons import require, wait_until
from tests.support.lab import Sniffer

pytestmark = pytest.mark.daemon

HERE = Path(__file__).parent
VM1 = "02:00:00:00:00:02"
HQ = "10.1.0.1"
GUARDED, OPEN = 7001, 7002

RULES = (
    "access:\n"
    "  - accept: {to: e1-hq, from: cloud2, protocol: tcp, to_port: 7001, at: e1-hq}\n"
    "  - deny: {to: e1-hq, protocol: tcp, to_port: 7001}\n"
)
LIMITED = (
    "access:\n"
    "  - accept: {to: e1-hq, from: cloud1, protocol: icmp, at: e1-hq}\n"
    "    rate: 20 packets/s\n"
)

#: Accepts connections on two ports until it is ended.
_SERVER = """
import selectors, socket
chosen = selectors.DefaultSelector()
for port in (7001, 7002):
    chosen.register(socket.create_server(("10.1.0.1", port), backlog=16), selectors.EVENT_READ)
print("ready", flush=True)
while True:
    for key, _ in chosen.select():
        key.fileobj.accept()[0].close()
"""
#: Whether a connection to the address and port can be opened, within a second.
_CALLER = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 1).close()
except TimeoutError:
    sys.exit(1)
"""


def reaches(stage: Stage, node: str, port: int) -> bool:
    """Whether a host can open a connection to the head office."""
    done = stage.run(node, sys.executable, "-ISc", _CALLER, HQ, str(port))
    assert done.returncode in (0, 1), done.stderr
    return done.returncode == 0


def flows(stage: Stage, pe: str) -> list[str]:
    """What a PE enforces."""
    done = stage.run(pe, "cat", "/run/vpnctl/pe/status.json")
    found: list[str] = json.loads(done.stdout)["vpns"]["E1"]["flows"]
    return found


@contextmanager
def serving(stage: Stage) -> Iterator[None]:
    process = stage.popen(
        "e1-host", sys.executable, "-ISc", _SERVER, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield
    finally:
        process.kill()
        process.wait()


def to_port(sniffer: Sniffer, mac: str, port: int) -> int:
    """How many TCP segments from a MAC to a port arrived: IPv4 without options, without a tag."""
    source = bytes.fromhex(mac.replace(":", ""))
    return sum(
        frame.octets[6:12] == source
        and frame.octets[12:14] == b"\x08\x00"
        and frame.octets[23] == 6
        and int.from_bytes(frame.octets[36:38], "big") == port
        for frame in sniffer.frames()
    )


def test_access_rules(staging: Staging, figures: Figures) -> None:
    require("nft")
    with staging(HERE / "topology.clab.yml") as stage, serving(stage):
        policy = (stage.policies / "e1.yaml").read_text()
        for vm in ("e1-vm1", "e1-vm2"):
            stage.wait_ping(vm, HQ)
            assert reaches(stage, vm, GUARDED)
            assert reaches(stage, vm, OPEN)

        # The plan names each flow, whom it is for, and what it does.
        stage.write("e1.yaml", policy + RULES)
        plan = stage.vpnctl("plan")
        assert "destination-port=7001" in plan
        assert "drop" in plan

        with stage.pinging("e1-vm1", HQ) as ping:
            begun = ping.first()
            stage.says("apply", "--yes")
            wait_until(lambda: len(flows(stage, "pe-e1")) == 2, "pe-e1 to filter")
            assert flows(stage, "pe-c1") == []
            assert flows(stage, "pe-c2") == []

            # Denied: not one segment arrives.  Accepted, or of something else: all do.
            with stage.sniff("e1-host", "eth1") as there:
                assert not reaches(stage, "e1-vm1", GUARDED)
                assert to_port(there, VM1, GUARDED) == 0
                assert reaches(stage, "e1-vm1", OPEN)
                assert to_port(there, VM1, OPEN) > 0
            assert reaches(stage, "e1-vm2", GUARDED)
            ended = ping.first_after(stage.durable())
            figures.add(
                "longest gap of traffic that the rules do not concern",
                ping.longest_gap(begun, ended),
                at_most=0.02,
            )

        # Whoever looks finds the rules, their flows, and where they come from.
        shown = stage.vpnctl("show", "access")
        assert shown.count("sent") == 2
        flow = next(word for word in shown.split() if word.endswith("port=7001"))
        assert "access rule 1 of E1" in stage.vpnctl("explain", flow, "--peer", "pe-e1")

        # A rate is kept.
        stage.write("e1.yaml", policy + LIMITED)
        stage.says("apply", "--yes")
        wait_until(lambda: len(flows(stage, "pe-e1")) == 1, "pe-e1 to filter anew")
        assert reaches(stage, "e1-vm1", GUARDED)
        done = stage.run("e1-vm1", "ping", "-q", "-c", "200", "-i", "0.002", "-W", "1", HQ)
        received = int(done.stdout.split(" received")[0].split()[-1])
        assert 0 < received < 200

        # Taken out, nothing is left of them.
        stage.write("e1.yaml", policy)
        stage.says("apply", "--yes")
        wait_until(lambda: flows(stage, "pe-e1") == [], "pe-e1 to filter nothing")
        assert reaches(stage, "e1-vm1", GUARDED)
