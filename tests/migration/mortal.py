"""An agent that dies at a chosen moment of the commit protocol: ``SIDE ACTION before|after``.

``VPNCTL_TEST_DIE`` in the environment says when, as ``departing:send offer:before``; the rest of
the command line is the program's own.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from vpnctl.__main__ import main
from vpnctl.migration.agent.arriving import Arriving
from vpnctl.migration.agent.departing import Departing
from vpnctl.migration.commit import Action

_HALVES = {"departing": Departing, "arriving": Arriving}


def _make_mortal(half: type[Any], wanted: Action, state: str, when: str) -> None:
    immortal = half._act

    async def act(self: Any, action: Action) -> Any:
        chosen = action is wanted and self.record.state == state
        if chosen and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = await immortal(self, action)
        if chosen and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    half._act = act


if __name__ == "__main__":
    if told := os.environ.pop("VPNCTL_TEST_DIE", ""):
        half, state, action, when = told.split(":")
        _make_mortal(_HALVES[half], Action(action), state, when)
    main()
