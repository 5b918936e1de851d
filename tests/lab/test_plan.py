"""The order in which a lab is built, and where it is kept."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
import yaml

from tests.lab.small import small
from vpnctl.errors import TopologyError
from vpnctl.lab.frr import daemons
from vpnctl.lab.images import role_of_image
from vpnctl.lab.layout import Layout, controllers
from vpnctl.lab.plan import (
    AwaitSessions,
    Execute,
    MakeLink,
    MakeNamespace,
    StartFrr,
    StartProgram,
    plan,
)
from vpnctl.lab.reading import read_topology
from vpnctl.lab.state import base_directory
from vpnctl.lab.topology import Role, Topology

LAYOUT = Layout(PurePosixPath("/run/vpnctl-lab"), "small")


def topology() -> Topology:
    return read_topology("small.clab.yml", yaml.safe_dump(small(), sort_keys=False).encode())


def test_a_lab_is_built_from_the_ground_up() -> None:
    steps = plan(topology(), LAYOUT)
    order = [MakeNamespace, MakeLink, StartFrr, Execute, StartProgram, AwaitSessions]
    kinds = [order.index(type(step)) for step in steps]
    assert kinds == sorted(kinds)
    assert [str(step) for step in steps if isinstance(step, StartFrr | StartProgram)] == [
        "FRR at pe-c1, pe-c2",
        "vpnctl at controller",
    ]
    assert steps[-1] == AwaitSessions(("controller",))


def test_wan_links_are_numbered_in_the_files_order() -> None:
    numbers = {
        str(step.link): step.number
        for step in plan(topology(), LAYOUT)
        if isinstance(step, MakeLink)
    }
    assert numbers["pe-c2:eth1 -- switch:c2"] == 1
    assert sum(numbers.values()) == 1


def test_nodes_that_need_containerlab_are_refused_by_name() -> None:
    found = read_topology(
        "mx.clab.yml",
        b"name: mx\ntopology:\n  nodes:\n    mx1: {kind: juniper_vjunosrouter, image: v}\n"
        b"    x: {kind: linux, image: example.com/unheard-of:1}\n"
        b"    y: {kind: linux, image: unheard-of, labels: {vpnctl.role: program}, cmd: sleep 1}\n",
    )
    with pytest.raises(TopologyError) as caught:
        plan(found, LAYOUT)
    assert [(each.place.line, each.path, each.message) for each in caught.value.mistakes] == [
        (
            4,
            "topology.nodes.mx1",
            "a node of kind juniper_vjunosrouter needs a virtual machine or container",
        ),
        (
            5,
            "topology.nodes.x",
            "no program is known for the image 'example.com/unheard-of:1'",
        ),
    ]
    assert "containerlab deploy -t mx.clab.yml" in caught.value.mistakes[0].hint
    assert "use one of frr, " in caught.value.mistakes[1].hint


def test_a_node_sees_its_files_and_directories_of_its_own() -> None:
    node = topology().nodes["pe-c1"]
    seen = {
        str(mount.target): (str(mount.source), mount.read_only)
        for mount in LAYOUT.mounts(node, PurePosixPath("/home/ada/lab"))
    }
    assert seen["/etc/frr"] == ("/run/vpnctl-lab/small/nodes/pe-c1/frr-etc", False)
    assert seen["/etc/frr/daemons"] == ("/home/ada/lab/cloudnet/daemons", False)
    assert seen["/etc/frr/frr.conf"] == ("/home/ada/lab/cloudnet/pe-c1/frr.conf", True)


def test_no_lab_is_kept_in_a_directory_over_which_nodes_mount(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The last lab removes the directory of all labs; mounts over it would end in others' nodes.
    monkeypatch.delenv("VPNCTL_LAB_DIR", raising=False)
    for node in topology().nodes.values():
        for seen in LAYOUT.own(node):
            assert not base_directory().is_relative_to(seen)


def test_the_controllers_socket_is_found_from_outside() -> None:
    assert controllers(topology(), LAYOUT) == {
        "controller": PurePosixPath("/run/vpnctl-lab/small/nodes/controller/vpnctl/controller.sock")
    }


def test_links_of_the_longest_lab_have_room_for_their_sockets() -> None:
    longest = Layout(PurePosixPath("/run/vpnctl-lab"), "x" * 20)
    assert len(str(longest.wan(1000))) < 90


@pytest.mark.parametrize(
    ("image", "role"),
    [
        ("quay.io/frrouting/frr:8.4.4", Role.FRR),
        ("frrouting/frr@sha256:0123", Role.FRR),
        ("localhost:5000/vpnctl", Role.PROGRAM),
        ("alpine", Role.PROGRAM),
        ("vrnetlab/vr-vmx:20.2", Role.FOREIGN),
        ("", Role.FOREIGN),
    ],
)
def test_images_are_known_by_the_last_part_of_their_name(image: str, role: Role) -> None:
    assert role_of_image(image) is role


def test_a_daemons_file_says_what_runs_and_how() -> None:
    text = "# comment\nbgpd=yes\nospfd=no # not here\nvtysh_enable=yes\n"
    text += "zebra_options='-A 127.0.0.1 -s 90000000'\nbgpd_options=\" -M 'x y'\"\n"
    assert daemons(text) == (
        ("mgmtd", ()),
        ("zebra", ("-A", "127.0.0.1", "-s", "90000000")),
        ("staticd", ()),
        ("bgpd", ("-M", "'x", "y'")),
    )
