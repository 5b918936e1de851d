"""Clients that give up what is never answered, and nothing else."""

from __future__ import annotations

from dataclasses import replace

from vpnctl.model import Timeouts
from vpnctl.provisioning.driver import Driver
from vpnctl.provisioning.drivers.session_driver import SessionDriver

#: Drivers' names for those of their steps that are not phases.
_STEPS = {"commit": "commit_confirmed"}


def hurry(driver: Driver, phase: str, seconds: float) -> None:
    """Let a driver wait for ``seconds`` only in the step of a phase, lest it gives up others."""
    step = _STEPS.get(phase, phase)
    take = getattr(driver, step)
    limits = Timeouts(connect=seconds, rpc=seconds, commit=seconds)
    name = "_timeouts"
    impatient: object = limits
    if isinstance(driver, SessionDriver):
        name, impatient = "_access", replace(driver._access, timeouts=limits)
    patient = getattr(driver, name)

    async def taken(*arguments: object) -> None:
        setattr(driver, name, impatient)
        try:
            await take(*arguments)
        finally:
            setattr(driver, name, patient)

    setattr(driver, step, taken)
