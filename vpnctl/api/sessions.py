"""The paths by which an operator acts on sessions, beside the policy."""

from __future__ import annotations

from fastapi import FastAPI, Response

from vpnctl.api import answers, bodies
from vpnctl.api.service import ControllerService


def add_sessions(app: FastAPI, service: ControllerService) -> None:
    @app.post("/v1/session-reset", tags=["sessions"], response_model=answers.PeerNamesAnswer)
    async def session_reset(body: bodies.PeerBody) -> Response:
        """Let the session of a PE begin anew, also one that its guard has shut down."""
        done = await service.reset_session(body.peer)
        return answers.answer(answers.PeerNamesAnswer, peer_names=done)

    @app.post("/v1/drain", tags=["sessions"], response_model=answers.PeerNamesAnswer)
    async def drain(body: bodies.DrainBody) -> Response:
        """Make a PE's routes the last choice before its maintenance (RFC 8326), or end that."""
        done = await service.drain(body.peer, body.draining)
        return answers.answer(answers.PeerNamesAnswer, peer_names=done)

    @app.post("/v1/rekey", tags=["sessions"], response_model=answers.PeerNamesAnswer)
    async def rekey(body: bodies.NothingBody) -> Response:
        """Read every session's key again; answers the PEs whose key changed."""
        del body
        return answers.answer(answers.PeerNamesAnswer, peer_names=await service.rekey())
