"""The whole tree of errors that vpnctl raises on purpose.

::

    VpnctlError
     +-- UsageError            2   the command line or the request does not make sense
     +-- PolicyError           3   the policy has mistakes; nothing was applied
     |    +-- TopologyError     3   a lab's topology file has mistakes; nothing was started
     +-- NotFoundError         4   a VPN, site, peer, route or revision of that name does not exist
     +-- StaleError            5   the base revision moved since the plan was made
     +-- ControllerError       6   the controller cannot be reached or refused
     +-- StoreError            7   the store cannot be read or written
     +-- SessionProcessError   8   the BGP session process failed
     +-- ResourceError         9   a pool is exhausted: targets, VLANs, VE-IDs
     +-- StreamRefusedError   10   a migration stream is damaged, or uses what is not supported
     +-- SidecarError         12   a migration's data path failed; the guest runs on at the source
     |    +-- SidecarProtocolError   the other sidecar sent what no sidecar sends
     +-- LabError             20   the lab cannot be built, run or reached

Each class carries the exit code that the command line ends with and, per instance, a hint: what
the reader can do next.  An error that wraps another one is raised ``from`` it.
"""

from __future__ import annotations

from typing import ClassVar


class VpnctlError(Exception):
    """Base of every error that an operator may see.

    ``message`` says what is wrong and where; ``hint`` says what to do about it.
    """

    exit_code: ClassVar[int] = 1
    #: Stable identifier used in JSON and by the HTTP API.
    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(VpnctlError):
    """The command line or the request does not make sense."""

    exit_code = 2
    code = "usage"


class PolicyError(VpnctlError):
    """The policy has mistakes.

    ``mistakes`` holds every one of them (``vpnctl.ruleset.Mistake``), rendered by the caller.
    """

    exit_code = 3
    code = "policy"
    #: What has not happened because of them.
    averted: ClassVar[str] = "nothing was applied"

    def __init__(self, message: str, *, hint: str = "", mistakes: tuple[object, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.mistakes = mistakes


class NotFoundError(VpnctlError):
    """A VPN, site, peer, route or revision of that name does not exist."""

    exit_code = 4
    code = "not-found"


class StaleError(VpnctlError):
    """The base revision moved since the plan was made."""

    exit_code = 5
    code = "stale"


class ControllerError(VpnctlError):
    """The controller cannot be reached, or refused."""

    exit_code = 6
    code = "controller"


class StoreError(VpnctlError):
    """The store cannot be read or written."""

    exit_code = 7
    code = "store"


class SessionProcessError(VpnctlError):
    """The BGP session process could not be started, died, or is of another version."""

    exit_code = 8
    code = "session-process"


class ResourceError(VpnctlError):
    """A pool of numbers is exhausted."""

    exit_code = 9
    code = "resource"


class StreamRefusedError(VpnctlError):
    """A migration stream is damaged, is none, or uses what a sidecar does not support."""

    exit_code = 10
    code = "stream-refused"


class LabError(VpnctlError):
    """The lab cannot be built, run or reached: a package, a privilege, the kernel, a node."""

    exit_code = 20
    code = "lab"


class SidecarError(VpnctlError):
    """A migration's data path failed; the guest runs on at the source."""

    exit_code = 12
    code = "sidecar"


class SidecarProtocolError(SidecarError):
    """The other sidecar sent what no sidecar sends: it is broken, of another version, or lies."""

    code = "sidecar-protocol"


class TopologyError(PolicyError):
    """A lab's topology file has mistakes; ``mistakes`` as in `PolicyError`."""

    code = "topology"
    averted = "nothing was started"
