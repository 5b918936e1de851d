"""Errors on their way from an agent to whoever asked it."""

from __future__ import annotations

import json
from typing import Any

from vpnctl.errors import (
    AgentError,
    DefinitionError,
    MigrationError,
    NotFoundError,
    PrecheckError,
    SidecarError,
    StreamRefusedError,
    UsageError,
    VpnctlError,
)
from vpnctl.migration.agent.messages import SCHEMA

STATUS: dict[type[VpnctlError], int] = {
    UsageError: 400,
    DefinitionError: 422,
    NotFoundError: 404,
    PrecheckError: 409,
    MigrationError: 409,
    AgentError: 503,
    SidecarError: 503,
    StreamRefusedError: 422,
}
_BY_CODE = {kind.code: kind for kind in STATUS}


def status_of(error: VpnctlError) -> int:
    """The HTTP status to answer with."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def to_plain(error: VpnctlError) -> dict[str, Any]:
    """As the route server's API answers with errors, too."""
    told = {"code": error.code, "message": error.message, "hint": error.hint}
    return {"schema": SCHEMA, "error": told}


def from_plain(content: bytes) -> VpnctlError | None:
    """The error in an answer; None when there is none that we know."""
    try:
        told = json.loads(content)["error"]
        return _BY_CODE.get(told["code"], MigrationError)(
            str(told["message"]), hint=str(told["hint"])
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
