"""How the body of a change reaches its endpoint: in a fifth of the time FastAPI needs for it.

An operator waits for every step between asking for a change and the routers having it.  These
endpoints take one JSON body and nothing else, no dependency and no parameter, so their handler
only reads it and lets its model check it.  What OpenAPI says, and how mistakes are answered, stays
FastAPI's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any, get_type_hints

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError

_JSON = "application/json"


class ChangeRoute(APIRoute):
    """A route whose endpoint takes one argument, ``body``, a pydantic model, and gives a response.

    A body that is not declared to be JSON is refused: a web page may send any other kind of body
    to another origin without asking.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint = self.endpoint
        model: type[BaseModel] = get_type_hints(endpoint)["body"]

        async def handler(request: Request) -> Response:
            answer: Response = await endpoint(body=_checked(model, request, await request.body()))
            return answer

        return handler


def _checked(model: type[BaseModel], request: Request, octets: bytes) -> BaseModel:
    """The body as its model; raises `RequestValidationError`."""
    declared = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if declared != _JSON:
        said = f"the body must be declared as {_JSON}, not as {declared or 'nothing'}"
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
