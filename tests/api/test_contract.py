"""Requests made up from the OpenAPI document: every answer keeps to it, none is a defect."""

from __future__ import annotations

import schemathesis
from hypothesis import HealthCheck, settings

from tests.support.fake_controller import FakeController
from vpnctl.api.app import create_app

HOST = {"host": "localhost"}

schema = schemathesis.openapi.from_asgi(
    "/v1/openapi.json", create_app(FakeController()), headers=HOST
)


@schema.parametrize()
@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_answers_keep_to_the_contract(case: schemathesis.Case) -> None:
    case.call_and_validate(headers=HOST)
