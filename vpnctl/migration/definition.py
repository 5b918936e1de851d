"""What a machine is, as its operator writes it.

::

    machine: web1
    app: shop                     # machines of one application move together with --app
    memory: 512M
    cpus: 1
    type: q35                     # QEMU's machine type; pinned to its version at the first start
    cpu: qemu64                   # a model that every site has
    accelerator: kvm              # or tcg, software emulation
    boot: {kernel: vmlinuz, initrd: web1.cpio, append: "console=ttyS0"}
    disks:
      - {file: web1.qcow2, format: qcow2}
      - {file: data.img, format: raw, shared: true}
    nics:
      - {vpn: E1, mac: "52:54:00:00:00:01"}       # in the bridge that each site has for E1
      - {bridge: br0, mac: "52:54:00:00:00:02"}

Files are plain names: the agent of each site knows the directories they are in.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    model_validator,
)

from vpnctl.yamltree.tree import Genre

_NAME = r"[a-zA-Z0-9](?:[a-zA-Z0-9_-]{0,30}[a-zA-Z0-9])?"
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SIZE = re.compile(r"([0-9]{1,12})([KMG])")
_UNITS = {"K": 1, "M": 1 << 10, "G": 1 << 20}
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=,-]{0,127}")
_MOST_KIB = 1 << 34
#: What the kernel lets a bridge be called, and the controller a VPN.
BRIDGE, VPN = r"^[A-Za-z0-9._-]{1,15}$", r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"


#: What a file of a definition is, in the words of hints.
DEFINITION = Genre(
    "machine: web1", "a machine (`machine:`, `memory:`, `disks:`)", "docs/migrate.md"
)


def is_name(text: str) -> bool:
    """Whether a machine, an application or a site may be called so."""
    return re.fullmatch(_NAME, text) is not None


def _named(text: str) -> str:
    if not is_name(text):
        raise ValueError("1 to 32 letters, digits, hyphens and underlines, e.g. web1")
    return text


def _file(text: str) -> str:
    if _FILE.fullmatch(text) is None:
        raise ValueError("a plain file name without directories is expected, e.g. web1.qcow2")
    return text


def _model(text: str) -> str:
    if _MODEL.fullmatch(text) is None:
        raise ValueError("a name that QEMU knows is expected, e.g. q35, qemu64")
    return text


def _kib(value: object) -> object:
    """``512M`` in KiB."""
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("a size is expected, e.g. 512M, 4G or 262136K")
    return int(found[1]) * _UNITS[found[2]]


def _mac(text: str) -> str:
    lower = text.lower()
    if _MAC.fullmatch(lower) is None:
        raise ValueError('a MAC address is expected, in quotes: "52:54:00:00:00:01"')
    if int(lower[:2], 16) & 1:
        raise ValueError("this is a group's address; a machine's has an even first octet")
    return lower


Name = Annotated[str, AfterValidator(_named)]
FileName = Annotated[str, AfterValidator(_file)]
QemuName = Annotated[str, AfterValidator(_model)]
Kib = Annotated[
    int,
    BeforeValidator(_kib),
    Field(ge=1024, le=_MOST_KIB),
    PlainSerializer(lambda kib: f"{kib}K"),
]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Boot(_Frozen):
    """A kernel that QEMU loads itself; without it the machine boots from its first disk."""

    kernel: FileName
    initrd: FileName | None = None
    append: str = Field(default="", max_length=2000)


class Disk(_Frozen):
    """``shared``: every site sees the same file, so that it does not have to be copied."""

    file: FileName
    format: Literal["raw", "qcow2"] = "qcow2"
    shared: bool = False


class Nic(_Frozen):
    """A tap device in ``bridge``; ``vpn``: whose network that is, as the controller calls it.

    Without ``bridge`` it is in the one that the agent of each site has for ``vpn``.
    """

    bridge: Annotated[str, Field(pattern=BRIDGE)] | None = None
    mac: Annotated[str, AfterValidator(_mac)]
    vpn: Annotated[str, Field(pattern=VPN)] | None = None

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if self.bridge is None and self.vpn is None:
            raise ValueError(
                "give bridge:, or vpn: alone where the agent of each site was told its --bridge"
            )
        return self


class Definition(_Frozen):
    """A machine; ``memory`` in KiB."""

    machine: Name
    memory: Kib
    app: Name | None = None
    cpus: Annotated[int, Field(ge=1, le=512)] = 1
    type: QemuName = "q35"
    cpu: QemuName = "qemu64"
    accelerator: Literal["kvm", "tcg"] = "kvm"
    boot: Boot | None = None
    disks: Annotated[tuple[Disk, ...], Field(strict=False, max_length=16)] = ()
    nics: Annotated[tuple[Nic, ...], Field(strict=False, max_length=16)] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.boot is None and not self.disks:
            raise ValueError("there is nothing to boot from: give boot: or disks:")
        files = [disk.file for disk in self.disks]
        if len(set(files)) < len(files):
            raise ValueError("two disks have the same file")
        macs = [nic.mac for nic in self.nics]
        if len(set(macs)) < len(macs):
            raise ValueError("two nics have the same MAC address")
        return self
