"""The tree of `vpnctl.errors` as JSON and back; the HTTP status of each class.

An error travels as ``{"schema": "vpnctl/1", "error": {"code", "message", "hint", "exit_code",
"problems"}}``, so that the command line ends with the exit code that the controller meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from vpnctl.controller.views import Problem, problems
from vpnctl.errors import (
    AgentError,
    ConnectError,
    ControllerError,
    DirtyCandidateError,
    HostKeyError,
    LabError,
    LockedError,
    MigrationError,
    NotFoundError,
    OutcomeUnknownError,
    PolicyError,
    ProvisioningError,
    RejectedError,
    RenderError,
    ResourceError,
    SessionProcessError,
    SidecarError,
    StaleError,
    StoreError,
    StreamRefusedError,
    UnverifiedError,
    UsageError,
    VpnctlError,
)

#: Version of every JSON answer, of the API and of the command line alike.
SCHEMA = "vpnctl/1"

HTTP_STATUS: dict[type[VpnctlError], int] = {
    UsageError: 400,
    NotFoundError: 404,
    StaleError: 409,
    PolicyError: 422,
    RenderError: 422,
    ControllerError: 409,
    StoreError: 503,
    SessionProcessError: 503,
    ResourceError: 507,
    ProvisioningError: 502,
    ConnectError: 502,
    HostKeyError: 502,
    LockedError: 502,
    DirtyCandidateError: 502,
    RejectedError: 502,
    OutcomeUnknownError: 502,
    UnverifiedError: 502,
    StreamRefusedError: 422,
    SidecarError: 503,
    LabError: 503,
    MigrationError: 409,
    AgentError: 503,
}

_BY_CODE = {kind.code: kind for kind in HTTP_STATUS}


def http_status(error: VpnctlError) -> int:
    """The status to answer with; 500 for a class that has none."""
    return next((HTTP_STATUS[kind] for kind in type(error).__mro__ if kind in HTTP_STATUS), 500)


def to_json(error: VpnctlError) -> dict[str, Any]:
    """An error as the API answers with it."""
    found = problems(error.mistakes) if isinstance(error, PolicyError) else ()
    return {
        "schema": SCHEMA,
        "error": {
            "code": error.code,
            "message": error.message,
            "hint": error.hint,
            "exit_code": error.exit_code,
            "problems": [asdict(problem) for problem in found],
        },
    }


def from_json(answer: Mapping[str, Any]) -> VpnctlError:
    """The error that an answer carries; the reverse of `to_json`.

    Raises `KeyError` or `TypeError` when the answer is not an error of this schema.
    """
    error = answer["error"]
    kind = _BY_CODE.get(error["code"], VpnctlError)
    if issubclass(kind, PolicyError):
        return kind(
            error["message"],
            hint=error["hint"],
            mistakes=tuple(Problem(**problem) for problem in error["problems"]),
        )
    return kind(error["message"], hint=error["hint"])
