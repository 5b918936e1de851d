"""What an operator asks about the managed routers, beside changing the policy."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

import structlog

from vpnctl.bgp import tcp_ao
from vpnctl.controller import views
from vpnctl.controller.sessions import Sessions
from vpnctl.controller.work import Work
from vpnctl.errors import HostKeyError, NotFoundError, RenderError, UsageError, VpnctlError
from vpnctl.model import InUse, Pe
from vpnctl.planning.plan import Plan, RouterPlan
from vpnctl.provisioning import looking
from vpnctl.provisioning.driver import Probe
from vpnctl.provisioning.journal import RouterChange
from vpnctl.provisioning.refusal import refusals
from vpnctl.provisioning.rendered import Rendered

_log = structlog.get_logger()

_Thing = TypeVar("_Thing")
_Result = TypeVar("_Result")


class Care(Sessions):
    """A controller's routers, looked after."""

    async def drift(
        self, routers: Iterable[str] = (), *, fix: bool, author: str = "api"
    ) -> tuple[views.Drift, ...]:
        """Where managed routers, all unless named, differ from what they shall have of ours.

        ``fix``: make them have it, one by one, each by a transaction of its own; ``author`` is who
        asks for that.
        """
        if not fix:
            return await self._drifts(routers)
        async with self._lock:
            asked = tuple(routers)
            found = [await self._fixed(drift, author) for drift in await self._drifts(asked)]
            if not asked and not any(one.trouble for one in found):
                self._troubles.pop("routers", None)
            return tuple(found)

    async def _drifts(self, routers: Iterable[str]) -> tuple[views.Drift, ...]:
        pes = self._managed(routers)
        # In a thread: templates of the operator's own may take a while.
        shall = await asyncio.to_thread(self._shall_have, pes)
        return await _each(shall, self._drift_at)

    def _shall_have(self, pes: Iterable[Pe]) -> list[tuple[Pe, Rendered]]:
        render = self._routers.renderer()
        return [
            (pe, render(intent, None))
            for pe in pes
            if (intent := self._routers.intent(pe.name)) is not None
        ]

    async def _drift_at(self, one: tuple[Pe, Rendered]) -> views.Drift:
        pe, shall = one
        try:
            diff = await looking.difference(self._routers.open(pe, shall.format), shall)
        except VpnctlError as error:
            return views.Drift(pe.name, pe.platform, "", error.message)
        return views.Drift(pe.name, pe.platform, diff)

    async def _fixed(self, drift: views.Drift, author: str) -> views.Drift:
        if not drift.diff:
            return drift
        pe = self._network.pes[drift.router]
        work = await asyncio.to_thread(self._routers.work_at, pe)
        try:
            with logged("fix the drift", author, work):
                self._routers.refuse_in_doubt(work)
                await work.put_in_force()
                await work.decide()
                await work.transaction.confirm()
        except VpnctlError as error:
            self._routers.keep_an_eye_on(work)
            return replace(drift, trouble=error.message)
        _log.info("drift fixed", router=pe.name, author=author)
        self._hub.tell("router", pe.name, "drift fixed")
        return replace(drift, fixed=True)

    async def doctor(self, routers: Iterable[str] = ()) -> tuple[views.Checkup, ...]:
        """Whether each managed router, all unless named, can be configured; one row per check."""
        return await _each(self._managed(routers), self._checkup)

    async def _checkup(self, pe: Pe) -> views.Checkup:
        rows: list[views.Check] = []
        try:
            found = await asyncio.to_thread(self._shall_have, [pe])
            rendered = found[0][1] if found else None
            rows.append(views.Check("templates", True, pe.platform))
        except RenderError as error:
            wrong = refusals(error)
            told = "; ".join(f"{one.path}: {one.message}" for one in wrong)
            hint = f"{wrong[0].place}: {wrong[0].hint}" if wrong else error.hint
            rows.append(views.Check("templates", False, told or error.message, hint))
            rendered = None
        except VpnctlError as error:
            rows.append(views.Check("templates", False, error.message, error.hint))
            rendered = None
        try:
            form = rendered.format if rendered is not None else ""
            probe = await looking.probe(self._routers.open(pe, form))
        except VpnctlError as error:
            name = "host key" if isinstance(error, HostKeyError) else "session"
            rows.append(views.Check(name, False, error.message, error.hint))
        else:
            missing = ", ".join(probe.missing)
            may = f"{pe.name}: the user may not change the configuration"
            rows += [
                views.Check("session", True, probe.version),
                views.Check("host key", True, probe.host_key or "none is needed"),
                views.Check("rights", True, "may change the configuration")
                if probe.rights
                else views.Check("rights", False, may, "give the user the rights to configure"),
                *_candidate(probe),
                views.Check("capabilities", True, f"{len(probe.capabilities)} told")
                if not missing
                else views.Check(
                    "capabilities", False, f"missing: {missing}", "enable them at the router"
                ),
            ]
            rows.append(await self._numbers_row(pe, rendered))
        doubt = self._routers.in_doubt.get(pe.name)
        if doubt is not None:
            told = "asked again every few seconds; changes that concern it are refused until then"
            rows.append(views.Check("last change", False, f"in doubt: {doubt}", told))
        state = self._peers.states.get(pe.name)
        if pe.guard.tcp_ao:
            reason = tcp_ao.unavailable()
            what = f"this machine's kernel has none: {reason}" if reason else "the kernel has it"
            hint = "run vpnctl serve on Linux 6.7 or newer with CONFIG_TCP_AO" if reason else ""
            rows.append(views.Check("TCP-AO", not reason, what, hint))
        up = pe.name in self._engine.by_peer
        told = state.state if state is not None else "not configured"
        hint = "" if up else f"see 'vpnctl show peers': {state.reason if state else ''}"
        rows.append(views.Check("BGP session", up, told, hint.removesuffix(": ")))
        return views.Checkup(pe.name, pe.platform, all(row.ok for row in rows), tuple(rows))

    async def _numbers_row(self, pe: Pe, rendered: Rendered | None) -> views.Check:
        """Whether somebody else's configuration has a number of ours by now."""
        from vpnctl.provisioning.numbers import Taking, numbers, shared  # late, as the drivers are

        intent = self._routers.intent(pe.name)
        if intent is None or rendered is None or not intent.attachments:
            return views.Check("numbers", True, "none are ours there")
        taking = Taking(tuple(sorted(numbers(intent))), self._routers.profile(pe))
        try:
            there = await looking.configuration(self._routers.open(pe, rendered.format))
            found = await asyncio.to_thread(shared, taking, there, rendered.owned)
        except VpnctlError as error:
            return views.Check("numbers", False, error.message, error.hint)
        if not found:
            return views.Check("numbers", True, f"{len(taking.numbers)}, and nobody else has them")
        return views.Check(
            "numbers",
            False,
            "; ".join(map(str, found)),
            "two have it: change it at the router, or in the policy",
        )

    async def _uses(self, pe: Pe) -> tuple[InUse, ...]:
        """The numbers that a router's configuration has, without what is ours in it."""
        from vpnctl.provisioning.inuse import in_use  # late, as the drivers are

        intent = self._routers.intent(pe.name)
        owned: tuple[str, ...] = ()
        if intent is not None:
            owned = self._routers.renderer()(intent, None).owned
        profile = self._routers.profile(pe)
        found = await looking.configuration(self._routers.open(pe, profile.format))
        return await asyncio.to_thread(in_use, profile, found, owned)

    def _managed(self, routers: Iterable[str]) -> tuple[Pe, ...]:
        """The managed routers of these names, all for none; raises `NotFoundError`."""
        known = {name: pe for name, pe in self._network.pes.items() if pe.managed}
        wanted = tuple(routers)
        for name in wanted:
            if name in self._network.pes and name not in known:
                raise UsageError(
                    f"{name} is not managed: network.yaml does not say how to log in",
                    hint=f"add `netconf:` or `frr:` to {name}, see docs/provisioning.md",
                )
            if name not in known:
                named = ", ".join(sorted(known)) or "none"
                raise NotFoundError(
                    f"no router is called {name!r}", hint=f"managed routers: {named}"
                )
        return tuple(known[name] for name in wanted or sorted(known))

    async def _with_routers(self, shown: Plan, work: Work | None, *, check: bool) -> Plan:
        """A plan with what would be configured at each router, asked of the router itself."""
        if work is None:
            return shown
        plans = await _each(work.changes, lambda change: self._router_plan(work, change, check))
        return replace(shown, routers=plans)

    async def _router_plan(self, work: Work, change: RouterChange, check: bool) -> RouterPlan:
        name, shall = change.router, change.after
        doubt = self._routers.in_doubt.get(name)
        if doubt is not None:
            trouble = f"in doubt since an earlier change: {doubt}"
            return RouterPlan(name, shall.platform, "", trouble)
        try:
            session = self._routers.open(work.pes[name], shall.format)
            diff, trouble = await looking.rehearsal(session, change, check=check)
        except VpnctlError as error:
            diff, trouble = "", error.message
        return RouterPlan(name, shall.platform, diff, trouble)


@contextmanager
def logged(what: str, author: str, work: Work) -> Iterator[None]:
    """Around work at routers: what becomes of it is in the log where it fails, too."""
    try:
        yield
    except VpnctlError as error:
        failed = {step.router for step in work.transaction.steps if step.failure}
        _log.warning(
            "routers not configured",
            what=what,
            author=author,
            routers=sorted(failed or work.pes),
            outcome=error.message,
            exit_code=error.exit_code,
        )
        raise


def _candidate(probe: Probe) -> Iterator[views.Check]:
    """Whether somebody else is at work on a router."""
    if probe.obstacle is None:
        yield views.Check("candidate", True, "free, without changes of anybody")
    elif probe.rights:
        yield views.Check("candidate", False, probe.obstacle.message, probe.obstacle.hint)


async def _each(
    things: Iterable[_Thing], work: Callable[[_Thing], Awaitable[_Result]]
) -> tuple[_Result, ...]:
    return tuple(await asyncio.gather(*map(work, things)))
