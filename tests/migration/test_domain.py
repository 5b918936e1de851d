"""What libvirt is given of a machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from vpnctl.errors import MigrationError
from vpnctl.migration.definition import Boot, Definition, Disk, Nic
from vpnctl.migration.hypervisor.command_line import Places
from vpnctl.migration.hypervisor.domain import domain

_ARG = "{http://libvirt.org/schemas/domain/qemu/1.0}arg"


def document(*, incoming: bool = False, run: str = "/r", **changes: Any) -> ElementTree.Element:
    definition = Definition(
        machine="web1",
        memory="512M",  # type: ignore[arg-type]  # as it is written
        disks=(Disk(file="a.qcow2"), Disk(file="b.img", format="raw", shared=True)),
        nics=(Nic(bridge="br-e1", mac="52:54:00:00:00:01"),),
    ).model_copy(update=changes)
    places = Places(Path("/d"), Path("/s"), Path("/i"), Path(run))
    written = domain(
        definition, places, ["tap0"], emulator="/q", owner=(64055, 108), incoming=incoming
    )
    return ElementTree.fromstring(written)


def found(root: ElementTree.Element, path: str, attribute: str) -> list[str | None]:
    return [each.get(attribute) for each in root.findall(path)]


def test_an_operator_sees_its_disks_and_nics() -> None:
    root = document()
    assert root.get("type") == "kvm"
    assert found(root, "devices/disk/source", "file") == ["/d/a.qcow2", "/s/b.img"]
    assert found(root, "devices/disk/driver", "type") == ["qcow2", "raw"]
    assert found(root, "devices/disk/target", "dev") == ["vda", "vdb"]
    assert found(root, "devices/interface/target", "dev") == ["tap0"]
    assert root.findtext("seclabel/label") == "+64055:+108"


def test_two_sites_make_the_same_machine_of_a_definition() -> None:
    here, there = document(), document(incoming=True)
    assert (
        here.findtext("uuid") == there.findtext("uuid") != document(machine="web2").findtext("uuid")
    )
    words = found(here, f".//{_ARG}", "value")
    assert found(there, f".//{_ARG}", "value") == [*words, "-incoming", "defer"]


def test_what_is_written_cannot_say_more_than_it_is() -> None:
    boot = Boot(kernel="vmlinuz", append="<a> & 'b'")
    root = document(boot=boot, run="/r,readonly=on")
    assert root.findtext("os/cmdline") == "<a> & 'b'"
    words = found(root, f".//{_ARG}", "value")
    assert words[1] == "socket,id=vpnctl,server=on,wait=off,path=/r,,readonly=on/qmp"


@pytest.mark.parametrize(
    ("cpu", "mode"), [("host", "host-passthrough"), ("max", "maximum"), ("qemu64", "custom")]
)
def test_models_of_processors(cpu: str, mode: str) -> None:
    assert found(document(cpu=cpu), "cpu", "mode") == [mode]


@pytest.mark.parametrize(
    ("changes", "hint"),
    [({"memory": 1025}, "write memory: 2M"), ({"cpu": "qemu64,+avx"}, "name the model alone")],
)
def test_what_libvirt_cannot_have_is_refused(changes: dict[str, Any], hint: str) -> None:
    with pytest.raises(MigrationError) as refused:
        document(**changes)
    assert hint in refused.value.hint
