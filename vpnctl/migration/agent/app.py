"""The HTTP face of an agent: paths, and who may ask what.

Operators may do everything; another site's agent may ask what it needs to bring a machine here,
and may talk about the machines that it brought itself.  Whoever may use the unix socket is an
operator.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse

from vpnctl.errors import NotFoundError, UsageError, VpnctlError
from vpnctl.migration.agent.agent import Agent
from vpnctl.migration.agent.errors import status_of, to_plain
from vpnctl.migration.agent.messages import (
    ArrivalReady,
    ArrivalRequest,
    AttachRequest,
    MachineFacts,
    MachineView,
    MigrateRequest,
    MigrationList,
    MigrationView,
    MomentsRequest,
    Nothing,
    OfferAnswer,
    PauseRequest,
    RateRequest,
    ReachRequest,
    ReplicaReady,
    ReplicaRequest,
    ReplicateRequest,
    ReplicationList,
    ReplicationView,
    SiteFacts,
)
from vpnctl.migration.definition import Definition

#: Seconds between two lines of a watched migration at most.
_BEAT_S = 0.5
#: Octets; the largest request is a definition.
_LARGEST_BODY = 256 * 1024
#: In the scope of a request: who asks, see `vpnctl.migration.agent.serving`.
VISITOR, IS_OPERATOR = "vpnctl.visitor", "vpnctl.operator"


def create_app(agent: Agent) -> FastAPI:
    """The paths of ``agent`` below ``/v1/``."""
    app = FastAPI(title="vpnctl agent", docs_url=None, redoc_url=None, openapi_url="/v1/openapi")
    app.add_exception_handler(VpnctlError, _told)
    app.add_exception_handler(RequestValidationError, _not_understood)
    _for_operators(app, agent)
    _for_agents(app, agent)
    return app


def _for_operators(app: FastAPI, agent: Agent) -> None:
    face = APIRouter(prefix="/v1", dependencies=[Depends(_operator), Depends(_bounded)])

    @face.get("/machines/{name}")
    async def machine(name: str) -> MachineView:
        return await agent.machine(name)

    @face.get("/machines/{name}/facts")
    async def facts(name: str) -> MachineFacts:
        return await agent.machine_facts(name)

    @face.post("/machines")
    async def start(definition: Definition) -> MachineView:
        return await agent.start_machine(definition)

    @face.post("/attach")
    async def attach(request: AttachRequest) -> MachineView:
        return await agent.attach_machine(request.definition, Path(request.qmp))

    @face.post("/machines/{name}/stop")
    async def stop(name: str) -> Nothing:
        await agent.stop_machine(name)
        return Nothing()

    @face.post("/reach")
    async def reach(request: ReachRequest) -> Nothing:
        await agent.reach(request.to)
        return Nothing()

    @face.post("/migrations")
    async def migrate(request: MigrateRequest) -> MigrationView:
        return await agent.migrate(request)

    @face.get("/migrations")
    async def migrations() -> MigrationList:
        return MigrationList(migrations=agent.views())

    @face.get("/migrations/{name}")
    async def migration(name: str) -> MigrationView:
        return agent.view(name)

    @face.post("/migrations/{name}/moments")
    async def moments(name: str, request: MomentsRequest) -> MigrationView:
        agent.migration(name).note(request.moments)
        return agent.view(name)

    @face.get("/migrations/{name}/watch")
    async def watch(name: str) -> StreamingResponse:
        return StreamingResponse(_lines(agent, name), media_type="application/x-ndjson")

    @face.post("/migrations/{name}/cancel")
    async def cancel(name: str) -> MigrationView:
        await agent.migration(name).cancel()
        return agent.migration(name).view()

    @face.post("/migrations/{name}/pause")
    async def pause(name: str) -> MigrationView:
        await agent.migration(name).memory().wait()
        return agent.migration(name).view()

    @face.post("/migrations/{name}/resume")
    async def resume(name: str) -> MigrationView:
        await agent.migration(name).memory().proceed()
        return agent.migration(name).view()

    @face.post("/migrations/{name}/release")
    async def release(name: str) -> MigrationView:
        await agent.migration(name).memory().release()
        return agent.migration(name).view()

    @face.post("/migrations/{name}/switchover")
    async def switchover(name: str) -> MigrationView:
        await agent.migration(name).memory().stop()
        return agent.migration(name).view()

    @face.post("/migrations/{name}/limit")
    async def limit(name: str, request: RateRequest) -> MigrationView:
        await agent.migration(name).limit(request.rate)
        return agent.migration(name).view()

    @face.post("/migrations/{name}/max-pause")
    async def max_pause(name: str, request: PauseRequest) -> MigrationView:
        agent.migration(name).memory().allow(request.max_pause_s)
        return agent.migration(name).view()

    @face.get("/replications")
    async def replications() -> ReplicationList:
        return ReplicationList(
            replications=tuple(one.view() for one in agent.replications.values())
        )

    @face.post("/replications")
    async def replicate(request: ReplicateRequest) -> ReplicationView:
        return await agent.start_replication(request)

    @face.post("/replications/{machine}/limit")
    async def limit_replication(machine: str, request: RateRequest) -> ReplicationView:
        agent.replication(machine).limit(request.rate)
        return agent.replication(machine).view()

    @face.post("/replications/{machine}/stop")
    async def stop_replication(machine: str) -> Nothing:
        await agent.stop_replication(machine)
        return Nothing()

    app.include_router(face)


def _for_agents(app: FastAPI, agent: Agent) -> None:
    face = APIRouter(prefix="/v1", dependencies=[Depends(_bounded)])

    @face.get("/site")
    async def site() -> SiteFacts:
        return await agent.facts()

    @face.post("/arrivals")
    async def prepare(
        request: ArrivalRequest, visitor: Annotated[str, Depends(_visitor)]
    ) -> ArrivalReady:
        return await agent.prepare(request, visitor)

    @face.get("/arrivals/{migration}")
    async def alive(migration: str, visitor: Annotated[str, Depends(_visitor)]) -> Nothing:
        agent.arrival(migration, visitor)
        return Nothing()

    @face.post("/arrivals/{migration}/offer")
    async def offer(migration: str, visitor: Annotated[str, Depends(_visitor)]) -> OfferAnswer:
        return await agent.offer(migration, visitor)

    @face.post("/arrivals/{migration}/announce")
    async def announce(migration: str, visitor: Annotated[str, Depends(_visitor)]) -> Nothing:
        await agent.arrival(migration, visitor).announce()
        return Nothing()

    @face.post("/arrivals/{migration}/settled")
    async def settled(migration: str, visitor: Annotated[str, Depends(_visitor)]) -> Nothing:
        await agent.arrival(migration, visitor).settle()
        return Nothing()

    @face.post("/replicas")
    async def replica(
        request: ReplicaRequest, visitor: Annotated[str, Depends(_visitor)]
    ) -> ReplicaReady:
        return await agent.keep_replica(request, visitor)

    @face.post("/replicas/{machine}/close")
    async def close_replica(machine: str, visitor: Annotated[str, Depends(_visitor)]) -> Nothing:
        await agent.close_replica(machine, visitor)
        return Nothing()

    @face.post("/arrivals/{migration}/cancel")
    async def cancel(migration: str, visitor: Annotated[str, Depends(_visitor)]) -> Nothing:
        await agent.arrival(migration, visitor).cancel()
        return Nothing()

    app.include_router(face)


async def _lines(agent: Agent, name: str) -> AsyncIterator[str]:
    """One line of JSON per change, and at least every `_BEAT_S`, until the migration has ended."""
    try:
        departing = agent.migration(name)
    except NotFoundError:
        yield agent.view(name).model_dump_json() + "\n"
        return
    while True:
        changed = departing.changed
        view = departing.view()
        yield view.model_dump_json() + "\n"
        if view.ended:
            return
        try:
            await asyncio.wait_for(changed.wait(), _BEAT_S)
        except TimeoutError:
            continue


def _visitor(request: Request) -> str:
    return str(request.scope.get(VISITOR, ""))


def _operator(request: Request) -> None:
    if not request.scope.get(IS_OPERATOR, False):
        raise UsageError(
            f"{_visitor(request)} is no operator here",
            hint="use the certificate of one that the agent was started with: --operator NAME",
        )


async def _bounded(request: Request) -> None:
    length = request.headers.get("content-length", "0")
    if "transfer-encoding" in request.headers or int(length) > _LARGEST_BODY:
        raise UsageError("the request's body is too large")


async def _told(request: Request, error: Exception) -> JSONResponse:
    del request
    assert isinstance(error, VpnctlError)
    return JSONResponse(to_plain(error), status_of(error))


async def _not_understood(request: Request, error: Exception) -> JSONResponse:
    del request
    assert isinstance(error, RequestValidationError)
    told = "; ".join(
        f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors()
    )
    return JSONResponse(to_plain(UsageError(f"the request is not understood: {told}")), 400)
