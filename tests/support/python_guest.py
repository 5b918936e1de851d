"""A guest whose first process is this machine's Python with a program of the tests.

It is there for what needs another kernel than this machine's: no disk, no network but its own
loopback, and one line of JSON on its console.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.guest_image import CHARACTER_DEVICE, DIRECTORY, FILE, MissingError, entry
from tests.support.qemu import find_qemu

#: Where tests/guests/fetch puts a kernel that has TCP-AO.
AO_KERNEL = Path("/var/cache/vpnctl/ao-kernel")
#: What begins the line of JSON, and how long (s) it may take to come.
ANSWER, PATIENCE = "answer ", 240.0
_REPOSITORY = Path(__file__).parent.parent.parent
_NOT_NEEDED = {
    "test", "tests", "idlelib", "lib2to3", "ensurepip", "tkinter", "turtledemo", "site-packages",
    "dist-packages", "pydoc_data", "unittest", "distutils",
}  # fmt: skip


def ao_kernel() -> Path:
    """A kernel with TCP-AO; `MissingError` if none was fetched."""
    found = sorted(AO_KERNEL.glob("vmlinuz*"))
    if not found:
        raise MissingError("there is no kernel with TCP-AO here: tests/guests/fetch gets one")
    return found[-1]


def run(kernel: Path, program: str, directory: Path, *, also: str = "sys") -> Any:
    """What the module ``program`` answers (`ANSWER`) in a guest, which ends with it.

    ``also``: a module that it starts as a process.  Raises `AssertionError` with the console's
    last words.
    """
    image = directory / "image.cpio"
    _write_image(image, f"{program}, {also}")
    python = Path(sys.executable).resolve()
    search = ":".join(map(str, (_REPOSITORY, sysconfig.get_paths()["purelib"])))
    arguments = [
        "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35", "-cpu", "max",
        "-accel", "tcg,thread=single", "-m", "768M", "-no-reboot", "-serial", "stdio",
        "-kernel", str(kernel), "-initrd", str(image), "-append",
        # Without a device that gives it random numbers, the guest has its processor's alone.
        "console=ttyS0 quiet panic=-1 tsc_early_khz=2000000 random.trust_cpu=on "
        f"PYTHONPATH={search} PYTHONDONTWRITEBYTECODE=1 rdinit={python} -- -m {program}",
    ]  # fmt: skip
    try:
        console = subprocess.run(
            [find_qemu(), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
            check=False,
        ).stdout
    except subprocess.TimeoutExpired as late:
        console = late.stdout or b""
    lines = console.decode(errors="replace").splitlines()
    for line in lines:
        if line.startswith(ANSWER):
            return json.loads(line.removeprefix(ANSWER))
    raise AssertionError("the guest gave no answer: " + "\n".join(lines[-40:]))


def _write_image(image: Path, modules: str) -> None:
    """An image for ``-initrd``; modules keep the times of their files, by which they count as
    compiled."""
    directories: set[Path] = set()
    with image.open("wb") as out:
        out.write(entry("dev", DIRECTORY))
        for name, device in (("console", (5, 1)), ("null", (1, 3)), ("urandom", (1, 9))):
            out.write(entry(f"dev/{name}", CHARACTER_DEVICE, device=device))
        for name in ("proc", "tmp", "etc"):
            out.write(entry(name, DIRECTORY))
        # ExaBGP wants to know whom it could become.
        out.write(entry("etc/passwd", FILE, b"root:x:0:0::/:\nnobody:x:65534:65534::/:\n"))
        for path, source in sorted(_files(modules).items()):
            for parent in sorted(set(path.parents) - directories - {Path("/")}):
                out.write(entry(str(parent)[1:], DIRECTORY))
                directories.add(parent)
            changed = int(source.stat().st_mtime)
            out.write(entry(str(path)[1:], FILE, source.read_bytes(), time=changed))
        out.write(entry("TRAILER!!!", 0))


def _files(modules: str) -> dict[Path, Path]:
    """Path in the guest -> file: Python, its library, and what modules import."""
    python = Path(sys.executable).resolve()
    library = Path(sysconfig.get_paths()["stdlib"])
    found = [python, *_tree(library), *_imported(modules)]
    extensions = [path for path in found if ".so" in path.suffixes]
    shown = subprocess.run(
        ["ldd", python, *extensions], check=False, capture_output=True, text=True
    ).stdout
    files = {path: path for path in found}
    files.update((Path(name), Path(name)) for name in re.findall(r"(/\S+) \(0x", shown))
    return files


def _tree(top: Path) -> Iterator[Path]:
    ours = f"{sys.implementation.cache_tag}.pyc"
    for directory, inside, names in os.walk(top):
        inside[:] = [
            name for name in inside if name not in _NOT_NEEDED and not name.startswith("config-")
        ]
        for name in names:
            if name.endswith((".py", ".so", ours)):
                yield Path(directory, name)


def _imported(modules: str) -> Iterator[Path]:
    """The packages that modules import, from the repository and from where they are installed."""
    asked = (
        f"import sys, {modules}; "
        "print(*{n.partition('.')[0] for n, m in sys.modules.items() if getattr(m, '__file__', 0)})"
    )
    shown = subprocess.run(
        [sys.executable, "-c", asked], check=True, capture_output=True, text=True, cwd=_REPOSITORY
    ).stdout
    installed = Path(sysconfig.get_paths()["purelib"])
    for name in shown.split():
        for top in (installed / name, _REPOSITORY / name):
            if top.is_dir():
                yield from _tree_of_package(top)


def _tree_of_package(top: Path) -> Iterator[Path]:
    # The tests' own folders are packages called as what is left out elsewhere.
    if top == _REPOSITORY / "tests":
        for part in ("bgp", "support", "guests"):
            yield from _tree(top / part)
        yield top / "__init__.py"
    else:
        yield from _tree(top)
