"""A lab's end, for whoever asks: by name, under its lock."""

from __future__ import annotations

from vpnctl.errors import LabError, NotFoundError
from vpnctl.lab import preflight, state
from vpnctl.lab.teardown import down as take_down


def down(name: str = "") -> str:
    """Take down the lab of this name, or the only one; its name.

    Raises `NotFoundError` where there is none, `LabError` where somebody builds it now.
    """
    preflight.need_root()
    known = state.names()
    if name not in known and (name or len(known) != 1):
        if len(known) > 1 and not name:
            raise LabError(f"there are {len(known)} labs", hint=f"say which: {', '.join(known)}")
        raise NotFoundError(
            f"no lab {name!r} is there" if name else "no lab is there",
            hint=f"there are: {', '.join(known)}" if known else "nothing is left to remove",
        )
    layout = state.layout_of(name or known[0])
    with state.locked(layout.name):
        take_down(layout, state.read(layout))
    return layout.name
