"""Which lab is meant: a topology file, the name of a lab, or nothing where there is one only."""

from __future__ import annotations

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
            hint="vpnctl lab up lab/cloudnet.clab.yml",
        )
    return found[0]


def read(file: Path) -> str:
    """The text of a topology file; raises `UsageError`."""
    try:
        return file.read_text(encoding="utf-8")
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
