"""The paths by which an operator looks after the managed routers, beside the policy."""

from __future__ import annotations

from fastapi import FastAPI, Response

from vpnctl.api import answers, bodies
from vpnctl.api.service import ControllerService


def add_routers(app: FastAPI, service: ControllerService) -> None:
    @app.post("/v1/drift", tags=["routers"], response_model=answers.DriftAnswer)
    async def drift(body: bodies.DriftBody) -> Response:
        """Where routers differ from what they shall have of ours; with `fix`, no longer."""
        found = await service.drift(body.routers, fix=body.fix, author=body.author)
        return answers.answer(answers.DriftAnswer, drift=found)

    @app.post("/v1/adopt", tags=["routers"], response_model=answers.AdoptionAnswer)
    async def adopt(body: bodies.AdoptBody) -> Response:
        """Reserve the numbers that a router's own configuration has; it is not changed."""
        done = await service.adopt(body.router, author=body.author)
        return answers.answer(answers.AdoptionAnswer, adoption=done)

    @app.post("/v1/doctor", tags=["routers"], response_model=answers.DoctorAnswer)
    async def doctor(body: bodies.RoutersBody) -> Response:
        """Whether each router can be configured: session, host key, rights, capabilities."""
        return answers.answer(answers.DoctorAnswer, doctor=await service.doctor(body.routers))
