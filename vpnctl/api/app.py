"""The HTTP application: every path, and how its errors are answered.

Reading is ``GET``, changing is ``POST``.  What a path answers is one of `vpnctl.api.answers`;
what goes wrong is an ``ErrorAnswer`` with the status of `vpnctl.api.errors.HTTP_STATUS`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Annotated, Any, Literal, TypeVar

from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import StringConstraints
from starlette.exceptions import HTTPException as StarletteHTTPException

from vpnctl import __version__
from vpnctl.api import answers, bodies
from vpnctl.api.changing import Change, Refusal, Shortcut
from vpnctl.api.errors import http_status, to_json
from vpnctl.api.guard import Guard
from vpnctl.api.routers import add_routers
from vpnctl.api.service import ControllerService
from vpnctl.api.sessions import add_sessions
from vpnctl.controller import views
from vpnctl.controller.requests import PlanRequest
from vpnctl.errors import NotFoundError, UsageError, VpnctlError

#: Seconds between two comments on a silent stream of events, so that a dead peer is noticed.
KEEP_ALIVE_S = 15.0

_DESCRIPTION = """
Drives the controller of `vpnctl serve`.  Every JSON answer holds `schema` and one noun; every
refusal holds `error` with what is wrong, what to do, and the exit code `vpnctl` ends with.
Times are UTC ISO 8601, durations in seconds (`_s`) or milliseconds (`_ms`).
"""

_TAGS = [
    {"name": "change", "description": "Preview, apply, undo."},
    {"name": "history", "description": "What was applied, by whom, and how long it took."},
    {"name": "look", "description": "What the controller knows: peers, VPNs, targets, routes."},
    {"name": "sessions", "description": "What is done with sessions, beside the policy."},
    {"name": "routers", "description": "What is done with managed routers, beside the policy."},
    {"name": "controller", "description": "The controller itself, events and metrics."},
]

_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": answers.ErrorAnswer, "description": description}
    for status, description in (
        (400, "The request does not make sense."),
        (404, "Nothing of that name exists."),
        (409, "The base revision moved since the plan was made, or the controller refused."),
        (413, "The body is too large."),
        (422, "The policy, or the request, has mistakes; nothing was applied."),
        (500, "A defect of the controller; its log has the details."),
        (502, "A router could not be configured, or asked."),
        (503, "The store or the BGP session process is not there."),
        (507, "A pool of numbers is exhausted."),
    )
}

#: One server-sent event as OpenAPI describes it.
_EVENT = {
    "type": "object",
    "properties": {
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "description": "An event as JSON: at, kind, subject, message.",
        }
    },
    "required": ["data"],
}

_Endpoint = TypeVar("_Endpoint", bound=Callable[..., Coroutine[Any, Any, Response]])

Number = Annotated[int, Path(ge=1, le=2**53, description="A revision's number.", examples=[42])]
PeerName = Annotated[str, Path(min_length=1, max_length=200, examples=["pe-e1"])]
FamilyName = Annotated[
    Literal[
        "vpnv4",
        "vpnv6",
        "vpls",
        "evpn",
        "ipv4 flow",
        "ipv6 flow",
        "ipv4 flow-vpn",
        "ipv6 flow-vpn",
    ]
    | None,
    Query(description="Only this family."),
]
VpnName = Annotated[str | None, Query(max_length=200, description="Only routes of this VPN.")]
MacAddresses = Annotated[
    list[Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$")]] | None,
    Query(max_length=64, description="Also EVPN routes of these addresses."),
]
Limit = Annotated[int, Query(ge=1, le=1_000_000, description="At most so many routes.")]


def create_app(service: ControllerService) -> FastAPI:
    """The application in front of ``service``.

    ``app.state.closing`` is an `asyncio.Event` that ends every stream of events when it is set.
    """
    app = FastAPI(
        title="vpnctl",
        version=__version__,
        description=_DESCRIPTION,
        openapi_tags=_TAGS,
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        responses=_ERRORS,
    )
    app.state.closing = asyncio.Event()
    answers.prepare()
    refusals = _answer_errors(app)
    changes = _add_changes(app, service)
    app.add_middleware(Shortcut, changes=changes, refusals=refusals)
    # Outermost, as the one that comes last.
    app.add_middleware(Guard)
    _add_history(app, service)
    _add_looks(app, service)
    add_sessions(app, service)
    add_routers(app, service)
    _add_controller(app, service)
    return app


def _answer_errors(app: FastAPI) -> dict[type[Exception], Refusal]:
    """Let the application answer what goes wrong; gives what answers each kind but defects."""

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, VpnctlError)
        return JSONResponse(to_json(error), http_status(error))

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        said = "; ".join(
            ".".join(str(part) for part in problem["loc"]) + ": " + problem["msg"]
            for problem in error.errors()
        )
        return JSONResponse(to_json(UsageError(said, hint="see /v1/openapi.json")), 422)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, StarletteHTTPException)
        hint = "see /v1/openapi.json"
        kind = NotFoundError if error.status_code == 404 else UsageError
        refusal = kind(f"{request.method} {request.url.path}: {error.detail}", hint=hint)
        return JSONResponse(to_json(refusal), error.status_code, error.headers)

    async def defect(_: Request, error: Exception) -> Response:
        told = VpnctlError(
            f"a defect of the controller: {type(error).__name__}: {error}",
            hint="its log has the details",
        )
        return JSONResponse(to_json(told), 500)

    refusals: dict[type[Exception], Refusal] = {
        VpnctlError: refused,
        RequestValidationError: invalid,
        StarletteHTTPException: http,
    }
    for kind, answer in refusals.items():
        app.add_exception_handler(kind, answer)
    app.add_exception_handler(Exception, defect)
    return refusals


def _add_changes(app: FastAPI, service: ControllerService) -> dict[str, Change]:
    """Add the paths of changes; gives what is behind each of them."""
    changes: dict[str, Change] = {}

    def change(path: str, answer: type[Any]) -> Callable[[_Endpoint], _Endpoint]:
        def add(endpoint: _Endpoint) -> _Endpoint:
            changes[path] = Change(endpoint)
            return app.post(path, tags=["change"], response_model=answer)(endpoint)

        return add

    async def do(request: PlanRequest, how: bodies.Doing) -> Response:
        applied = await service.apply(
            request,
            plan_id=how.plan_id,
            base=how.base,
            confirm_s=how.confirm_s,
            author=how.author,
            wait_s=how.wait_s,
        )
        return answers.answer(answers.AppliedAnswer, applied=applied)

    @app.get("/v1/check", tags=["change"], response_model=answers.ProblemsAnswer)
    async def check() -> Response:
        """Every mistake of the policy directory as it is on disk now."""
        return answers.answer(answers.ProblemsAnswer, problems=await service.check())

    @change("/v1/plan", answers.PlanAnswer)
    async def plan(body: bodies.PlanBody) -> Response:
        """What a change would do at every peer; nothing is done."""
        made = await service.plan(body.request(), routes=body.routes, check=body.check)
        return answers.answer(answers.PlanAnswer, plan=made)

    @change("/v1/apply", answers.AppliedAnswer)
    async def apply(body: bodies.ApplyBody) -> Response:
        """Apply the policy directory as it is on disk."""
        return await do(body.request(), body)

    @change("/v1/extend", answers.AppliedAnswer)
    async def extend(body: bodies.SiteBody) -> Response:
        """Add a site to a VPN: its policy file is edited in place, then applied."""
        return await do(body.request("extend"), body)

    @change("/v1/retract", answers.AppliedAnswer)
    async def retract(body: bodies.SiteBody) -> Response:
        """Take a site from a VPN: its policy file is edited in place, then applied."""
        return await do(body.request("retract"), body)

    @change("/v1/rollback", answers.AppliedAnswer)
    async def rollback(body: bodies.RollbackBody) -> Response:
        """Bring back the policy of an earlier revision, as a new revision."""
        return await do(body.request(), body)

    @change("/v1/confirm", answers.RevisionAnswer)
    async def confirm(body: bodies.ConfirmBody) -> Response:
        """Keep the unconfirmed revision."""
        kept = await service.confirm(author=body.author)
        return answers.answer(answers.RevisionAnswer, revision=kept)

    return changes


def _add_history(app: FastAPI, service: ControllerService) -> None:
    @app.get("/v1/revisions", tags=["history"], response_model=answers.RevisionsAnswer)
    async def revisions(
        limit: Annotated[int, Query(ge=1, le=10_000)] = 50,
        before: Annotated[int | None, Query(ge=1, le=2**53)] = None,
    ) -> Response:
        """Revisions, newest first; ``before`` continues a list."""
        found = await service.history(limit, before)
        return answers.answer(answers.RevisionsAnswer, revisions=found)

    @app.get(
        "/v1/revisions/{number}", tags=["history"], response_model=answers.RevisionTimelineAnswer
    )
    async def revision(number: Number) -> Response:
        """One revision and its timeline."""
        found, timeline = await service.revision(number)
        return answers.answer(answers.RevisionTimelineAnswer, revision=found, timeline=timeline)

    @app.get("/v1/diff", tags=["history"], response_model=answers.FilesAnswer)
    async def diff(
        old: Annotated[int, Query(ge=1, le=2**53, examples=[41])],
        new: Annotated[int, Query(ge=1, le=2**53, examples=[42])],
    ) -> Response:
        """How the policy files of two revisions differ."""
        return answers.answer(answers.FilesAnswer, files=await service.diff(old, new))


def _add_looks(app: FastAPI, service: ControllerService) -> None:
    @app.get("/v1/peers", tags=["look"], response_model=answers.PeersAnswer)
    async def peers() -> Response:
        """The BGP sessions."""
        return answers.answer(answers.PeersAnswer, peers=await service.peers())

    @app.get("/v1/peers/{peer}/rib-in", tags=["look"], response_model=answers.RoutesAnswer)
    async def rib_in(
        peer: PeerName, family: FamilyName = None, vpn: VpnName = None, limit: Limit = 1000
    ) -> Response:
        """Routes heard from a peer, and why one was not accepted (Adj-RIB-In)."""
        routes = await service.rib_in(peer, family=family, vpn=vpn, limit=limit)
        return answers.answer(answers.RoutesAnswer, routes=routes)

    @app.get("/v1/peers/{peer}/rib-out", tags=["look"], response_model=answers.RoutesAnswer)
    async def rib_out(
        peer: PeerName, family: FamilyName = None, vpn: VpnName = None, limit: Limit = 1000
    ) -> Response:
        """Routes sent to a peer, with their new targets (Adj-RIB-Out)."""
        routes = await service.rib_out(peer, family=family, vpn=vpn, limit=limit)
        return answers.answer(answers.RoutesAnswer, routes=routes)

    @app.get("/v1/vpns", tags=["look"], response_model=answers.VpnsAnswer)
    async def vpns() -> Response:
        """The customers' VPNs and their endpoints."""
        return answers.answer(answers.VpnsAnswer, vpns=await service.vpns())

    @app.get("/v1/sites", tags=["look"], response_model=answers.SitesAnswer)
    async def sites() -> Response:
        """The sites, their PEs and VPNs."""
        return answers.answer(answers.SitesAnswer, sites=await service.sites())

    @app.get("/v1/targets", tags=["look"], response_model=answers.TargetsAnswer)
    async def targets() -> Response:
        """The route targets, their owners and users."""
        return answers.answer(answers.TargetsAnswer, targets=await service.targets())

    @app.get("/v1/access", tags=["look"], response_model=answers.AccessAnswer)
    async def access(vpn: VpnName = None) -> Response:
        """The access rules as flow routes, and which PEs have them."""
        return answers.answer(answers.AccessAnswer, access=await service.access(vpn))

    @app.get("/v1/explain", tags=["look"], response_model=answers.ExplanationAnswer)
    async def explain(
        nlri: Annotated[str, Query(min_length=1, max_length=10_000, examples=["10.0.0.1:100:ve1"])],
        peer: Annotated[str, Query(min_length=1, max_length=200, examples=["pe-c2a"])],
    ) -> Response:
        """Why a peer has, or has not, a route."""
        found = await service.explain(nlri, peer)
        return answers.answer(answers.ExplanationAnswer, explanation=found)


