"""What a lab needs of this machine, looked at before anything is made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from vpnctl.errors import LabError
from vpnctl.lab import frr
from vpnctl.lab.enter import missing
from vpnctl.lab.layout import Layout
from vpnctl.lab.reading import topology_error
from vpnctl.lab.topology import Role, Topology
from vpnctl.yamltree.mistake import Mistake

#: Debian's packages of programs that topologies use; others are named as they are.
_PACKAGES = {
    "ip": "iproute2",
    "bridge": "iproute2",
    "tc": "iproute2",
    "ss": "iproute2",
    "ping": "iputils-ping",
    "arping": "iputils-arping",
    "sysctl": "procps",
    "vtysh": "frr",
    "iperf3": "iperf3",
    "tcpdump": "tcpdump",
    "ethtool": "ethtool",
}


def need_root() -> None:
    """Raises `LabError` unless this process may make namespaces."""
    if os.geteuid() != 0:
        raise LabError(
            "network namespaces need root, and you are not",
            hint="sudo vpnctl lab ...; without root 'vpnctl lab graph' and 'vpnctl demo' work",
        )


def check(topology: Topology, directory: Path) -> None:
    """Raises `LabError` for what this machine lacks, `TopologyError` for files that are not there.

    ``directory``: what paths in the topology are relative to.
    """
    need_root()
    mistakes = tuple(_missing_files(topology, directory))
    if mistakes:
        raise topology_error(mistakes)
    lacking = sorted(set(_missing_packages(topology)))
    if lacking:
        raise LabError(
            f"not installed: {', '.join(lacking)}",
            hint=f"apt-get install {' '.join(lacking)}",
        )


def _missing_files(topology: Topology, directory: Path) -> Iterator[Mistake]:
    for node in topology.nodes.values():
        for bind in node.binds:
            if not (directory / bind.source).exists():
                yield Mistake(
                    bind.place,
                    f"topology.nodes.{node.name}.binds",
                    f"there is no {bind.source!r} in {directory}",
                    "write the file, or correct the path: it is relative to the topology file",
                )


def _missing_packages(topology: Topology) -> Iterator[str]:
    if topology.of_role(Role.FRR) and not frr.installed():
        yield "frr"
    programs = {
        command[0]
        for node in topology.nodes.values()
        for command in (*node.execs, node.command)
        if command
    }
    yield from (_PACKAGES.get(program, program) for program in missing(programs))


def check_free(layout: Layout, complete: bool | None) -> None:
    """Raises `LabError` where the lab is there already; ``complete``: its record's, if any."""
    if complete:
        raise LabError(
            f"the lab {layout.name!r} is up already",
            hint=f"vpnctl lab inspect {layout.name}; to build it anew,"
            f" vpnctl lab down {layout.name} first",
        )
    if complete is not None:
        raise LabError(
            f"an earlier 'up' of the lab {layout.name!r} did not finish",
            hint=f"vpnctl lab down {layout.name} removes what is left of it",
        )
