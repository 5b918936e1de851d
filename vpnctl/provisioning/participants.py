"""The routers of a transaction: what is known of each, and what of their errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple, TypeVar

from vpnctl.errors import ConnectError, OutcomeUnknownError, ProvisioningError
from vpnctl.provisioning.driver import Driver
from vpnctl.provisioning.journal import RouterChange
from vpnctl.provisioning.words import legible

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


class Witness(NamedTuple):
    """What has to be seen of a router beside its configuration; ``name`` is the step's."""

    name: str
    see: Callable[[], Awaitable[None]]


async def each(
    routers: Iterable[Participant], work: Callable[[Participant], Awaitable[None]]
) -> list[ProvisioningError]:
    """Do something at every router at once, all of it whatever fails; gives the failures."""
    results = await asyncio.gather(*map(work, routers), return_exceptions=True)
    failures = []
    for result in results:
        if isinstance(result, ProvisioningError):
            failures.append(result)
        elif isinstance(result, BaseException):
            raise result
    return failures


async def leave(router: Participant) -> None:
    """Leave nothing of ours at a router: no candidate, no lock, no session."""
    driver, router.driver = router.driver, None
    if driver is None:
        return
    try:
        if not router.committed:
            await driver.discard()
        await driver.unlock()
    except Exception:
        pass  # the end of the session does both, too
    finally:
        await driver.close()


async def guarded(router: Participant, name: str, doing: Awaitable[_Result]) -> _Result:
    """A step at a router; what no driver should raise counts as an answer that is missing."""
    try:
        return await doing
    except ProvisioningError:
        raise
    except Exception as error:
        raise OutcomeUnknownError(
            f"{router.name}: {name} ended in {type(error).__name__}: {legible(str(error))}",
            hint="this is a mistake in the driver: please report it",
            router=router.name,
        ) from error


def combined(
    failures: list[ProvisioningError], outcome: str, *, doubt: bool = False
) -> ProvisioningError:
    """One error for all routers' troubles, of their kind where they have one in common.

    ``doubt``: whether a router is in doubt.  Where none is, an answer that was missing has been
    found out by asking again, and what is left to tell of is a session that was lost.
    """
    missing = [failure for failure in failures if isinstance(failure, OutcomeUnknownError)]
    kinds = {
        ConnectError if failure in missing and not doubt else type(failure) for failure in failures
    }
    kind = kinds.pop() if len(kinds) == 1 else ProvisioningError
    asked = "asked again over a new session: " if missing and not doubt else ""
    error = kind(
        f"{'; '.join(failure.message for failure in failures)}; {asked}{outcome}",
        hint=failures[0].hint,
        router=failures[0].router if len(failures) == 1 else "",
    )
    error.__cause__ = failures[0]
    return error