def _add_controller(app: FastAPI, service: ControllerService) -> None:
    @app.get("/v1/status", tags=["controller"], response_model=answers.StatusAnswer)
    async def status() -> Response:
        """The controller itself."""
        return answers.answer(answers.StatusAnswer, status=await service.status())

    @app.get(
        "/v1/events",
        tags=["controller"],
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "Server-sent events; each one's data is an event as JSON.",
                "content": {"text/event-stream": {"schema": _EVENT}},
            }
        },
    )
    async def events(mac: MacAddresses = None) -> StreamingResponse:
        """What happens from now on, as server-sent events.

        With ``mac`` (like ``52:54:00:00:00:01``, may be repeated) also EVPN routes of these
        addresses: heard from a PE, and sent to one.
        """
        macs = [bytes.fromhex(one.replace(":", "")) for one in mac or ()]
        stream = _event_stream(service.events(macs), app.state.closing)
        return StreamingResponse(stream, media_type="text/event-stream")

    @app.get(
        "/metrics",
        tags=["controller"],
        response_class=Response,
        responses={
            200: {
                "description": "The Prometheus text format.",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            }
        },
    )
    async def metrics() -> Response:
        """Every metric, for Prometheus."""
        return Response(service.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _event_stream(
    source: AsyncIterator[views.Event], closing: asyncio.Event
) -> AsyncIterator[bytes]:
    """Events as they come and a comment when none came for a while, until closing or the end.

    The first comment goes out once the subscription stands: a client that has read it misses
    nothing that happens afterwards.
    """
    closed = asyncio.ensure_future(closing.wait())
    following = asyncio.ensure_future(anext(source, None))
    try:
        await asyncio.sleep(0)
        yield b": vpnctl/1\n\n"
        while True:
            done, _ = await asyncio.wait(
                (following, closed), timeout=KEEP_ALIVE_S, return_when=asyncio.FIRST_COMPLETED
            )
            if closed in done:
                return
            if following not in done:
                yield b": still here\n\n"
                continue
            event = following.result()
            if event is None:
                return
            yield answers.event_line(event)
            following = asyncio.ensure_future(anext(source, None))
    finally:
        closed.cancel()
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
        close = getattr(source, "aclose", None)
        if close is not None:
            await close()
