"""``vpnctl demo``: a route server and three PEs on loopback, and a rewritten route on the screen.

Everything is real: the controller is ``vpnctl serve``, the PEs are ExaBGP speakers, and what is
shown is what they received.  It needs no root and leaves nothing behind.
"""

from vpnctl.demo.play import run
from vpnctl.demo.stay import stay

__all__ = ["run", "stay"]
