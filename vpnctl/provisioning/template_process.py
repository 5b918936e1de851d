"""``python -m vpnctl.provisioning.template_process FD``: fills in templates until FD is closed.

Each job comes as `vpnctl.provisioning.confined` pickles it, and is answered with one octet and a
text.  Only the controller is believed: what comes from here is never unpickled.
"""

from __future__ import annotations

import math
import pickle
import resource
import signal
import sys
from multiprocessing.connection import Connection
from types import FrameType

from vpnctl.provisioning.profile import Platform
from vpnctl.provisioning.template_limits import CPU_S, MADE, MEMORY_MIB, MOST_MIB, WRONG
from vpnctl.provisioning.templates import TemplateMistakeError, TooMuchError, fill


def main(descriptor: int) -> None:
    """Until the other end is closed, which it is when the controller dies, too."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MIB << 20, MEMORY_MIB << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXCPU, _too_long)
    # A Ctrl-C at the terminal of the controller is the controller's.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Connection(descriptor) as connection:
        while True:
            try:
                job = connection.recv_bytes()
            except EOFError:
                return
            connection.send_bytes(_answer(job))


def _answer(job: bytes) -> bytes:
    intent, name, profile, templates = pickle.loads(job)
    platform = Platform(name, pickle.loads(profile), dict(templates))
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = math.ceil(used.ru_utime + used.ru_stime) + CPU_S
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))
    try:
        text = fill(intent, platform)
    except TemplateMistakeError as error:
        return WRONG + str(error).encode()
    finally:
        # What comes between two jobs is no template's.
        resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))
    if len(octets := text.encode()) > MOST_MIB << 20:
        return WRONG + f"{name}: the templates make more than {MOST_MIB} MiB".encode()
    return MADE + octets


def _too_long(_signal: int, _frame: FrameType | None) -> None:
    raise TooMuchError(f"it takes more than {CPU_S} s to be filled in")


if __name__ == "__main__":
    main(int(sys.argv[1]))
