"""Looking at a router without changing it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from vpnctl.errors import ConnectError, OutcomeUnknownError, ProvisioningError
from vpnctl.provisioning.driver import Driver, Probe
from vpnctl.provisioning.foreign import refuse_foreign
from vpnctl.provisioning.journal import RouterChange
from vpnctl.provisioning.rendered import Rendered


async def difference(driver: Driver, shall: Rendered) -> str:
    """What loading ``shall`` would change, in the router's own syntax; empty: nothing.

    The router's candidate is locked meanwhile and left as it was.  Raises every error that a
    `Driver` has, and ends the session.
    """
    async with _locked(driver):
        await driver.load(shall)
        return await driver.diff()


async def rehearsal(driver: Driver, change: RouterChange, *, check: bool) -> tuple[str, str]:
    """What a change would do at a router, and what speaks against it; empty: nothing.

    As with `difference`; against it may be nodes of somebody else's, and with ``check`` the
    router's own check, for which it may take as long as for a commit.
    """
    async with _locked(driver):
        await driver.load(change.after)
        found = await driver.diff()
        try:
            await refuse_foreign(driver, change)
        except (ConnectError, OutcomeUnknownError):
            raise
        except ProvisioningError as error:
            complaint = f"{error.message}; {error.hint}"
        else:
            complaint = await _checked(driver) if found and check else ""
    return found, complaint


async def _checked(driver: Driver) -> str:
    """What the router says against what is loaded; empty: nothing."""
    try:
        await driver.check()
    except (ConnectError, OutcomeUnknownError):
        raise
    except ProvisioningError as error:
        return error.message
    return ""


@asynccontextmanager
async def _locked(driver: Driver) -> AsyncIterator[None]:
    try:
        await driver.connect()
        await driver.lock()
        yield
        await driver.discard()
        await driver.unlock()
    finally:
        await driver.close()


async def probe(driver: Driver) -> Probe:
    """What a router says about itself; raises `ConnectError` or `HostKeyError`."""
    try:
        await driver.connect()
        return await driver.probe()
    finally:
        await driver.close()


async def configuration(driver: Driver) -> str:
    """All that is in force at a router; raises what `Driver.connect` does, ends the session."""
    try:
        await driver.connect()
        return await driver.configuration()
    finally:
        await driver.close()
