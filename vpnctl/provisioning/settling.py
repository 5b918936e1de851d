"""Finding out what a router has whose answer is missing, and giving it what it shall have.

A confirmed commit of ours that waits is ended one way or the other.  Where none waits, the
router's lock is taken, which a commit that still runs there would hold; then loading shows whether
there is a difference.  ``persist`` and ``window_s`` as in `Driver.commit_confirmed`, ``driver`` is
connected; every error of it may be raised, and then the router is as much in doubt as before.
"""

from __future__ import annotations

from vpnctl.errors import RejectedError, UnverifiedError
from vpnctl.provisioning.driver import CommitState, Driver
from vpnctl.provisioning.journal import RouterChange
from vpnctl.provisioning.rendered import Rendered


async def keep(change: RouterChange, driver: Driver, persist: str, window_s: int) -> None:
    """Make the router have the change, now and after its timer."""
    if await driver.pending(persist) is CommitState.PENDING:
        await driver.confirm(persist)
        return
    await driver.lock()
    if await driver.pending(persist) is not CommitState.NONE:
        try:
            await driver.confirm(persist)
        except RejectedError:
            # Should it still wait, it would look as if it were in force for good.
            await driver.cancel(persist)
        else:
            return
    # None waits: it was confirmed before, or undone by its timer.
    await _give(change.after, driver, persist, window_s)


async def withdraw(change: RouterChange, driver: Driver, persist: str, window_s: int) -> None:
    """Take back a change that nobody confirmed."""
    if await driver.pending(persist) is CommitState.PENDING:
        await driver.cancel(persist)
        return
    await driver.lock()
    await driver.cancel(persist)
    # It cannot be in force.  Look all the same, but compare with the change, not with what was
    # before: that may have been other than we thought, and is not ours to mend here.
    await driver.load(change.after)
    has_it = not await driver.diff()
    await driver.discard()
    if has_it:
        await _give(change.before, driver, persist, window_s)


async def restore(change: RouterChange, driver: Driver, persist: str, window_s: int) -> None:
    """Take back a change that may have been confirmed."""
    if await driver.pending(persist) is CommitState.PENDING:
        await driver.cancel(persist)
    await driver.lock()
    await driver.cancel(persist)
    await _give(change.before, driver, persist, window_s)


async def _give(shall: Rendered, driver: Driver, persist: str, window_s: int) -> None:
    await driver.load(shall)
    if await driver.diff():
        await driver.check()
        await driver.commit_confirmed(persist, window_s)
        try:
            await driver.verify()
        except UnverifiedError:
            await driver.cancel(persist)
            raise
        await driver.confirm(persist)
    else:
        await driver.discard()
