"""PEs on the real route server, and what frames do between the hosts behind them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.vplspe.stage import CONTROLLER, Stage, fdb, ip, stage
from tests.support.namespaces import add_address, require_root

pytestmark = pytest.mark.daemon

E1_AT_TWO = """\
vpn: E1
service: vpls
sites:
  - {site: s1, targets: 65000:101, ve_id: 1}
  - {site: s2, targets: 65000:102, ve_id: 2}
"""
E1 = f"{E1_AT_TWO}  - {{site: s3, targets: 65000:103, ve_id: 3}}\n"
E2 = """\
vpn: E2
service: vpls
sites:
  - {site: s1, targets: 65000:201, ve_id: 1}
  - {site: s2, targets: 65000:202, ve_id: 2}
"""
#: Who reaches whom in a full mesh of three.
MESH = {"pe1": [2, 3], "pe2": [1, 3], "pe3": [1, 2]}


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Three PEs of E1, all of them reaching each other."""
    require_root()
    with stage(tmp_path_factory.mktemp("mesh"), {"e1.yaml": E1}, pes=3) as found:
        for pe in found.pes.values():
            pe.write(pe.vpn("E1", 100 + pe.number))
            pe.start()
        found.until_reached("E1", MESH)
        yield found


def test_each_host_hears_each_frame_once(mesh: Stage) -> None:
    hosts = {name: mesh.port(name) for name in mesh.pes}
    frames = [f"frame {number}".encode() for number in range(50)]
    for speaker, port in hosts.items():
        for frame in frames:
            port.send(frame)
        port.send(b"end of " + speaker.encode())
        for hearer, other in hosts.items():
            if hearer != speaker:
                assert other.until(b"end of " + speaker.encode())[:-1] == frames
    # Nothing came back to who sent it, and no second copy came late.
    for port in hosts.values():
        assert port.waiting() == []


def test_a_frame_to_a_known_address_goes_to_its_host_only(mesh: Stage) -> None:
    one, two, three = (mesh.port(name) for name in mesh.pes)
    two.send(b"I am here")
    one.until(b"I am here")
    three.until(b"I am here")
    one.send(b"for two", to=two.mac)
    one.send(b"for all")
    assert two.until(b"for all") == [b"for two", b"for all"]
    assert three.until(b"for all") == [b"for all"]


def test_what_is_learned_at_a_pe_is_where_rfc_4761_says(mesh: Stage) -> None:
    """Receive and transmit labels of both ends are the same numbers."""
    of_pe1 = {one["ve_id"]: one for one in mesh.pes["pe1"].status()["vpns"]["E1"]["pseudowires"]}
    of_pe2 = {one["ve_id"]: one for one in mesh.pes["pe2"].status()["vpns"]["E1"]["pseudowires"]}
    # PE1 expects VE 2 at its base 1000 + 2 - 1; PE2 sends there.
    assert of_pe1[2]["receive"] == of_pe2[1]["transmit"] == 1001
    assert of_pe1[2]["transmit"] == of_pe2[1]["receive"] == 2000
    assert (of_pe1[2]["peer"], of_pe2[1]["peer"]) == ("10.97.0.2", "10.97.0.1")


def test_extended_by_policy_and_retracted(tmp_path: Path) -> None:
    require_root()
    with stage(tmp_path, {"e1.yaml": E1_AT_TWO}, pes=3) as found:
        for pe in found.pes.values():
            pe.write(pe.vpn("E1", 100 + pe.number))
            pe.start()
        found.until_reached("E1", {"pe1": [2], "pe2": [1], "pe3": []})
        one, two, three = (found.port(name) for name in found.pes)
        one.send(b"before")
        two.until(b"before")

        found.serve.change("extend", vpn="E1", site="s3")
        found.until_reached("E1", MESH)
        one.send(b"after")
        assert three.until(b"after") == [b"after"]
        assert two.until(b"after") == [b"after"]
        three.send(b"hello")
        one.until(b"hello")
        assert three.mac.hex(":") in fdb(found.pes["pe1"].namespace)

        found.serve.change("retract", vpn="E1", site="s3")
        found.until_reached("E1", {"pe1": [2], "pe2": [1], "pe3": []})
        assert found.pes["pe1"].devices() == {"vpls-E1", "pw1001"}
        assert found.pes["pe3"].devices() == {"vpls-E1"}
        left = fdb(found.pes["pe1"].namespace)
        assert three.mac.hex(":") not in left
        assert "dst 10.97.0.2" in left
        assert "dst 10.97.0.3" not in left
        assert "dst" not in fdb(found.pes["pe3"].namespace)
        one.send(b"gone")
        two.until(b"gone")

        found.serve.change("rollback")
        found.until_reached("E1", MESH)
        one.send(b"again")
        assert three.until(b"again") == [b"again"]


