"""How the body of a change reaches its endpoint: in a tenth of the time FastAPI needs for it.

An operator waits for every step between asking for a change and the routers having it.  These
endpoints take one JSON body and nothing else, no dependency and no parameter, so their requests go
past FastAPI's router and its layers: what is left is to read the body and let its model check it.
What OpenAPI says of them, and how mistakes are answered, stays FastAPI's.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, get_type_hints

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

_JSON = b"application/json"

#: Answers an exception of one class.
Refusal = Callable[[Request, Any], Awaitable[Response]]


class Change:
    """An endpoint of one argument, ``body``, a pydantic model, that gives a response.

    A body that is not declared to be JSON is refused: a web page may send any other kind of body
    to another origin without asking.
    """

    def __init__(self, endpoint: Callable[..., Awaitable[Response]]) -> None:
        self._endpoint = endpoint
        self._model: type[BaseModel] = get_type_hints(endpoint)["body"]

    async def answer(self, scope: Scope, receive: Receive) -> Response:
        """Take a request.

        Raises `RequestValidationError`, `ClientDisconnect`, and what the endpoint raises.
        """
        octets = await _body(receive)
        return await self._endpoint(body=_checked(self._model, scope, octets))


class Shortcut:
    """Gives requests for ``changes``, by path, to their endpoints, and all others to the app.

    ``refusals``: what answers an exception, by its class; one that has none is a defect, and goes
    on to whoever is outside.
    """

    def __init__(
        self,
        app: ASGIApp,
        changes: Mapping[str, Change],
        refusals: Mapping[type[Exception], Refusal],
    ) -> None:
        self._app = app
        self._changes = changes
        self._refusals = refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        change = None
        if scope["type"] == "http" and scope["method"] == "POST":
            change = self._changes.get(scope["path"])
        if change is None:
            await self._app(scope, receive, send)
            return
        try:
            response = await change.answer(scope, receive)
        except ClientDisconnect:
            return  # before all was said: there is nothing to do, and nobody to tell
        except Exception as error:
            refuse = self._refusal(error)
            if refuse is None:
                raise
            response = await refuse(Request(scope), error)
        await response(scope, receive, send)

    def _refusal(self, error: Exception) -> Refusal | None:
        known = (kind for kind in type(error).__mro__ if kind in self._refusals)
        return next((self._refusals[kind] for kind in known), None)


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _checked(model: type[BaseModel], scope: Scope, octets: bytes) -> BaseModel:
    """The body as its model; raises `RequestValidationError`."""
    declared = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    kind = declared.partition(b";")[0].strip().lower()
    if kind != _JSON:
        shown = kind.decode("latin-1") or "nothing"
        said = f"the body must be declared as {_JSON.decode()}, not as {shown}"
        raise RequestValidationError([{"type": "content_type", "loc": ("body",), "msg": said}])
    try:
        value = json.loads(octets)
    except (ValueError, RecursionError) as error:
        said = f"the body is no JSON: {error}"
        raise RequestValidationError(
            [{"type": "json_invalid", "loc": ("body",), "msg": said}]
        ) from error
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = [
            {**problem, "loc": ("body", *problem["loc"])}
            for problem in error.errors(include_url=False)
        ]
        raise RequestValidationError(found, body=value) from error
