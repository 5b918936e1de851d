"""Takes a lab down, whole or in part: processes, namespaces, files."""

from __future__ import annotations

from vpnctl.lab import kernel, namespaces, processes, state
from vpnctl.lab.layout import Layout
from vpnctl.lab.state import LabRecord


def down(layout: Layout, record: LabRecord | None) -> None:
    """Remove everything of a lab; fine where some or all of it is gone already.

    Call it with the lab locked.  Raises `LabError` where something does not go.
    """
    names = () if record is None else record.namespaces
    inodes = {inode for name in names if (inode := namespaces.identity(name)) is not None} - {
        namespaces.own_identity()
    }
    known = {each.process for each in state.started(layout)}
    processes.end_all(inodes, known)
    for name in names:
        kernel.remove_namespace(name)
    state.forget(layout)