def test_two_customers_with_the_same_addresses_stay_apart(tmp_path: Path) -> None:
    require_root()
    policies = {"e1.yaml": E1_AT_TWO, "e2.yaml": E2}
    with stage(tmp_path, policies, pes=2, ports=("eth1", "eth2")) as found:
        for pe in found.pes.values():
            pe.write(
                pe.vpn("E1", 100 + pe.number),
                pe.vpn("E2", 200 + pe.number, interface="eth2"),
            )
            pe.start()
        for vpn in ("E1", "E2"):
            found.until_reached(vpn, {"pe1": [2], "pe2": [1]})
        here, there = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"
        e1, e2 = (
            (found.port("pe1", port, here), found.port("pe2", port, there))
            for port in ("eth1", "eth2")
        )
        for (near, far), name in ((e1, b"E1"), (e2, b"E2")):
            near.send(name + b" asks")
            assert far.until(name + b" asks") == [name + b" asks"]
            far.send(name + b" answers", to=near.mac)
            assert near.until(name + b" answers") == [name + b" answers"]


def test_a_lost_session_takes_its_pseudowires_along_and_brings_them_back(tmp_path: Path) -> None:
    require_root()
    with stage(tmp_path, {"e1.yaml": E1_AT_TWO}, pes=2, called=("pe2",)) as found:
        one, two = found.pes.values()
        one.write(one.vpn("E1", 101))
        two.write(
            two.vpn("E1", 102), neighbors=f"[{{address: {CONTROLLER}, asn: 65000, passive: true}}]"
        )
        one.start()
        two.start()
        found.until_reached("E1", {"pe1": [2], "pe2": [1]})
        found.serve.kill()
        found.until_reached("E1", {"pe1": [], "pe2": []})
        assert one.status()["sessions"] == {CONTROLLER: "down"}
        assert one.devices() == {"vpls-E1"}
        found.start_controller()
        found.until_reached("E1", {"pe1": [2], "pe2": [1]})


def test_a_pe_says_nothing_itself_on_a_customers_lan(mesh: Stage) -> None:
    said = json.loads(ip("-n", mesh.pes["pe1"].namespace, "-6", "-j", "address", "show"))
    assert {one["ifname"] for one in said if one.get("addr_info")} == {"lo", "eth0"}


def test_a_pe_that_ends_leaves_nothing_and_one_that_was_killed_starts_afresh(
    tmp_path: Path,
) -> None:
    require_root()
    with stage(tmp_path, {"e1.yaml": E1_AT_TWO}, pes=2) as found:
        one, two = found.pes.values()
        for pe in (one, two):
            pe.write(pe.vpn("E1", 100 + pe.number))
            pe.start()
        both = {"pe1": [2], "pe2": [1]}
        found.until_reached("E1", both)

        assert one.stop() == 0, one.said()
        assert one.devices() == set()
        found.until_reached("E1", {"pe2": []})

        one.start()
        found.until_reached("E1", both)
        one.kill()
        assert one.devices() == {"vpls-E1", "pw1001"}
        # ExaBGP goes with its PE, and so does the session.
        found.until_reached("E1", {"pe2": []})
        one.start()
        found.until_reached("E1", both)

        one.kill_speaker()
        found.wait("it to be noticed", lambda: "ExaBGP ended" in one.said())
        found.until_reached("E1", both)
        here, there = found.port("pe1"), found.port("pe2")

        def heard() -> bool:
            # The pseudowires of before may not be gone yet: a single frame could go with them.
            here.send(b"still")
            return b"still" in there.waiting()

        found.wait("frames to cross", heard)


def test_what_cannot_be_used_is_refused_and_said(tmp_path: Path) -> None:
    require_root()
    with stage(tmp_path, {"e1.yaml": E1}, pes=3) as found:
        one, two, three = found.pes.values()
        one.write(one.vpn("E1", 101), underlay="[10.97.0.0/31, 10.97.0.2/32]")
        two.write(two.vpn("E1", 102, mtu=1400))
        three.write(three.vpn("E1", 103, ve_id=1))
        for pe in (one, two, three):
            pe.start()
        wanted = {"pe1": 2, "pe2": 2, "pe3": 2}
        found.wait(
            "all routes to be refused",
            lambda: (
                {
                    name: len(pe.status()["vpns"].get("E1", {"refused": []})["refused"])
                    for name, pe in found.pes.items()
                }
                == wanted
            ),
        )
        assert set(one.refused("E1")) == {"its MTU is 1400, ours 1500", "its VE-ID 1 is ours"}
        assert "route 10.97.0.2:102:ve2@1 of 10.97.0.100 is refused: its MTU is" in one.said()
        assert all(pe.reached("E1") == [] for pe in found.pes.values())


def test_hosts_ping_each_other_over_vpls(mesh: Stage) -> None:
    for pe in mesh.pes.values():
        add_address(pe.hosts["eth1"], "eth0", f"192.168.7.{pe.number}/24")
    done = subprocess.run(
        [
            *("ip", "netns", "exec", mesh.pes["pe1"].hosts["eth1"]),
            *("ping", "-c", "2", "-w", "20", "-s", "1400", "192.168.7.3"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
