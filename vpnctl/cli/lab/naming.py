"""Which lab is meant: a topology file, the name of a lab, or nothing where there is one only."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Annotated

import typer

from vpnctl.errors import UsageError

SUFFIX = ".clab.yml"

LabArgument = Annotated[
    str, typer.Argument(metavar="[FILE|NAME]", help="The lab; needed where there are several.")
]
LabOption = Annotated[
    str,
    typer.Option(
        "--lab", "-l", metavar="FILE|NAME", help="The lab; needed where there are several."
    ),
]


def topology_file(given: Path | None) -> Path:
    """The topology file that is meant; raises `UsageError`."""
    if given is not None and not given.is_dir():
        return given
    directory = given or Path()
    found = sorted(directory.glob(f"*{SUFFIX}"))
    if len(found) != 1:
        there = ", ".join(path.name for path in found) or "none"
        raise UsageError(
            f"say which topology: {directory.resolve()} has {there} of *{SUFFIX}",
            hint=f"name one, such as {found[0] if found else f'lab/cloudnet{SUFFIX}'}",
        )
    return found[0]


def read(file: Path) -> str:
    """The text of a topology file; raises `UsageError`."""
    from vpnctl.yamltree.tree import MAX_FILE_SIZE

    try:
        # Not blocking: nobody may write to a FIFO that is named by mistake.
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        with os.fdopen(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UsageError(f"{file} is no regular file", hint=f"name a *{SUFFIX} file")
            content = stream.read(MAX_FILE_SIZE + 1)
        if len(content) > MAX_FILE_SIZE:
            raise UsageError(
                f"{file} is longer than {MAX_FILE_SIZE} octets", hint=f"name a *{SUFFIX} file"
            )
        return content.decode("utf-8")
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read: {error.strerror}", hint=f"name a *{SUFFIX} file"
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 text", hint="save the file as UTF-8") from error


def lab_name(given: str) -> str:
    """The name of the lab that is meant, empty for the only one; raises `TopologyError`."""
    if not given.endswith((".yml", ".yaml")):
        return given
    from vpnctl.lab.reading import read_topology

    file = Path(given)
    return read_topology(given, read(file).encode()).name
