"""What a test guest boots: a kernel of the distribution, and an image made here around agent.c."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

_GUESTS = Path(__file__).parent.parent / "guests"
SOURCES = (_GUESTS / "agent.c", _GUESTS / "services.c")
#: Where tests/guests/fetch puts a kernel, and of its modules those for a disk and a network.
FETCHED = Path("/var/cache/vpnctl/guest-kernel")
#: Each after those that it needs; a kernel may have them built in.
_MODULES = (
    "virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci",
    "virtio_blk", "failover", "net_failover", "virtio_net",
)  # fmt: skip

DIRECTORY, FILE, CHARACTER_DEVICE = 0o040755, 0o100755, 0o020600


class MissingError(Exception):
    """Something that guests need is not installed; the message says what."""


def kernel() -> Path:
    """A kernel to boot: of the environment, fetched, or the machine's own."""
    named = os.environ.get("VPNCTL_GUEST_KERNEL")
    places = (
        [Path(named)] if named else [*FETCHED.glob("vmlinuz*"), *Path("/boot").glob("vmlinuz*")]
    )
    readable = sorted(place for place in places if os.access(place, os.R_OK))
    if not readable:
        raise MissingError("a kernel for guests is not installed: run tests/guests/fetch")
    return readable[-1]


def modules() -> list[Path]:
    """The modules that a guest loads for its disk and its network, in that order."""
    places = [FETCHED / "modules" / f"{name}.ko" for name in _MODULES]
    return [place for place in places if place.exists()]


def build_image(directory: Path, files: Mapping[str, Path] | None = None) -> Path:
    """An image for ``-initrd``: the agent, and ``files`` (name: source) in /files."""
    if shutil.which("gcc") is None:
        raise MissingError("gcc is not installed")
    agent = directory / "agent"
    subprocess.run(
        ["gcc", "-static", "-O2", "-Wall", "-Wextra", "-Werror", "-o", agent, *SOURCES],
        check=True,
    )
    image = directory / "image.cpio"
    with image.open("wb") as out:
        out.write(entry("dev", DIRECTORY))
        out.write(entry("dev/console", CHARACTER_DEVICE, device=(5, 1)))
        out.write(entry("files", DIRECTORY))
        out.write(entry("init", FILE, agent.read_bytes()))
        for name, source in (files or {}).items():
            out.write(entry(f"files/{name}", FILE, source.read_bytes()))
        out.write(entry("modules", DIRECTORY))
        for number, module in enumerate(modules()):
            out.write(entry(f"modules/{number}-{module.name}", FILE, module.read_bytes()))
        out.write(entry("TRAILER!!!", 0))
    return image


def entry(
    name: str,
    mode: int,
    content: bytes = b"",
    device: tuple[int, int] = (0, 0),
    time: int = 0,
) -> bytes:
    """A member of a cpio archive of the format "newc" (Linux, driver-api/early-userspace)."""
    named = name.encode() + b"\0"
    inode, owner, group, links = 0, 0, 0, 1
    numbers = (
        inode, mode, owner, group, links, time, len(content), 0, 0, *device, len(named), 0,
    )  # fmt: skip
    header = b"070701" + b"".join(b"%08X" % number for number in numbers) + named
    return _aligned(header) + _aligned(content)


def _aligned(octets: bytes) -> bytes:
    return octets + bytes(-len(octets) % 4)
