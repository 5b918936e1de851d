"""What the transaction asks of a router: one session, step by step.

Every step raises one of seven errors, all of them `ProvisioningError`::

    ConnectError          no session: unreachable, refused, login failed, connection lost
    HostKeyError          somebody answers, but not with the router's key
    LockedError           another session holds the configuration
    DirtyCandidateError   the candidate has changes that are not ours
    RejectedError         the router understood and said no, in its own words
    UnverifiedError       the router says that it has committed, and what is in force is not that
    OutcomeUnknownError   the router did not answer: it may have done it or not

The last is the one to be careful with.  A driver raises it for `Driver.commit_confirmed`,
`Driver.confirm` and `Driver.cancel` whenever the request may have left this machine and no answer
came; whoever gets it makes a new session and asks.  A driver that raised it, or `ConnectError`
after `Driver.connect`, is only good for `Driver.close`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from vpnctl.errors import ProvisioningError
from vpnctl.provisioning.rendered import Rendered


class CommitState(Enum):
    """What became of a confirmed commit, as far as the router can tell."""

    #: No commit under that name waits: there was none, it was confirmed, or it was rolled back.
    NONE = "none"
    #: It is in force and rolls back by itself unless it is confirmed.
    PENDING = "pending"
    #: The router has no way to say.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Probe:
    """What a router says about itself, for ``vpnctl doctor``.

    ``host_key``: fingerprint as OpenSSH shows it (``SHA256:...``), empty where there is none;
    ``rights``: whether the user may change the configuration; ``obstacle``: what is in the way of
    that just now (another's lock, uncommitted changes, a commit that waits); ``missing``: what the
    transaction
    needs and the router has not (capabilities, commands), in the router's terms.
    """

    host_key: str
    version: str
    capabilities: tuple[str, ...]
    rights: bool
    missing: tuple[str, ...] = ()
    obstacle: ProvisioningError | None = None


class Driver(Protocol):
    """One session with one router.  Use from one task, in the order of the methods."""

    async def connect(self) -> None:
        """Make the session; raises `ConnectError` or `HostKeyError`."""

    async def lock(self) -> None:
        """Take the candidate for this session alone; `LockedError` says who has it."""

    async def load(self, rendered: Rendered) -> None:
        """Put what is rendered into the candidate, and take away what it lists as gone.

        Raises `DirtyCandidateError`, leaving the candidate as it is, where it has other changes,
        and `RejectedError`, leaving nothing of ours in it, where the router does not take it.
        Loading once more replaces what was loaded before.
        """

    async def diff(self) -> str:
        """What the candidate would change, in the router's own syntax; empty: nothing."""

    async def check(self) -> None:
        """Let the router check the candidate; raises `RejectedError` with its words."""

    async def commit_confirmed(self, persist: str, timeout_s: int) -> None:
        """Put the candidate in force; it rolls back by itself after ``timeout_s`` seconds.

        ``persist`` names the commit across sessions: the session may end and it stays.  Raises
        `RejectedError` (nothing is in force) or `OutcomeUnknownError`.
        """

    async def verify(self) -> None:
        """Read back what this session has committed of ours; nothing is confirmed by it.

        There are routers that answer "done" and have not done it, or not all of it: raises
        `UnverifiedError`, which changes nothing at the router.
        """

    async def confirm(self, persist: str) -> None:
        """Keep the commit of that name.

        Raises `RejectedError` where no commit of that name waits, or `OutcomeUnknownError`.
        """

    async def cancel(self, persist: str) -> None:
        """Roll the commit of that name back now; where none waits, nothing is done.

        Raises `RejectedError` where the router refuses to, or `OutcomeUnknownError`.
        """

    async def discard(self) -> None:
        """Take our own changes out of the candidate; what others did there stays."""

    async def unlock(self) -> None:
        """Give the candidate back; without a lock nothing is done."""

    async def pending(self, persist: str) -> CommitState:
        """What became of the commit of that name."""

    async def running(self, owned: tuple[str, ...]) -> str:
        """The owned nodes as they are in force, normalized: equal text, equal configuration."""

    async def configuration(self) -> str:
        """The whole of what is in force, in the router's own format."""

    async def probe(self) -> Probe:
        """What the router says about itself and about this user."""

    async def close(self) -> None:
        """End the session, and with it its lock; never raises, and twice is fine."""
