"""A definition as a domain of libvirt's, in XML.

The domain has what `vpnctl.migration.hypervisor.command_line` gives QEMU, in libvirt's words, so
that an operator sees its disks and nics with ``virsh``; and besides libvirt's monitor one of our
own, by which the machine moves.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from xml.etree import ElementTree

from vpnctl.errors import MigrationError
from vpnctl.migration.definition import Definition
from vpnctl.migration.hypervisor.command_line import Places

_QEMU = "http://libvirt.org/schemas/domain/qemu/1.0"
#: Of the names that domains' numbers are made of: the same machine has the same one at each site.
_NAMES = uuid.UUID("6f0c1c5e-3b0e-5c1e-9f59-3f6a1a6f5c11")
_MIB = 1024
_TYPES = {"kvm": "kvm", "tcg": "qemu"}
#: Models that stand for whatever the host has.
_MODES = {"host": "host-passthrough", "max": "maximum"}

ElementTree.register_namespace("qemu", _QEMU)


def domain(
    definition: Definition,
    places: Places,
    taps: Sequence[str],
    *,
    emulator: str,
    owner: tuple[int, int],
    incoming: bool,
) -> bytes:
    """The document for ``virsh create``; ``taps``: the interface of each nic.

    ``owner``: user and group as whom QEMU runs, so that it may use the agent's directories.
    ``incoming``: wait for a migration.  Raises `MigrationError` for what libvirt cannot have.
    """
    _refuse(definition)
    root = ElementTree.Element("domain", type=_TYPES[definition.accelerator])
    _text(root, "name", definition.machine)
    _text(root, "uuid", str(uuid.uuid5(_NAMES, definition.machine)))
    _text(root, "memory", str(definition.memory), unit="KiB")
    _text(root, "vcpu", str(definition.cpus))
    _boot(ElementTree.SubElement(root, "os"), definition, places)
    features = ElementTree.SubElement(root, "features")
    ElementTree.SubElement(features, "acpi")
    ElementTree.SubElement(features, "apic")
    _processor(root, definition.cpu)
    _devices(ElementTree.SubElement(root, "devices"), definition, places, taps, emulator)
    label = ElementTree.SubElement(root, "seclabel", type="static", model="dac", relabel="no")
    _text(label, "label", "+{}:+{}".format(*owner))
    monitor = str(places.qmp).replace(",", ",,")
    words = ["-chardev", f"socket,id=vpnctl,server=on,wait=off,path={monitor}"]
    words += ["-mon", "chardev=vpnctl,mode=control"]
    if incoming:
        words += ["-incoming", "defer"]
    line = ElementTree.SubElement(root, f"{{{_QEMU}}}commandline")
    for word in words:
        ElementTree.SubElement(line, f"{{{_QEMU}}}arg", value=word)
    return ElementTree.tostring(root)


def _refuse(definition: Definition) -> None:
    name = definition.machine
    if definition.memory % _MIB:
        # libvirt would round it up, and the other site's copy might have another size.
        raise MigrationError(
            f"libvirt gives machines whole MiB of memory, and {name} is to have"
            f" {definition.memory} KiB",
            hint=f"write memory: {-(-definition.memory // _MIB)}M",
        )
    if "," in definition.cpu:
        raise MigrationError(
            f"the CPU of {name} is a model with features, {definition.cpu}",
            hint="under libvirt, name the model alone",
        )


def _boot(parent: ElementTree.Element, definition: Definition, places: Places) -> None:
    _text(parent, "type", "hvm", arch="x86_64", machine=definition.type)
    boot = definition.boot
    if boot is not None:
        _text(parent, "kernel", str(places.images / boot.kernel))
        if boot.initrd is not None:
            _text(parent, "initrd", str(places.images / boot.initrd))
        _text(parent, "cmdline", boot.append)


def _processor(root: ElementTree.Element, model: str) -> None:
    if model in _MODES:
        ElementTree.SubElement(root, "cpu", mode=_MODES[model], check="none")
        return
    parent = ElementTree.SubElement(root, "cpu", mode="custom", match="exact", check="none")
    _text(parent, "model", model, fallback="forbid")


def _devices(
    parent: ElementTree.Element,
    definition: Definition,
    places: Places,
    taps: Sequence[str],
    emulator: str,
) -> None:
    _text(parent, "emulator", emulator)
    ElementTree.SubElement(parent, "controller", type="usb", model="none")
    ElementTree.SubElement(parent, "memballoon", model="none")
    console = ElementTree.SubElement(parent, "serial", type="unix")
    ElementTree.SubElement(console, "source", mode="bind", path=str(places.console))
    for index, disk in enumerate(definition.disks):
        entry = ElementTree.SubElement(parent, "disk", type="file", device="disk")
        ElementTree.SubElement(entry, "driver", name="qemu", type=disk.format)
        ElementTree.SubElement(entry, "source", file=str(places.disk(definition, index)))
        ElementTree.SubElement(entry, "target", dev=f"vd{chr(ord('a') + index)}", bus="virtio")
        ElementTree.SubElement(entry, "alias", name=f"ua-vd{index}")
    for index, (nic, tap) in enumerate(zip(definition.nics, taps, strict=True)):
        entry = ElementTree.SubElement(parent, "interface", type="ethernet")
        ElementTree.SubElement(entry, "mac", address=nic.mac)
        ElementTree.SubElement(entry, "target", dev=tap, managed="no")
        ElementTree.SubElement(entry, "model", type="virtio")
        ElementTree.SubElement(entry, "driver", name="qemu")
        # A boot ROM would be one more file that has to be the same at every site.
        ElementTree.SubElement(entry, "rom", enabled="no")
        ElementTree.SubElement(entry, "alias", name=f"ua-nic{index}")


def _text(parent: ElementTree.Element, tag: str, text: str, **attributes: str) -> None:
    ElementTree.SubElement(parent, tag, attributes).text = text
