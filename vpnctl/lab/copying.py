"""The files of a topology in another place, for who must not touch the operator's own."""

from __future__ import annotations

import shutil
from pathlib import Path

from vpnctl.lab.topology import Topology


def copy_bound(topology: Topology, source: Path, target: Path) -> None:
    """Copy what the topology binds from one directory to another.

    What lies outside of the first is not copied, and what is not there is left to whoever looks
    for it.
    """
    for node in topology.nodes.values():
        for bind in node.binds:
            here, there = source / bind.source, target / bind.source
            if there.exists() or not there.resolve().is_relative_to(target.resolve()):
                continue
            there.parent.mkdir(parents=True, exist_ok=True)
            if here.is_dir():
                shutil.copytree(here, there)
            elif here.exists():
                shutil.copy(here, there)
