"""An agent that dies at a chosen moment of the commit protocol.

``VPNCTL_TEST_DIE`` in the environment says when, as ``departing:offered:send offer:before``; with
``:host`` after it everything that the agent has started dies with it, as when its host does.  The
rest of the command line is the program's own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tests.migration.world import guests_below
from vpnctl.__main__ import main
from vpnctl.migration.agent.arriving import Arriving
from vpnctl.migration.agent.departing import Departing
from vpnctl.migration.commit import Action

_HALVES = {"departing": Departing, "arriving": Arriving}


def _die(host: bool) -> None:
    if host:
        for process in guests_below(Path(sys.argv[sys.argv.index("--state") + 1])):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def _make_mortal(half: type[Any], wanted: Action, state: str, when: str, host: bool) -> None:
    immortal = half._act

    async def act(self: Any, action: Action) -> Any:
        chosen = action is wanted and self.record.state == state
        if chosen and when == "before":
            _die(host)
        result = await immortal(self, action)
        if chosen and when == "after":
            _die(host)
        return result

    half._act = act


if __name__ == "__main__":
    if told := os.environ.pop("VPNCTL_TEST_DIE", ""):
        half, state, action, when, *host = told.split(":")
        _make_mortal(_HALVES[half], Action(action), state, when, bool(host))
    main()
