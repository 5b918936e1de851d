"""Refuses, before anything is parsed, what no honest client sends."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vpnctl.api.errors import to_json
from vpnctl.errors import UsageError

#: Octets; the largest request is a few hundred.
MAX_BODY = 64 * 1024


def too_large() -> str:
    return f"the request's body is larger than {MAX_BODY} octets"


class Guard:
    """Bounds bodies, and on plain TCP takes requests to loopback names only.

    A web page that its reader's browser fetched may send requests to 127.0.0.1 under a name of
    its own (DNS rebinding); its ``Host`` header gives it away.  The unix socket has no names,
    and over TLS the client's certificate decides.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        taken = 0

        async def bounded() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > MAX_BODY:
                raise HTTPException(413, too_large())
            return message

        await self._app(scope, bounded, send)

    def _refusal(self, scope: Scope, headers: Headers) -> JSONResponse | None:
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > MAX_BODY:
            return _json(413, UsageError(too_large()))
        if scope["scheme"] == "http" and _is_tcp(scope):
            name = _name(headers.get("host", "").lower())
            if not _is_loopback(name):
                return _json(
                    403,
                    UsageError(
                        f"requests to the host {name!r} are not taken",
                        hint="connect to 127.0.0.1 or [::1] by address",
                    ),
                )
        return None


def _name(host: str) -> str:
    """A ``Host`` header without its port."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def _is_tcp(scope: Scope) -> bool:
    server: Any = scope.get("server")
    return server is not None and server[1] is not None


def _json(status: int, error: UsageError) -> JSONResponse:
    return JSONResponse(to_json(error), status)
