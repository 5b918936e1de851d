"""What the HTTP application asks of a controller."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Protocol

from vpnctl.controller import views
from vpnctl.controller.requests import PlanRequest


class ControllerService(Protocol):
    """A running controller; every method may raise a `vpnctl.errors.VpnctlError`."""

    async def status(self) -> views.Status:
        """The controller itself."""

    async def check(self) -> tuple[views.Problem, ...]:
        """Every mistake of the policy directory as it is on disk now."""

    async def plan(
        self, request: PlanRequest, *, routes: int = 1000, check: bool = True
    ) -> views.Plan:
        """What a change would do; at most ``routes`` route changes are listed.

        ``check``: let managed routers check it, too.
        """

    async def apply(
        self,
        request: PlanRequest,
        *,
        plan_id: str | None,
        base: int | None,
        confirm_s: float | None,
        author: str,
        wait_s: float = 10.0,
    ) -> views.Applied:
        """Do a change; `vpnctl.errors.StaleError` when ``plan_id`` or ``base`` no longer fits.

        ``confirm_s``: seconds until it is undone unless confirmed.  ``wait_s``: seconds to wait
        for the peers to take their UPDATEs before answering.
        """

    async def confirm(self, *, author: str) -> views.Revision:
        """Keep the unconfirmed revision."""

    async def history(
        self, limit: int = 50, before: int | None = None
    ) -> tuple[views.Revision, ...]:
        """Revisions, newest first; ``before``: only those with a smaller number."""

    async def revision(self, number: int) -> tuple[views.Revision, tuple[views.Step, ...]]:
        """One revision and its timeline."""

    async def diff(self, old: int, new: int) -> tuple[views.FileChange, ...]:
        """How the policy files of two revisions differ."""

    async def peers(self) -> tuple[views.Peer, ...]:
        """The BGP sessions."""

    async def vpns(self) -> tuple[views.Vpn, ...]:
        """The customers' VPNs."""

    async def sites(self) -> tuple[views.Site, ...]:
        """The sites."""

    async def targets(self) -> tuple[views.Target, ...]:
        """The route targets."""

    async def rib_in(
        self, peer: str, *, family: str | None, vpn: str | None, limit: int
    ) -> tuple[views.Route, ...]:
        """Routes heard from a peer."""

    async def rib_out(
        self, peer: str, *, family: str | None, vpn: str | None, limit: int
    ) -> tuple[views.Route, ...]:
        """Routes sent to a peer."""

    async def access(self, vpn: str | None) -> tuple[views.AccessRoute, ...]:
        """Access rules as the flow routes of each PE."""

    async def explain(self, nlri: str, peer: str) -> views.Explanation:
        """Why a peer has, or has not, a route."""

    async def drift(
        self, routers: Iterable[str] = (), *, fix: bool, author: str = "api"
    ) -> tuple[views.Drift, ...]:
        """Where managed routers differ from what they shall have; ``fix``: no longer."""

    async def adopt(self, router: str, *, author: str) -> views.Adoption:
        """Reserve the numbers that a router's own configuration has."""

    async def doctor(self, routers: Iterable[str] = ()) -> tuple[views.Checkup, ...]:
        """Whether each managed router can be configured."""

    async def reset_session(self, peer: str) -> tuple[str, ...]:
        """Let the session of a PE begin anew; its name."""

    async def drain(self, peer: str, draining: bool) -> tuple[str, ...]:
        """Make a PE's routes the last choice (RFC 8326), or end that; its name."""

    async def rekey(self) -> tuple[str, ...]:
        """Read every session's key again; the PEs whose key changed."""

    def events(self, macs: Iterable[bytes] = ()) -> AsyncIterator[views.Event]:
        """What happens from now on; also to the EVPN routes of ``macs``, 6 octets each."""

    def metrics(self) -> bytes:
        """Every metric in the Prometheus text format."""
