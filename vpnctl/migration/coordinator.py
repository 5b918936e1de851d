"""Finds machines among the sites, compares sites, and asks agents to move machines.

It keeps nothing: what is promised is with the agents, who settle it between themselves.  When a
coordinator dies, migrations of single machines go on, and machines that are held for each other run
on where they are, held, until somebody tells them otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar
from urllib.parse import quote

from pydantic import BaseModel

from vpnctl.errors import AgentError, NotFoundError, PrecheckError, VpnctlError
from vpnctl.migration.agent.messages import (
    MachineFacts,
    MigrateRequest,
    MigrationList,
    MigrationView,
    Moment,
    MomentsRequest,
    Nothing,
    RateRequest,
    ReachRequest,
    ReplicateRequest,
    ReplicationList,
    ReplicationView,
    SiteFacts,
    Together,
)
from vpnctl.migration.agent.peer import LONG_S, AgentClient
from vpnctl.migration.agent.settings import Certificates
from vpnctl.migration.ledger import Peer
from vpnctl.migration.network import Network
from vpnctl.migration.prechecks import Failure, check
from vpnctl.migration.vpns import Vpns

_Answer = TypeVar("_Answer", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Checked:
    """What is known of a machine before it moves.

    ``site``: where it is; ``failures``: what keeps it from moving; ``extends``: the VPNs that have
    to be extended to the other site first; ``facts``: of the machine.
    """

    site: str
    failures: tuple[Failure, ...]
    extends: tuple[str, ...]
    facts: MachineFacts


class Coordinator:
    """``peers``: the agents by site; use it with ``async with``.

    ``network``: the controller of the machines' VPNs, None where there is none; ``places``: what it
    calls the sites, where that is something else.
    """

    def __init__(
        self,
        peers: Mapping[str, Peer],
        certificates: Certificates | None,
        network: Network | None = None,
        places: Mapping[str, str] | None = None,
    ) -> None:
        self.peers = peers
        self._vpns = Vpns(network, places or {})
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
        facts, silent = _sorted_out(answers, SiteFacts)
        return {one.site: one for one in facts}, silent

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

    async def precheck(self, machine: str, to: str, *, extend: bool = True) -> Checked:
        """What keeps ``machine`` from moving to ``to``; touches nothing.

        ``extend``: its VPNs may be extended to that site.
        """
        self.peer(to)
        site, sites = await self.locate(machine)
        if to not in sites:
            await self._agents[to].get("site", SiteFacts, LONG_S)  # says why it does not answer
        facts = await self._agents[site].get(f"machines/{_quoted(machine)}/facts", MachineFacts)
        if site == to:
            here = Failure("site", f"{machine} is at {to} already", "name another site")
            return Checked(site, (here,), (), facts)
        there, back = await asyncio.gather(self._reach(site, to), self._reach(to, site))
        failures = check(facts, sites[site], sites[to], there, back)
        extends, more = await self._vpns.missing(facts.definition, to, extend=extend)
        return Checked(site, failures + more, extends, facts)

    async def _reach(self, site: str, to: str) -> str:
        """Why the agent of ``site`` cannot talk to that of ``to``, empty if it can."""
        try:
            await self._agents[site].post("reach", Nothing, ReachRequest(to=self.peers[to]), LONG_S)
        except VpnctlError as error:
            return error.message
        return ""

    async def start(
        self,
        machine: str,
        to: str,
        *,
        rate: int | None = None,
        max_pause_s: float | None = None,
        throttle: bool = False,
        hold: bool = False,
        together: Together | None = None,
        extend: bool = True,
    ) -> MigrationView:
        """Begin to move a machine, its VPNs extended to that site unless not ``extend``.

        Raises `PrecheckError` with everything that is in the way.
        """
        checked = await self.precheck(machine, to, extend=extend)
        if checked.failures:
            raise PrecheckError(
                f"{machine} cannot move to {to}: "
                + "; ".join(one.problem for one in checked.failures),
                hint="; ".join(one.remedy for one in checked.failures),
            )
        moments = await self._vpns.extend(checked.extends, to)
        request = MigrateRequest(
            migration=f"{machine}-{secrets.token_hex(4)}",
            machine=machine,
            to=self.peers[to],
            rate=rate,
            max_pause_s=max_pause_s,
            throttle=throttle,
            hold=hold,
            together=together,
            moments=moments,
        )
        return await self._agents[checked.site].post("migrations", MigrationView, request)

    @contextlib.asynccontextmanager
    async def routes_told(self, views: Sequence[MigrationView]) -> AsyncIterator[None]:
        """Write into the timelines of migrations what the controller hears and says of the
        machines' routes, while the block runs and until the other site's PE has spoken."""
        macs: dict[str, MigrationView] = {}
        for view in views:
            path = f"machines/{_quoted(view.machine)}/facts"
            facts = await self._agents[view.from_site].get(path, MachineFacts)
            macs |= {nic.mac: view for nic in facts.definition.nics if nic.vpn is not None}

        async def tell(mac: str, moment: Moment) -> None:
            await self.tell(macs[mac], "moments", MomentsRequest(moments=(moment,)))

        async with self._vpns.routes(macs, tell):
            yield

    @staticmethod
    def together(app: str, count: int) -> Together:
        """What ``count`` machines of an application are started with, to pause and go on as one."""
        return Together(name=f"{app}-{secrets.token_hex(4)}", count=count)

    async def migrations(self) -> tuple[list[MigrationView], list[AgentError]]:
        """Every migration that an agent knows of, the oldest first."""
        answers = await asyncio.gather(
            *(agent.get("migrations", MigrationList) for agent in self._agents.values()),
            return_exceptions=True,
        )
        lists, silent = _sorted_out(answers, MigrationList)
        found = [view for one in lists for view in one.migrations]
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
        """Machines that were started with ``together``: release all once all are ready.

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

    async def replicate(self, machine: str, to: str, rate: int | None = None) -> ReplicationView:
        """Begin to replicate the disks of a machine to a site, until `end_replication`."""
        peer = self.peer(to)
        site, _ = await self.locate(machine)
        request = ReplicateRequest(machine=machine, to=peer, rate=rate)
        return await self._agents[site].post("replications", ReplicationView, request)

    async def replications(self) -> tuple[list[ReplicationView], list[AgentError]]:
        """Every replication, by machine; and what is wrong with agents that do not answer."""
        answers = await asyncio.gather(
            *(agent.get("replications", ReplicationList) for agent in self._agents.values()),
            return_exceptions=True,
        )
        lists, silent = _sorted_out(answers, ReplicationList)
        found = [view for one in lists for view in one.replications]
        return sorted(found, key=lambda view: view.machine), silent

    async def end_replication(self, machine: str) -> None:
        """The copy stays where it is, and does not follow any more; raises `NotFoundError`."""
        site, _ = await self.locate(machine)
        await self._agents[site].post(f"replications/{_quoted(machine)}/stop", Nothing)

    async def limit_replication(self, machine: str, rate: int | None) -> ReplicationView:
        """Another bandwidth limit, in bits per second; raises `NotFoundError`."""
        site, _ = await self.locate(machine)
        path = f"replications/{_quoted(machine)}/limit"
        return await self._agents[site].post(path, ReplicationView, RateRequest(rate=rate))

    def peer(self, site: str) -> Peer:
        """The agent of a site; raises `NotFoundError`."""
        try:
            return self.peers[site]
        except KeyError:
            raise NotFoundError(
                f"there is no agent of a site {site!r}",
                hint=f"sites: {', '.join(sorted(self.peers))}; they are in the file --agents",
            ) from None


def _sorted_out(
    answers: Iterable[_Answer | BaseException], kind: type[_Answer]
) -> tuple[list[_Answer], list[AgentError]]:
    """The answers, and the errors of agents that are silent; raises any other error."""
    found: list[_Answer] = []
    silent: list[AgentError] = []
    for answer in answers:
        if isinstance(answer, kind):
            found.append(answer)
        elif isinstance(answer, AgentError):
            silent.append(answer)
        elif isinstance(answer, BaseException):
            raise answer
    return found, silent


def _quoted(name: str) -> str:
    return quote(name, safe="")
