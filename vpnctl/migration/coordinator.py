"""Finds machines among the sites, compares sites, and asks agents to move machines.

It keeps nothing: what is promised is with the agents, who settle it between themselves.  When a
coordinator dies, migrations of single machines go on, and machines that are held for each other run
on where they are, held, until somebody tells them otherwise.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Self
from urllib.parse import quote

from pydantic import BaseModel

from vpnctl.errors import AgentError, NotFoundError, PrecheckError, VpnctlError
from vpnctl.migration.agent.messages import (
    MachineFacts,
    MigrateRequest,
    MigrationList,
    MigrationView,
    Nothing,
    ReachRequest,
    SiteFacts,
)
from vpnctl.migration.agent.peer import LONG_S, AgentClient
from vpnctl.migration.agent.settings import Certificates
from vpnctl.migration.ledger import Peer
from vpnctl.migration.prechecks import Failure, check


class Coordinator:
    """``peers``: the agents by site; use it with ``async with``."""

    def __init__(self, peers: Mapping[str, Peer], certificates: Certificates | None) -> None:
        self.peers = peers
        self._agents = {site: AgentClient(peer, certificates) for site, peer in peers.items()}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(agent.close() for agent in self._agents.values()))

    async def sites(self) -> tuple[dict[str, SiteFacts], list[AgentError]]:
        """What every site that answers has; and what is wrong with the others."""
        answers = await asyncio.gather(
            *(agent.get("site", SiteFacts, LONG_S) for agent in self._agents.values()),
            return_exceptions=True,
        )
        found, silent = {}, []
        for site, answer in zip(self._agents, answers, strict=True):
            match answer:
                case SiteFacts():
                    found[site] = answer
                case AgentError():
                    silent.append(answer)
                case _:
                    raise answer
        return found, silent

    async def locate(self, machine: str) -> tuple[str, dict[str, SiteFacts]]:
        """The site that owns ``machine``, and what is known of all sites.

        Raises `NotFoundError`; `AgentError` when it may be at a site that does not answer.
        """
        sites, silent = await self.sites()
        for site, facts in sites.items():
            if any(one.name == machine and one.owner for one in facts.machines):
                return site, sites
        if silent:
            raise silent[0]
        known = sorted(one.name for facts in sites.values() for one in facts.machines if one.owner)
        raise NotFoundError(
            f"there is no machine {machine!r} at any site",
            hint=f"machines: {', '.join(known) or 'none'}",
        )

    async def members(self, app: str, to: str) -> list[str]:
        """The machines of an application that are not at ``to``; raises `NotFoundError`."""
        sites, _ = await self.sites()
        found = [
            one.name
            for site, facts in sites.items()
            for one in facts.machines
            if one.app == app and one.owner and site != to
        ]
        if not found:
            raise NotFoundError(
                f"there is no machine of the application {app!r} away from {to}",
                hint="'vpnctl agent list' shows which machine belongs to which application",
            )
        return found

    async def precheck(self, machine: str, to: str) -> tuple[str, tuple[Failure, ...]]:
        """The site of ``machine``, and what keeps it from moving to ``to``; touches nothing."""
        self.peer(to)
        site, sites = await self.locate(machine)
        if to not in sites:
            await self._agents[to].get("site", SiteFacts, LONG_S)  # says why it does not answer
        facts = await self._agents[site].get(f"machines/{_quoted(machine)}/facts", MachineFacts)
        if site == to:
            here = Failure("site", f"{machine} is at {to} already", "name another site")
            return site, (here,)
        unreachable = ""
        try:
            await self._agents[site].post("reach", Nothing, ReachRequest(to=self.peers[to]))
        except VpnctlError as error:
            unreachable = error.message
        return site, check(facts, sites[site], sites[to], unreachable)

    async def start(
        self,
        machine: str,
        to: str,
        *,
        rate: int | None = None,
        max_pause_s: float | None = None,
        throttle: bool = False,
        hold: bool = False,
    ) -> MigrationView:
        """Begin to move a machine; raises `PrecheckError` with everything that is in the way."""
        site, failures = await self.precheck(machine, to)
        if failures:
            raise PrecheckError(
                f"{machine} cannot move to {to}: " + "; ".join(one.problem for one in failures),
                hint="; ".join(one.remedy for one in failures),
            )
        request = MigrateRequest(
            migration=f"{machine}-{secrets.token_hex(4)}",
            machine=machine,
            to=self.peers[to],
            rate=rate,
            max_pause_s=max_pause_s,
            throttle=throttle,
            hold=hold,
        )
        return await self._agents[site].post("migrations", MigrationView, request)

    async def migrations(self) -> tuple[list[MigrationView], list[AgentError]]:
        """Every migration that an agent knows of, the oldest first."""
        answers = await asyncio.gather(
            *(agent.get("migrations", MigrationList) for agent in self._agents.values()),
            return_exceptions=True,
        )
        found: list[MigrationView] = []
        silent: list[AgentError] = []
        for answer in answers:
            match answer:
                case MigrationList():
                    found += answer.migrations
                case AgentError():
                    silent.append(answer)
                case BaseException():
                    raise answer
        return sorted(found, key=lambda one: one.began), silent

    async def find(self, name: str) -> MigrationView:
        """The migration of that name, or the last one of that machine; raises `NotFoundError`."""
        found, silent = await self.migrations()
        for one in reversed(found):
            if name in (one.migration, one.machine):
                return one
        if silent:
            raise silent[0]
        raise NotFoundError(
            f"there is no migration of {name!r}", hint="'vpnctl migrate history' lists them"
        )

    async def tell(
        self, view: MigrationView, what: str, body: BaseModel | None = None
    ) -> MigrationView:
        """Ask the agent of a migration for ``what``: cancel, pause, resume, release ..."""
        path = f"migrations/{_quoted(view.migration)}/{what}"
        return await self._agents[view.from_site].post(path, MigrationView, body)

    async def watch(self, view: MigrationView) -> AsyncIterator[MigrationView]:
        """A migration, whenever something happens to it, until it has ended."""
        path = f"migrations/{_quoted(view.migration)}/watch"
        async for one in self._agents[view.from_site].lines(path, MigrationView):
            yield one

    async def move_together(self, views: Sequence[MigrationView]) -> AsyncIterator[MigrationView]:
        """Machines that were started with ``hold``: release all once all are ready.

        When one fails before, the others stay where they are, too.
        """
        latest = {one.migration: one for one in views}
        news: asyncio.Queue[MigrationView | None] = asyncio.Queue()

        async def follow(view: MigrationView) -> None:
            try:
                async for one in self.watch(view):
                    await news.put(one)
            finally:
                await news.put(None)

        released, given_up, open_ = False, False, len(views)
        async with asyncio.TaskGroup() as group:
            for view in views:
                group.create_task(follow(view))
            while open_:
                one = await news.get()
                if one is None:
                    open_ -= 1
                    continue
                latest[one.migration] = one
                yield one
                if one.ended and one.phase != "done" and not released and not given_up:
                    given_up = True
                    await self._all(latest.values(), "cancel")
                elif not released and all(
                    # One that was there before it could be held is not waited for.
                    each.phase == "held" or each.ended
                    for each in latest.values()
                ):
                    released = True
                    await self._all(latest.values(), "release")

    async def _all(self, views: Iterable[MigrationView], what: str) -> None:
        """At once, so that they pause and resume together; one that has ended needs nothing."""
        await asyncio.gather(
            *(self.tell(one, what) for one in views if not one.ended), return_exceptions=True
        )

    def peer(self, site: str) -> Peer:
        """The agent of a site; raises `NotFoundError`."""
        try:
            return self.peers[site]
        except KeyError:
            raise NotFoundError(
                f"there is no agent of a site {site!r}",
                hint=f"sites: {', '.join(sorted(self.peers))}; they are in the file --agents",
            ) from None


def _quoted(name: str) -> str:
    return quote(name, safe="")
