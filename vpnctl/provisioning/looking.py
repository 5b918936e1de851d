"""Looking at a router without changing it."""

from __future__ import annotations

from vpnctl.provisioning.driver import Driver, Probe
from vpnctl.provisioning.rendered import Rendered


async def difference(driver: Driver, shall: Rendered) -> str:
    """What loading ``shall`` would change, in the router's own syntax; empty: nothing.

    The router's candidate is locked meanwhile and left as it was.  Raises every error that a
    `Driver` has, and ends the session.
    """
    try:
        await driver.connect()
        await driver.lock()
        await driver.load(shall)
        found = await driver.diff()
        await driver.discard()
        await driver.unlock()
    finally:
        await driver.close()
    return found


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
