"""The whole tree of errors that vpnctl raises on purpose.

::

    VpnctlError
     +-- UsageError            2   the command line or the request does not make sense
     +-- PolicyError           3   the policy has mistakes; nothing was applied
     |    +-- TopologyError     3   a lab's topology file has mistakes; nothing was started
     |    +-- RenderError       3   a router cannot have what the policy asks; nothing was applied
     |    +-- DefinitionError   3   a machine's definition has mistakes; nothing was started
     +-- NotFoundError         4   a VPN, site, peer, route or revision of that name does not exist
     +-- StaleError            5   the base revision moved since the plan was made
     +-- ControllerError       6   the controller cannot be reached or refused
     +-- StoreError            7   the store cannot be read or written
     +-- SessionProcessError   8   the BGP session process failed
     +-- ResourceError         9   a pool is exhausted: targets, VLANs, VE-IDs
     +-- StreamRefusedError   10   a migration stream is damaged, or uses what is not supported
     +-- SidecarError         12   a migration's data path failed; the guest runs on at the source
     |    +-- SidecarProtocolError   the other sidecar sent what no sidecar sends
     +-- ProvisioningError    13   a router could not be configured; no router was changed
     |    +-- ConnectError        14   no session with the router, or it was lost
     |    +-- HostKeyError        15   somebody answers, but not with the router's key
     |    +-- LockedError         16   another session holds the router's configuration
     |    +-- DirtyCandidateError 17   its candidate has changes that are not ours
     |    +-- RejectedError       18   the router refused, in its own words
     |    +-- OutcomeUnknownError 19   it is not known whether the router did it
     |    +-- UnverifiedError     24   it did, and what it was for is not there; it was taken back
     +-- LabError             20   the lab cannot be built, run or reached
     +-- MigrationError       21   a machine did not move; the message says where it runs
     |    +-- PrecheckError      22   it may not move there; nothing was touched
     +-- AgentError           23   a site's agent cannot be reached or refused

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


class ProvisioningError(VpnctlError):
    """A router could not be configured.

    ``router`` is its name, empty where several are concerned.
    """

    exit_code = 13
    code = "provisioning"

    def __init__(self, message: str, *, hint: str = "", router: str = "") -> None:
        super().__init__(message, hint=hint)
        self.router = router


class ConnectError(ProvisioningError):
    """There is no session with the router: unreachable, login failed, connection lost."""

    exit_code = 14
    code = "router-connect"


class HostKeyError(ProvisioningError):
    """Somebody answers at the router's address, but not with the router's key."""

    exit_code = 15
    code = "router-host-key"


class LockedError(ProvisioningError):
    """Another session holds the router's configuration; the message says which."""

    exit_code = 16
    code = "router-locked"


class DirtyCandidateError(ProvisioningError):
    """The router's candidate has changes that are not ours; they were left as they are."""

    exit_code = 17
    code = "router-dirty-candidate"


class RejectedError(ProvisioningError):
    """The router understood and refused; the message has its words."""

    exit_code = 18
    code = "router-rejected"


class OutcomeUnknownError(ProvisioningError):
    """It is not known whether a router did what it was asked to."""

    exit_code = 19
    code = "router-outcome-unknown"


class UnverifiedError(ProvisioningError):
    """A router has committed, and what that was for is not there: lines, or the new route."""

    exit_code = 24
    code = "router-unverified"


class MigrationError(VpnctlError):
    """A machine did not move; the message says where it runs."""

    exit_code = 21
    code = "migration"


class PrecheckError(MigrationError):
    """A machine may not move there; nothing was touched."""

    exit_code = 22
    code = "precheck"


class AgentError(VpnctlError):
    """A site's agent cannot be reached, or refused."""

    exit_code = 23
    code = "agent"


class DefinitionError(PolicyError):
    """A machine's definition or the list of agents has mistakes; as in `PolicyError`."""

    code = "definition"
    averted = "nothing was started"


class TopologyError(PolicyError):
    """A lab's topology file has mistakes; ``mistakes`` as in `PolicyError`."""

    code = "topology"
    averted = "nothing was started"


class RenderError(PolicyError):
    """A router cannot have what the policy asks for; ``mistakes`` as in `PolicyError`."""

    code = "render"
