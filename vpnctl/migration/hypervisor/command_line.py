"""A definition as QEMU's arguments."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vpnctl.migration.definition import Definition


@dataclass(frozen=True, slots=True)
class Places:
    """Where a copy's files are: ``disks``, ``shared`` and ``images`` are the site's directories,
    ``run`` is the copy's own."""

    disks: Path
    shared: Path
    images: Path
    run: Path

    @property
    def qmp(self) -> Path:
        return self.run / "qmp"

    @property
    def console(self) -> Path:
        return self.run / "console"

    @property
    def log(self) -> Path:
        return self.run / "log"

    def disk(self, definition: Definition, index: int) -> Path:
        """The file of a disk."""
        disk = definition.disks[index]
        return (self.shared if disk.shared else self.disks) / disk.file


def disk_node(index: int) -> str:
    """QEMU's node of a disk, the same at every site."""
    return f"disk{index}"


def arguments(
    definition: Definition, places: Places, taps: Sequence[str], *, incoming: bool
) -> list[str]:
    """What QEMU is started with; ``taps``: the interface of each nic.

    ``incoming``: wait for a migration, and stay stopped when it has come.
    """
    words = [
        "-name", definition.machine, "-nodefaults", "-no-user-config", "-display", "none",
        "-machine", definition.type, "-accel", definition.accelerator, "-cpu", definition.cpu,
        "-smp", str(definition.cpus), "-m", f"{definition.memory}K",
        "-chardev", _path("socket,id=qmp,server=on,wait=off", places.qmp),
        "-mon", "chardev=qmp,mode=control",
        "-chardev", _path("socket,id=console,server=on,wait=off", places.console),
        "-serial", "chardev:console",
    ]  # fmt: skip
    if definition.boot is not None:
        words += ["-kernel", str(places.images / definition.boot.kernel)]
        words += ["-append", definition.boot.append]
        if definition.boot.initrd is not None:
            words += ["-initrd", str(places.images / definition.boot.initrd)]
    for index, disk in enumerate(definition.disks):
        node = {
            "driver": disk.format,
            "node-name": disk_node(index),
            "file": {"driver": "file", "filename": str(places.disk(definition, index))},
        }
        words += ["-blockdev", json.dumps(node)]
        words += ["-device", f"virtio-blk-pci,id=vd{index},drive={disk_node(index)}"]
    for index, (nic, tap) in enumerate(zip(definition.nics, taps, strict=True)):
        words += ["-netdev", f"tap,id=net{index},ifname={tap},script=no,downscript=no"]
        # A boot ROM would be one more file that has to be the same at every site.
        words += [
            "-device",
            f"virtio-net-pci,id=nic{index},netdev=net{index},mac={nic.mac},romfile=",
        ]
    if incoming:
        words += ["-S", "-incoming", "defer"]
    return words


def _path(option: str, path: Path) -> str:
    # A comma in a value is written twice.
    return f"{option},path={str(path).replace(',', ',,')}"
