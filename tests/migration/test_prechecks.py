"""Every failure of a precheck has its remedy; a machine that may move has none."""

from __future__ import annotations

from typing import Any

import pytest

from vpnctl.migration.agent.messages import DiskFact, MachineFacts, MachineView, SiteFacts
from vpnctl.migration.definition import Boot, Definition, Disk, Nic
from vpnctl.migration.prechecks import check

_DEFINITION = Definition(
    machine="web1",
    memory="512M",  # type: ignore[arg-type]  # as it is written
    type="pc-q35-7.2",
    boot=Boot(kernel="vmlinuz"),
    disks=(Disk(file="a.qcow2"), Disk(file="b.img", format="raw", shared=True)),
    nics=(Nic(bridge="br-e1", mac="52:54:00:00:00:01"),),
)
_BY_VPN = _DEFINITION.model_copy(update={"nics": (Nic(vpn="E1", mac="52:54:00:00:00:01"),)})
_MACHINE = MachineFacts(
    definition=_DEFINITION,
    state="running",
    disks=(
        DiskFact(file="a.qcow2", shared=False, size=1 << 30),
        DiskFact(file="b.img", shared=True, size=1 << 40),
    ),
    refusals=(),
    busy="",
)
_SITE = SiteFacts(
    site="cloud2",
    tls=True,
    qemu=(7, 2, 22),
    machine_types=("pc-q35-7.2",),
    cpus=("qemu64",),
    kvm=True,
    memory_free=4 << 30,
    disk_free=2 << 30,
    images=("vmlinuz",),
    shared=("b.img",),
    bridges=("br-e1",),
    machines=(),
    jobs=(),
)
_SOURCE = _SITE.model_copy(update={"site": "cloud1"})
_NAMESAKE = MachineView(
    name="web1", app=None, state="running", owner=True, epoch=1, memory_kib=1, cpus=1, type="pc",
    disks=(), console="", qmp="",
)  # fmt: skip


def test_a_machine_that_may_move() -> None:
    assert check(_MACHINE, _SOURCE, _SITE) == ()


@pytest.mark.parametrize(
    ("machine", "site", "name"),
    [
        ({"state": "paused"}, {}, "state"),
        ({"busy": "web1-1"}, {}, "leftover jobs"),
        ({"refusals": (("vfio", "its state has no length", "unplug it"),)}, {}, "what can pass"),
        ({}, {"machines": (_NAMESAKE,)}, "name"),
        ({}, {"driver": "libvirt"}, "driver"),
        ({}, {"machine_types": ("pc-q35-6.0",)}, "machine type"),
        ({}, {"cpus": ("pentium",)}, "CPU model"),
        ({"definition": _DEFINITION.model_copy(update={"cpu": "host"})}, {}, "CPU model"),
        ({}, {"kvm": False}, "accelerator"),
        ({}, {"memory_free": 1 << 20}, "memory"),
        ({}, {"disk_free": 1 << 20}, "disk"),
        ({}, {"shared": ()}, "disk"),
        ({}, {"images": ()}, "boot"),
        ({}, {"bridges": ()}, "network"),
        ({"definition": _BY_VPN}, {}, "network"),
        ({"definition": _BY_VPN}, {"vpn_bridges": {"E1": "br-gone"}}, "network"),
        ({}, {"tls": False}, "certificates"),
    ],
)
def test_each_failure_is_told_with_its_remedy(
    machine: dict[str, Any], site: dict[str, Any], name: str
) -> None:
    (failure,) = check(_MACHINE.model_copy(update=machine), _SOURCE, _SITE.model_copy(update=site))
    assert failure.check == name
    assert failure.problem
    assert failure.remedy


def test_a_nic_that_names_a_vpn_alone_is_in_the_bridge_of_the_site() -> None:
    machine = _MACHINE.model_copy(update={"definition": _BY_VPN})
    known = _SITE.model_copy(update={"vpn_bridges": {"E1": "br-e1", "E2": "br-e2"}})
    assert check(machine, _SOURCE, known) == ()
    (unknown,) = check(machine, _SOURCE, _SITE)
    assert "--bridge E1=" in unknown.remedy


def test_a_moved_machine_that_left_its_record_is_no_namesake() -> None:
    gone = _NAMESAKE.model_copy(update={"owner": False, "state": "gone"})
    assert check(_MACHINE, _SOURCE, _SITE.model_copy(update={"machines": (gone,)})) == ()


def test_all_failures_at_once() -> None:
    nothing = _SITE.model_copy(update={"images": (), "bridges": (), "kvm": False})
    found = check(_MACHINE, _SOURCE, nothing, "connection refused")
    assert [one.check for one in found] == ["accelerator", "boot", "network", "connectivity"]


def test_the_way_back_has_to_be_open_too() -> None:
    (failure,) = check(_MACHINE, _SOURCE, _SITE, back="connection refused")
    assert failure.problem == "cloud2 does not reach cloud1: connection refused"
