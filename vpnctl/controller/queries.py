"""What a running controller answers when it is asked; nothing here changes anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from functools import partial

from vpnctl import __version__
from vpnctl.controller import present, views
from vpnctl.controller.candidate import Applied, beside, from_files
from vpnctl.controller.confirmation import Confirmation
from vpnctl.controller.directory import PolicyDirectory
from vpnctl.controller.events import EventHub, utc_text
from vpnctl.controller.impossible import refuse_impossible, refuse_unprotected
from vpnctl.controller.metrics import Metrics
from vpnctl.controller.peers import Peers
from vpnctl.controller.routers import Routers
from vpnctl.errors import NotFoundError, PolicyError, UsageError, VpnctlError
from vpnctl.model import Family, Network
from vpnctl.model.family import SESSION_FAMILIES
from vpnctl.planning.plan import file_changes
from vpnctl.routing.engine import Engine
from vpnctl.routing.nlri import from_text
from vpnctl.store import Store


class Queries:
    """The controller's state, and every question that can be asked about it.

    ``_applied``: the policy in force; ``_confirmation``: whether somebody has to confirm its
    revision.  The store is asked in a thread, so that a slow database holds up no route.
    """

    _directory: PolicyDirectory
    _hub: EventHub
    _store: Store
    _peers: Peers
    _routers: Routers
    _lock: asyncio.Lock
    _applied: Applied
    _confirmation: Confirmation
    _last_change_s: float
    #: What an operator has to look after, besides the BGP sessions' problems.
    _troubles: dict[str, str]

    @property
    def _engine(self) -> Engine:
        return self._peers.engine

    @property
    def _network(self) -> Network:
        return self._applied.policy.ruleset.network

    # The controller

    async def status(self) -> views.Status:
        """The controller itself."""
        try:
            differ = self._directory.read() != self._applied.files
        except VpnctlError:
            differ = True
        waiting = self._confirmation.of
        return views.Status(
            version=__version__,
            revision=self._applied.number,
            unconfirmed=waiting.number if waiting else None,
            confirm_by=utc_text(waiting.confirm_by) if waiting and waiting.confirm_by else None,
            policies=str(self._directory.path),
            policies_differ=differ,
            peers_established=len(self._engine.by_peer),
            peers_configured=len(self._network.pes),
            routes=sum(len(rib.entries) for rib in self._engine.ribs.values()),
            listening=self._peers.listening,
            problems=(
                *self._peers.problems,
                *self._troubles.values(),
                *filter(None, [self._routers.doubt]),
                *present.access_problems(self._engine),
            ),
            sessions_kept_s=self._peers.kept_s,
        )

    async def check(self) -> tuple[views.Problem, ...]:
        """Every mistake of the policy directory as it is on disk now."""
        try:
            files = self._directory.read()
            make = partial(from_files, "apply", "", files, self._applied)
            candidate = await beside(files, self._applied, make)
            ruleset = candidate.compiled.ruleset
            refuse_unprotected(ruleset.network)
            await asyncio.to_thread(refuse_impossible, ruleset, self._directory.path)
        except PolicyError as error:
            return views.problems(error.mistakes)
        return ()

    def events(self, macs: Iterable[bytes] = ()) -> AsyncIterator[views.Event]:
        """What happens from now on; also to the EVPN routes of ``macs``, 6 octets each."""
        return self._hub.watch(macs)

    def metrics(self) -> bytes:
        """Metrics in the Prometheus text format."""
        return Metrics(
            self._engine, self._network, self._last_change_s, self._applied.number
        ).text()

    # Revisions

    async def history(
        self, limit: int = 50, before: int | None = None
    ) -> tuple[views.Revision, ...]:
        """Revisions, newest first."""
        revisions = await asyncio.to_thread(self._store.history, limit, before)
        return tuple(map(present.revision, revisions))

    async def revision(self, number: int) -> tuple[views.Revision, tuple[views.Step, ...]]:
        """One revision and its timeline."""
        revision = await asyncio.to_thread(self._store.revision, number)
        steps = await asyncio.to_thread(self._store.timeline, number)
        return present.revision(revision), tuple(
            views.Step(step.name, step.start_ms, step.end_ms, step.detail, step.router)
            for step in steps
        )

    async def diff(self, old: int, new: int) -> tuple[views.FileChange, ...]:
        """How the policy files of two revisions differ."""
        before = await asyncio.to_thread(self._store.files, old)
        after = await asyncio.to_thread(self._store.files, new)
        return file_changes(self._directory.shown(before), self._directory.shown(after))

    # Sessions, VPNs and routes

    async def peers(self) -> tuple[views.Peer, ...]:
        """Every configured PE."""
        left = self._peers.restarts.seconds_left
        return present.peers(self._engine, self._network, self._peers.states, left)

    async def vpns(self) -> tuple[views.Vpn, ...]:
        """Every VPN."""
        return present.vpns(self._engine.rules)

    async def sites(self) -> tuple[views.Site, ...]:
        """Every site."""
        return present.sites(self._engine.rules.ruleset)

    async def targets(self) -> tuple[views.Target, ...]:
        """Every route target that is owned or was announced."""
        return present.targets(self._engine)

    async def rib_in(
        self, peer: str, *, family: str | None, vpn: str | None, limit: int
    ) -> tuple[views.Route, ...]:
        """Routes heard from a PE, at most ``limit``."""
        wanted = _family(family)
        left = self._peers.restarts.seconds_left
        return present.rib_in(
            self._engine, self._known_pe(peer), wanted, self._known_vpn(vpn), limit, left
        )

    async def rib_out(
        self, peer: str, *, family: str | None, vpn: str | None, limit: int
    ) -> tuple[views.Route, ...]:
        """Routes sent to a PE, at most ``limit``."""
        wanted = _family(family)
        return present.rib_out(
            self._engine, self._known_pe(peer), wanted, self._known_vpn(vpn), limit
        )

    async def access(self, vpn: str | None) -> tuple[views.AccessRoute, ...]:
        """Access rules as the flow routes of each PE."""
        return present.access(self._engine, self._known_vpn(vpn))

    async def explain(self, nlri: str, peer: str) -> views.Explanation:
        """Why a PE has, or has not, a route."""
        try:
            family, key = from_text(nlri)
        except ValueError as error:
            raise UsageError(
                f"{nlri!r} is no NLRI",
                hint=f"write it as 'vpnctl show rib-in --peer PE | grep {nlri}' shows it:"
                " RD:PREFIX/LENGTH, RD:veID@OFFSET, evpn/TYPE/RD/... or flow4/RD/...",
            ) from error
        left = self._peers.restarts.seconds_left
        return present.explanation(self._engine, family, key, nlri, self._known_pe(peer), left)

    def _known_pe(self, name: str) -> str:
        if name not in self._network.pes:
            raise NotFoundError(
                f"no PE is called {name!r}",
                hint=f"there are: {', '.join(sorted(self._network.pes))}",
            )
        return name

    def _known_vpn(self, name: str | None) -> str | None:
        vpns = self._applied.policy.ruleset.vpns
        if name is not None and name not in vpns:
            raise NotFoundError(
                f"no VPN is called {name!r}", hint=f"there are: {', '.join(sorted(vpns))}"
            )
        return name


def _family(name: str | None) -> Family | None:
    if name is None:
        return None
    if name not in SESSION_FAMILIES:
        raise UsageError(
            f"no family is called {name!r}", hint=f"there are: {', '.join(SESSION_FAMILIES)}"
        )
    return SESSION_FAMILIES[name]
