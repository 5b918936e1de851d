"""The routers of a transaction: what is known of each, and what of their errors."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from vpnctl.errors import OutcomeUnknownError, ProvisioningError
from vpnctl.provisioning.driver import Driver
from vpnctl.provisioning.journal import RouterChange

_Result = TypeVar("_Result")


class Participant:
    """One router in a transaction: its session, and what we know of it."""

    def __init__(self, change: RouterChange, diff: str) -> None:
        self.change = change
        self.driver: Driver | None = None
        self.diff = diff
        #: Whether our confirmed commit is in force; None: it may be.
        self.committed: bool | None = False
        self.doubt: ProvisioningError | None = None
        #: Whether the change was taken back here for good.
        self.settled = False

    @property
    def name(self) -> str:
        return self.change.router


async def guarded(router: Participant, name: str, doing: Awaitable[_Result]) -> _Result:
    """A step at a router; what no driver should raise counts as an answer that is missing."""
    try:
        return await doing
    except ProvisioningError:
        raise
    except Exception as error:
        raise OutcomeUnknownError(
            f"{router.name}: {name} ended in {type(error).__name__}: {error}",
            hint="this is a mistake in the driver: please report it",
            router=router.name,
        ) from error


def combined(failures: list[ProvisioningError], outcome: str) -> ProvisioningError:
    """One error for all routers' troubles, of their kind where they have one in common."""
    kinds = {type(failure) for failure in failures}
    kind = kinds.pop() if len(kinds) == 1 else ProvisioningError
    error = kind(
        f"{'; '.join(failure.message for failure in failures)}; {outcome}",
        hint=failures[0].hint,
        router=failures[0].router if len(failures) == 1 else "",
    )
    error.__cause__ = failures[0]
    return error
