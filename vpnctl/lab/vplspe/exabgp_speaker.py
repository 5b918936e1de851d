"""ExaBGP that offers graceful restart as the controller does (RFC 4724, RFC 8538, RFC 9494).

Run as ``python -m vpnctl.lab.vplspe.exabgp_speaker SECONDS server FILE``: ExaBGP with this
configuration, whose routes are to stay for so many seconds beside the time of a restart.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any

from exabgp.application.main import main
from exabgp.bgp.fsm import FSM
from exabgp.bgp.neighbor import Neighbor
from exabgp.reactor.peer import Peer

from vpnctl.bgp import exabgp_capabilities, hard_reset
from vpnctl.bgp.messages import notification

#: Cease, Administrative Shutdown (RFC 4486).
_SHUTDOWN = 6, 2
_shutdown = Peer.shutdown


def _shut_down_for_good(peer: Any) -> None:
    """End in order: nobody is to wait for us.  ExaBGP itself would only close the connection."""
    if peer.fsm == FSM.ESTABLISHED:
        last_words = notification(*hard_reset.HARD_RESET, hard_reset.data_of(*_SHUTDOWN))
        with contextlib.suppress(OSError):
            peer.proto.connection.io.send(last_words)
    _shutdown(peer)


if __name__ == "__main__":
    # Its configuration has no word for it.
    Neighbor.Capability.defaults[exabgp_capabilities.LONG_LIVED] = int(sys.argv.pop(1))
    exabgp_capabilities.install()
    Peer.shutdown = _shut_down_for_good
    main()
