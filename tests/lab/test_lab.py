"""The paper's testbed on this machine: up, stitched, unstitched, down, and nothing left."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import pytest

from tests.support.lab import ROOT, LabFactory, require_lab

pytestmark = pytest.mark.daemon


def test_a_site_is_reached_when_the_policy_says_so_and_not_before(lab: LabFactory) -> None:
    with lab("lab/cloudnet.clab.yml") as net:
        assert set(net.states().values()) == {"established"}
        net.wait_ping("e1-host", "10.1.0.2")  # E1 is at cloud1
        with net.sniff("e1-vm2", "eth1") as there:
            assert not net.ping("e1-host", "10.1.0.3"), "E1 is not at cloud2 yet"
            assert not [frame for frame in there.frames() if frame.octets[12:14] == b"\x08\x06"]
        net.vpnctl("extend", "E1", "--site", "cloud2", "--yes")
        net.wait_ping("e1-host", "10.1.0.3")
        net.vpnctl("retract", "E1", "--site", "cloud2", "--yes")
        net.wait_silence("e1-host", "10.1.0.3")
        assert "10.0.0.4" not in net.run("pe-e1", "bridge", "fdb", "show").stdout


def test_what_befalls_routers_and_links(lab: LabFactory) -> None:
    with lab("lab/cloudnet.clab.yml") as net:
        net.end("pe-c1")
        net.wait_lost("pe-c1")
        assert not net.programs("pe-c1")
        net.start("pe-c1")
        net.wait_established()
        net.wait_ping("e1-host", "10.1.0.2")

        net.end("pe-c1", "bgpd")
        net.wait_lost("pe-c1")
        assert set(net.programs("pe-c1")) == {"zebra", "staticd"}
        net.start("pe-c1")
        net.wait_established()

        net.end("controller")
        assert net.states() == {}
        net.start("controller")
        net.wait_established()

        net.wan("cloud1").cut()
        net.wait_silence("e1-host", "10.1.0.2")
        net.wan("cloud1").heal()
        net.wait_established()
        net.wait_ping("e1-host", "10.1.0.2")


def test_the_vpls_testbed_is_stitched_too(lab: LabFactory) -> None:
    with lab("lab/vpls.clab.yml") as net:
        net.wait_ping("e1-host", "10.1.0.2")
        assert not net.ping("e1-host", "10.1.0.3")
        net.vpnctl("extend", "E1", "--site", "cloud2", "--yes")
        net.wait_ping("e1-host", "10.1.0.3")
        net.vpnctl("retract", "E1", "--site", "cloud2", "--yes")
        net.wait_silence("e1-host", "10.1.0.3")


def test_the_demo_shows_the_first_and_the_last_packet() -> None:
    require_lab()
    with tempfile.TemporaryDirectory(prefix="vl-") as base:
        done = subprocess.run(
            [sys.executable, "-m", "vpnctl", "lab", "demo"],
            cwd=ROOT,
            env={**os.environ, "VPNCTL_LAB_DIR": base},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert not os.listdir(base)  # noqa: PTH208  the names alone
    order = [
        "└── pe-c2  (cloud2, frr:8.4.4)",
        "no reply: E1 is not at cloud2",
        "$ vpnctl extend E1 --site cloud2 --yes",
        "revision 2 is durable",
        "first reply from e1-vm2 at e1-host",
        "$ vpnctl retract E1 --site cloud2 --yes",
        "last reply from e1-vm2 at e1-host",
        "nothing is left of it",
    ]
    places = [done.stdout.index(words) for words in order]
    assert places == sorted(places)
