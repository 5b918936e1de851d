"""What an access rule denies does not arrive; what it accepts does; without it, everything."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.scenarios.access_rules.packets import Datagram, arrived, reaches, to_port
from tests.scenarios.figures import Figures
from tests.scenarios.stage import Stage, Staging
from tests.scenarios.traffic.ping import Ping
from tests.support.daemons import require, wait_until

pytestmark = pytest.mark.daemon

HERE = Path(__file__).parent
VM1 = "02:00:00:00:00:02"
HQ, HQ6 = "10.1.0.1", "2001:db8:1::1"
GUARDED, OPEN = 7001, 7002

CONNECTIONS = (
    "access:\n"
    "  - accept: {to: e1-hq, from: cloud2, protocol: tcp, to_port: 7001, at: e1-hq}\n"
    "  - deny: {to: e1-hq, protocol: tcp, to_port: 7001}\n"
)
DATAGRAMS = (
    "access:\n"
    "  - accept: {to: e1-hq, protocol: udp, to_port: 7003, at: e1-hq}\n"
    "    mark: ef\n"
    "  - accept: {to: e1-hq, protocol: udp, to_port: 7005, at: e1-hq}\n"
    "    rate: 1 Mb/s\n"
    "  - deny: {to: e1-hq, protocol: udp, dscp: cs1}\n"
    "  - deny: {to: e1-hq, protocol: udp, fragment: [first-fragment, is-fragment]}\n"
)
LIMITED = (
    "access:\n"
    "  - accept: {to: e1-hq, from: cloud1, protocol: icmp, at: e1-hq}\n"
    "    rate: 20 packets/s\n"
)
SILENT = "access:\n  - deny: {to: e1-hq, from: cloud1, protocol: icmp, at: e1-hq}\n"

EF, CS1 = 46, 8

#: Accepts connections of both IP versions on two ports until it is ended.
_SERVER = """
import selectors, socket
chosen = selectors.DefaultSelector()
for port in (7001, 7002):
    there = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    chosen.register(there, selectors.EVENT_READ)
print("ready", flush=True)
while True:
    for key, _ in chosen.select():
        key.fileobj.accept()[0].close()
"""


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


def rule(stage: Stage, access: str, flows: int) -> None:
    """Let a policy with these access rules take effect, and pe-e1 have that many flows."""
    plain = (HERE / "policies" / "e1.yaml").read_text()
    stage.write("e1.yaml", plain + access)
    stage.says("apply", "--yes")
    wait_until(lambda: len(stage.flows("pe-e1", "E1")) == flows, f"pe-e1 to have {flows} flows")


def test_access_rules(staging: Staging, figures: Figures) -> None:
    require("nft")
    with staging(HERE / "topology.clab.yml") as stage, serving(stage):
        for number, host in enumerate(("e1-host", "e1-vm1", "e1-vm2"), start=1):
            address = f"2001:db8:1::{number}/64"
            done = stage.run(host, "ip", "address", "add", address, "dev", "eth1", "nodad")
            assert done.returncode == 0, done.stderr
        for vm in ("e1-vm1", "e1-vm2"):
            for hq in (HQ, HQ6):
                stage.wait_ping(vm, hq)
                assert reaches(stage, vm, hq, GUARDED)
                assert reaches(stage, vm, hq, OPEN)

        connections(stage, figures)
        datagrams(stage)
        rates(stage)
        with stage.pinging("e1-vm1", HQ) as ping:
            comes_and_goes(stage, ping, figures)
        assert stage.flows("pe-e1", "E1") == []
        assert reaches(stage, "e1-vm1", HQ, GUARDED)


def connections(stage: Stage, figures: Figures) -> None:
    """By prefix and port, IPv4 and IPv6."""
    # The plan names each flow, whom it is for, and what it does.
    plain = (stage.policies / "e1.yaml").read_text()
    stage.write("e1.yaml", plain + CONNECTIONS)
    plan = stage.vpnctl("plan")
    assert "destination-port=7001" in plan
    assert "drop" in plan

    with stage.pinging("e1-vm1", HQ) as ping:
        begun = ping.first()
        rule(stage, CONNECTIONS, flows=4)
        assert stage.flows("pe-c1", "E1") == []
        assert stage.flows("pe-c2", "E1") == []

        # Denied: not one segment arrives.  Accepted, or of something else: all do.
        with stage.sniff("e1-host", "eth1") as there:
            for hq in (HQ, HQ6):
                assert not reaches(stage, "e1-vm1", hq, GUARDED)
                assert reaches(stage, "e1-vm1", hq, OPEN)
            assert to_port(there, VM1, GUARDED) == 0
            assert to_port(there, VM1, OPEN) > 0
        for hq in (HQ, HQ6):
            assert reaches(stage, "e1-vm2", hq, GUARDED)
        ended = ping.first_after(stage.durable())
        figures.add(
            "longest gap of traffic that the rules do not concern",
            ping.longest_gap(begun, ended),
            at_most=0.02,
        )

    # Whoever looks finds the rules, their flows, and where they come from.
    shown = stage.vpnctl("show", "access")
    assert shown.count("sent") == 4
    flow = next(word for word in shown.split() if word.endswith("port=7001"))
    assert "access rule 1 of E1" in stage.vpnctl("explain", flow, "--peer", "pe-e1")


def datagrams(stage: Stage) -> None:
    """By DSCP and fragment, and marked; IPv4 and IPv6."""
    large = {hq: Datagram(hq, 7004, octets=4000) for hq in (HQ, HQ6)}
    for hq in (HQ, HQ6):
        seen = arrived(stage, "e1-vm1", large[hq])
        assert [packet.is_fragment for packet in seen] == [True] * 3
    rule(stage, DATAGRAMS, flows=8)
    for hq in (HQ, HQ6):
        assert arrived(stage, "e1-vm1", large[hq]) == []
        (plain,) = arrived(stage, "e1-vm1", Datagram(hq, 7004))
        assert plain.dscp == 0
        assert arrived(stage, "e1-vm1", Datagram(hq, 7004, dscp=CS1)) == []
        (marked,) = arrived(stage, "e1-vm1", Datagram(hq, 7003, dscp=CS1))
        assert marked.dscp == EF
        # Half a megabyte at once, where a megabit a second may pass.
        passed = arrived(stage, "e1-vm1", Datagram(hq, 7005, octets=1000), times=500)
        assert 0 < len(passed) < 500


def rates(stage: Stage) -> None:
    """So many packets a second and no more."""
    rule(stage, LIMITED, flows=1)
    assert reaches(stage, "e1-vm1", HQ, GUARDED)
    done = stage.run("e1-vm1", "ping", "-q", "-c", "200", "-i", "0.002", "-W", "1", HQ)
    received = int(done.stdout.split(" received")[0].split()[-1])
    assert 0 < received < 200


def comes_and_goes(stage: Stage, ping: Ping, figures: Figures) -> None:
    """From the moment that a rule is durable until packets know."""
    rule(stage, "", flows=0)
    ping.first_after(stage.durable())
    rule(stage, SILENT, flows=1)
    denied = stage.durable()
    figures.add("a rule denies: last packet that still passed", max(ping.last() - denied, 0.0))
    rule(stage, "", flows=0)
    allowed = stage.durable()
    figures.add(
        "the rule goes: first packet that passes again", ping.first_after(allowed) - allowed
    )
