"""A controller in memory: the story of E1, which is extended to cloud2, with fixed times."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace

from vpnctl.controller import views
from vpnctl.controller.requests import PlanRequest
from vpnctl.errors import ControllerError, NotFoundError, StaleError, VpnctlError

AT = "2026-11-22T08:14:02.118Z"

DIFF = """\
--- policies/e1.yaml
+++ policies/e1.yaml
@@ -1,3 +1,3 @@
 vpn: E1
 service: vpls
-sites: [e1-hq, cloud1]
+sites: [e1-hq, cloud1, cloud2]
"""

PROBLEMS = (
    views.Problem(
        "policies/e2.yaml",
        7,
        11,
        "sites[1].vlan",
        "214 is taken at pe-c1 port ge-0/0/3 by E7 (policies/e7.yaml:5)",
        "choose another, or leave it out and one is allocated",
    ),
    views.Problem(
        "policies/e2.yaml",
        12,
        10,
        "extranet[0].to",
        "no VPN is called 'shared-dns'; did you mean 'shared-dms'?",
        "",
    ),
)

ACCESS = views.AccessRoute(
    "E1",
    "policies/e1.yaml:5",
    "pe-e1",
    "ipv4 flow-vpn",
    "flow4/10.0.0.1:100/destination=10.1.0.0/16,protocol=6,destination-port=22",
    ("65000:101",),
    ("drop",),
    "sent",
)

TIMELINE = (
    views.Step("policy checked", 0.0, 2.1),
    views.Step("numbers allocated", 2.1, 4.0, "VE-ID 3, 4"),
    views.Step("first UPDATE out", 4.0, 5.2, "pe-c2a"),
    views.Step("last UPDATE out", 4.2, 16.4, "pe-c2b"),
)


def _endpoint(vpn: str, site: str, pe: str, number: int, hears: tuple[str, ...]) -> views.Endpoint:
    target = f"65000:{number}"
    return views.Endpoint(
        vpn=vpn,
        site=site,
        pe=pe,
        rd=f"65000:{number}",
        export_targets=(target,),
        import_targets=(target,),
        ve_id=number % 100 + 1,
        vlan=None if site.endswith("hq") else 100,
        vni=None,
        hears=hears,
        place=f"policies/{vpn.lower()}.yaml:3",
    )


class FakeController:
    """Answers every request of `ControllerService`; ``fail`` makes each of them raise."""

    def __init__(self) -> None:
        self.fail: Exception | None = None
        self.problems: tuple[views.Problem, ...] = ()
        self.troubles: tuple[str, ...] = ()
        self.waiting: tuple[str, ...] = ()
        self.empty = False
        self.e1_sites = ("e1-hq", "cloud1")
        self.revisions = [
            views.Revision(40, None, AT, "ada", "start", "first policy", "applied", None, None),
            views.Revision(41, 40, AT, "ada", "apply", "E2 added", "applied", None, None),
        ]
        self.happened: list[views.Event] = [
            views.Event(AT, "session", "pe-c2a", "established"),
            views.Event(AT, "revision", "42", "E1 extended to cloud2"),
        ]
        self.endless = False
        self.asked: list[tuple[object, ...]] = []
        self.checks: list[bool] = []
        self.subscribed = asyncio.Event()
        self.subscribers = 0
        self.watched: tuple[bytes, ...] = ()

    def _check(self) -> None:
        if self.fail is not None:
            raise self.fail

    @property
    def _present(self) -> views.Revision:
        return self.revisions[-1]

    async def status(self) -> views.Status:
        self._check()
        unconfirmed = self._present.state == "unconfirmed"
        return views.Status(
            version="0.1.0",
            revision=self._present.number,
            unconfirmed=self._present.number if unconfirmed else None,
            confirm_by=self._present.confirm_by,
            policies="policies",
            policies_differ=False,
            peers_established=3,
            peers_configured=4,
            routes=6,
            listening=("127.0.0.1:1790",),
            problems=self.troubles,
        )

    async def check(self) -> tuple[views.Problem, ...]:
        self._check()
        return self.problems

    async def plan(
        self, request: PlanRequest, *, routes: int = 1000, check: bool = True
    ) -> views.Plan:
        self._check()
        self.asked.append(("plan", request, routes))
        self.checks.append(check)
        if request.kind in ("extend", "retract") and request.vpn != "E1":
            raise NotFoundError(
                f"no VPN is called {request.vpn!r}", hint="see 'vpnctl show vpns' for their names"
            )
        if request.kind == "rollback" and request.revision is not None:
            self._find(request.revision)
        if self.empty:
            return views.Plan("0000", self._present.number, "nothing", True, (), (), (), (), (), ())
        changes = tuple(
            views.RouteChange(
                peer,
                "vpls",
                action,
                "10.0.0.1:100:ve1",
                "pe-e1",
                old,
                new,
            )
            for peer, action, old, new in (
                ("pe-c1", "~", ("65000:100",), ("65000:102",)),
                ("pe-c2a", "+", (), ("65000:103",)),
                ("pe-c2b", "+", (), ("65000:103",)),
                ("pe-e1", "-", ("65000:100",), ()),
            )
        )
        return views.Plan(
            id="7f3a",
            base=self._present.number,
            summary="extend E1 to cloud2",
            empty=False,
            files=(views.FileChange("policies/e1.yaml", DIFF),),
            allocations=(views.AllocationChange("ve-id/E1", "E1/cloud2/pe-c2a", 3, "take"),),
            sessions=(views.SessionChange("pe-c2b", "+", "10.0.0.4, AS 65000"),),
            vpns=("E1",),
            peers=(
                views.PeerChange("pe-c1", 0, 1, 0),
                views.PeerChange("pe-c2a", 1, 0, 0),
                views.PeerChange("pe-c2b", 1, 0, 0),
                views.PeerChange("pe-e1", 0, 0, 1),
            ),
            routes=changes[:routes],
        )

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
        plan = await self.plan(request)
        self.asked.append(("apply", request, plan_id, base, confirm_s, author, wait_s))
        if plan_id not in (None, plan.id) or base not in (None, self._present.number):
            raise StaleError(
                f"the plan was made on revision {base}, the present one is {self._present.number}",
                hint="make a new plan",
            )
        if not plan.empty and request.kind == "extend":
            self.e1_sites = ("e1-hq", "cloud1", "cloud2")
        revision = views.Revision(
            number=self._present.number + 1,
            parent=self._present.number,
            at=AT,
            author=author,
            kind=request.kind,
            summary=plan.summary,
            state="applied" if confirm_s is None else "unconfirmed",
            confirm_by=None if confirm_s is None else "2026-11-22T08:19:02.118Z",
            restores=request.revision,
        )
        self.revisions.append(revision)
        return views.Applied(revision, plan, TIMELINE, not self.waiting, self.waiting)

    async def confirm(self, *, author: str) -> views.Revision:
        self._check()
        self.asked.append(("confirm", author))
        if self._present.state != "unconfirmed":
            raise ControllerError(
                "no revision waits for a confirmation", hint="see 'vpnctl status'"
            )
        self.revisions[-1] = replace(self._present, state="confirmed", confirm_by=None)
        return self._present

    async def history(
        self, limit: int = 50, before: int | None = None
    ) -> tuple[views.Revision, ...]:
        self._check()
        found = [one for one in reversed(self.revisions) if before is None or one.number < before]
        return tuple(found[:limit])

    def _find(self, number: int) -> views.Revision:
        for revision in self.revisions:
            if revision.number == number:
                return revision
        raise NotFoundError(f"there is no revision {number}", hint="see 'vpnctl history'")

    async def revision(self, number: int) -> tuple[views.Revision, tuple[views.Step, ...]]:
        self._check()
        return self._find(number), TIMELINE

    async def diff(self, old: int, new: int) -> tuple[views.FileChange, ...]:
        self._check()
        self._find(old)
        self._find(new)
        return () if old == new else (views.FileChange("policies/e1.yaml", DIFF),)

    async def drift(
        self, routers: Iterable[str] = (), *, fix: bool, author: str = "api"
    ) -> tuple[views.Drift, ...]:
        self._check()
        self.asked.append(("drift", *routers, fix, author))
        diff = "[edit routing-instances]\n+ E1_cloud2 { ... }"
        return (
            views.Drift("pe-c2a", "junos-mx", diff, "", fix),
            views.Drift("pe-c2b", "junos-mx", ""),
        )

    async def adopt(self, router: str, *, author: str) -> views.Adoption:
        self._check()
        self.asked.append(("adopt", router, author))
        free = views.NumberInUse("vlan", "7", "interfaces ge-0/0/1 unit 7", "ge-0/0/1")
        taken = views.NumberInUse(
            "vlan", "100", "interfaces ge-0/0/1 unit 9", "ge-0/0/1", "E1/cloud2"
        )
        return views.Adoption(router, (free,), (taken,))

    async def doctor(self, routers: Iterable[str] = ()) -> tuple[views.Checkup, ...]:
        self._check()
        self.asked.append(("doctor", *routers))
        bad = views.Check("session", False, "pe-c2b: no answer in 10 s", "is it on?")
        good = views.Check("session", True, "Junos 23.4R2")
        return (
            views.Checkup("pe-c2a", "junos-mx", True, (good,)),
            views.Checkup("pe-c2b", "junos-mx", False, (bad,)),
        )

    async def reset_session(self, peer: str) -> tuple[str, ...]:
        self._check()
        if peer not in {each.name for each in await self.peers()}:
            raise NotFoundError(f"no PE is called {peer!r}", hint="see 'vpnctl show peers'")
        self.asked.append(("reset_session", peer))
        return (peer,)

    async def drain(self, peer: str, draining: bool) -> tuple[str, ...]:
        self._check()
        if peer not in {each.name for each in await self.peers()}:
            raise NotFoundError(f"no PE is called {peer!r}", hint="see 'vpnctl show peers'")
        self.asked.append(("drain", peer, draining))
        return (peer,)

    async def rekey(self) -> tuple[str, ...]:
        self._check()
        self.asked.append(("rekey",))
        return ("pe-e1",)

    async def peers(self) -> tuple[views.Peer, ...]:
        self._check()
        return tuple(
            views.Peer(
                name=name,
                address=f"10.0.0.{number}",
                asn=65000,
                kind="ibgp",
                site=(site,),
                state=state,
                since=AT if state == "established" else None,
                families=(views.FamilyCounts("vpls", heard, 2),),
                synced=state == "established",
                backlog=0,
                refused_targets=refused,
                malformed=0,
                updates_heard=heard,
                updates_sent=2,
                last_error=error,
            )
            for number, (name, site, state, heard, refused, error) in enumerate(
                (
                    ("pe-e1", "e1-hq", "established", 2, 0, ""),
                    ("pe-c1", "cloud1", "established", 2, 1, ""),
                    ("pe-c2a", "cloud2", "idle", 0, 0, "hold timer expired"),
                ),
                start=1,
            )
        )

    async def vpns(self) -> tuple[views.Vpn, ...]:
        self._check()
        pes = {"e1-hq": ("pe-e1",), "cloud1": ("pe-c1",), "cloud2": ("pe-c2a", "pe-c2b")}
        endpoints = tuple(
            _endpoint(
                "E1",
                site,
                pe,
                100 + number,
                tuple(other for other in self.e1_sites if other != site),
            )
            for number, site in enumerate(self.e1_sites)
            for pe in pes[site]
        )
        e2 = (
            _endpoint("E2", "e2-hq", "pe-e2", 200, ("cloud1",)),
            _endpoint("E2", "cloud1", "pe-c1", 201, ("e2-hq",)),
        )
        return (
            views.Vpn(
                "E1", "vpls", "full-mesh", self.e1_sites, (), endpoints, "policies/e1.yaml:1"
            ),
            views.Vpn("E2", "evpn", "links", ("e2-hq", "cloud1"), (), e2, "policies/e2.yaml:1"),
        )

    async def sites(self) -> tuple[views.Site, ...]:
        self._check()
        return (
            views.Site("e1-hq", "enterprise", ("pe-e1",), ("E1",)),
            views.Site("cloud1", "cloud", ("pe-c1",), ("E1", "E2")),
            views.Site("cloud2", "cloud", ("pe-c2a", "pe-c2b"), ()),
        )

    async def targets(self) -> tuple[views.Target, ...]:
        self._check()
        return (
            views.Target("65000:100", "E1/e1-hq", ("pe-e1",), ("pe-e1",), 2, {}),
            views.Target("65000:999", "", (), (), 1, {"pe-c1": 1}),
        )

    def _routes(self, peer: str, limit: int, status: str) -> tuple[views.Route, ...]:
        self._check()
        if not peer.startswith("pe-"):
            raise NotFoundError(f"no peer is called {peer!r}", hint="see 'vpnctl show peers'")
        route = views.Route(
            peer,
            "vpls",
            "10.0.0.1:100:ve1",
            "pe-e1",
            ("65000:103",),
            ("65000:100",),
            "10.0.0.1",
            "",
            status,
        )
        return (route,)[:limit]

    async def rib_in(
        self, peer: str, *, family: str | None, vpn: str | None, limit: int
    ) -> tuple[views.Route, ...]:
        self.asked.append(("rib-in", peer, family, vpn, limit))
        return self._routes(peer, limit, "accepted")

    async def rib_out(
        self, peer: str, *, family: str | None, vpn: str | None, limit: int
    ) -> tuple[views.Route, ...]:
        self.asked.append(("rib-out", peer, family, vpn, limit))
        return self._routes(peer, limit, "sent")

    async def access(self, vpn: str | None) -> tuple[views.AccessRoute, ...]:
        self._check()
        return (ACCESS,) if vpn in (None, ACCESS.vpn) else ()

    async def explain(self, nlri: str, peer: str) -> views.Explanation:
        self._check()
        return views.Explanation(
            nlri,
            peer,
            True,
            (
                "heard from pe-e1 with target 65000:100",
                "65000:100 is the export target of E1 at e1-hq            policies/e1.yaml:3",
                f"sent to {peer} with target 65000:103 (was 65000:100), revision 41",
            ),
        )

    async def events(self, macs: Iterable[bytes] = ()) -> AsyncIterator[views.Event]:
        self.watched = tuple(macs)
        self.subscribers += 1
        self.subscribed.set()
        try:
            for event in self.happened:
                yield event
            if self.endless:
                await asyncio.Event().wait()
        finally:
            self.subscribers -= 1

    def metrics(self) -> bytes:
        return b"# TYPE vpnctl_routes gauge\nvpnctl_routes 6\n"


def failing(error: VpnctlError) -> FakeController:
    controller = FakeController()
    controller.fail = error
    return controller
