"""What each path answers, and with which status and exit code it refuses."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import httpx
import pytest

from tests.support.fake_controller import PROBLEMS, FakeController, failing
from vpnctl.api.app import create_app
from vpnctl.api.errors import HTTP_STATUS, from_json, to_json
from vpnctl.api.guard import MAX_BODY
from vpnctl.api.service import ControllerService
from vpnctl.controller.requests import PlanRequest
from vpnctl.errors import PolicyError, ProvisioningError, VpnctlError
from vpnctl.model import FAMILIES

_JSON = {"content-type": "application/json"}


class Switch:
    """Passes calls on to the controller of the moment: building an application takes a while."""

    def __init__(self) -> None:
        self.controller = FakeController()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.controller, name)


SWITCH = Switch()
APP = create_app(cast(ControllerService, SWITCH))


def ask(
    controller: FakeController,
    method: str,
    path: str,
    base: str = "http://localhost",
    **kwargs: Any,
) -> httpx.Response:
    SWITCH.controller = controller

    async def once() -> httpx.Response:
        transport = httpx.ASGITransport(APP, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            return await client.request(method, path, **kwargs)

    return asyncio.run(once())


@pytest.mark.parametrize(
    ("path", "noun"),
    [
        ("/v1/status", "status"),
        ("/v1/check", "problems"),
        ("/v1/peers", "peers"),
        ("/v1/vpns", "vpns"),
        ("/v1/sites", "sites"),
        ("/v1/targets", "targets"),
        ("/v1/access?vpn=E1", "access"),
        ("/v1/peers/pe-e1/rib-in", "routes"),
        ("/v1/peers/pe-e1/rib-out", "routes"),
        ("/v1/revisions", "revisions"),
        ("/v1/revisions/41", "revision"),
        ("/v1/diff?old=40&new=41", "files"),
        ("/v1/explain?nlri=10.0.0.1:100:ve1&peer=pe-c2a", "explanation"),
    ],
)
def test_every_answer_holds_the_schema_and_its_noun(path: str, noun: str) -> None:
    answer = ask(FakeController(), "GET", path)
    assert answer.status_code == 200
    content = answer.json()
    assert list(content)[:2] == ["schema", noun]
    assert content["schema"] == "vpnctl/1"


def test_extend_passes_everything_on_and_answers_with_the_timeline() -> None:
    controller = FakeController()
    answer = ask(
        controller,
        "POST",
        "/v1/extend",
        json={
            "vpn": "E1",
            "site": "cloud2",
            "plan_id": "7f3a",
            "base": 41,
            "confirm_s": 300,
            "author": "ada",
            "wait_s": 2,
        },
    )
    assert controller.asked[-1] == (
        "apply",
        PlanRequest("extend", vpn="E1", site="cloud2"),
        "7f3a",
        41,
        300.0,
        "ada",
        2.0,
    )
    applied = answer.json()["applied"]
    assert applied["revision"]["number"] == 42
    assert applied["timeline"][0]["name"] == "policy checked"


@pytest.mark.parametrize(
    ("path", "body", "request_"),
    [
        ("/v1/apply", {}, PlanRequest("apply")),
        ("/v1/retract", {"vpn": "E1", "site": "x"}, PlanRequest("retract", vpn="E1", site="x")),
        ("/v1/rollback", {"revision": 40}, PlanRequest("rollback", revision=40)),
        ("/v1/rollback", {}, PlanRequest("rollback")),
    ],
)
def test_changes_become_requests(path: str, body: dict[str, Any], request_: PlanRequest) -> None:
    controller = FakeController()
    assert ask(controller, "POST", path, json=body).status_code == 200
    assert controller.asked[-1][1] == request_


def test_plan_lists_as_many_routes_as_asked_for() -> None:
    answer = ask(FakeController(), "POST", "/v1/plan", json={"kind": "apply", "routes": 1})
    plan = answer.json()["plan"]
    assert len(plan["routes"]) == 1
    assert len(plan["peers"]) == 4


@pytest.mark.parametrize("kind", sorted(HTTP_STATUS, key=lambda kind: kind.__name__))
def test_every_class_of_error_has_its_status_and_comes_back_as_itself(
    kind: type[VpnctlError],
) -> None:
    answer = ask(failing(kind("what is wrong", hint="what to do")), "GET", "/v1/status")
    assert answer.status_code == HTTP_STATUS[kind]
    error = answer.json()["error"]
    assert error["code"] == kind.code
    assert error["exit_code"] == kind.exit_code
    back = from_json(answer.json())
    assert type(back) is kind
    assert (back.message, back.hint) == ("what is wrong", "what to do")


def test_every_subclass_of_the_tree_has_a_status() -> None:
    assert set(VpnctlError.__subclasses__()) <= set(HTTP_STATUS)
    # Each of these has an exit code of its own.
    assert set(ProvisioningError.__subclasses__()) <= set(HTTP_STATUS)


def test_mistakes_of_a_policy_travel_with_the_error() -> None:
    error = PolicyError("2 mistakes", mistakes=PROBLEMS)
    answer = ask(failing(error), "POST", "/v1/apply", json={})
    assert answer.status_code == 422
    back = from_json(answer.json())
    assert isinstance(back, PolicyError)
    assert back.mistakes == PROBLEMS
    assert to_json(back) == answer.json()


@pytest.mark.parametrize(
    ("method", "path", "kwargs", "status"),
    [
        ("POST", "/v1/extend", {"json": {"vpn": "E1"}}, 422),
        ("POST", "/v1/extend", {"json": {"vpn": "E1", "site": "x", "confirm": 3}}, 422),
        ("POST", "/v1/apply", {"content": b"{}", "headers": {"content-type": "text/plain"}}, 422),
        ("POST", "/v1/apply", {"content": b"{}"}, 422),
        ("POST", "/v1/apply", {"content": b"{", "headers": _JSON}, 422),
        ("POST", "/v1/apply", {"content": b"[]", "headers": _JSON}, 422),
        ("POST", "/v1/apply", {"content": b"[" * 60_000, "headers": _JSON}, 422),
        ("GET", "/v1/revisions/zero", {}, 422),
        ("GET", "/v1/peers/pe-e1/rib-in?family=ipx", {}, 422),
        ("GET", "/v1/peers/nobody/rib-in", {}, 404),
        ("GET", "/v1/nothing", {}, 404),
        ("GET", "/v1/apply", {}, 405),
        ("POST", "/v1/apply", {"content": b"x" * (MAX_BODY + 1)}, 413),
    ],
)
def test_refusals_are_errors_of_the_same_shape(
    method: str, path: str, kwargs: dict[str, Any], status: int
) -> None:
    answer = ask(FakeController(), method, path, **kwargs)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]
    assert isinstance(from_json(answer.json()), VpnctlError)


def test_a_chunked_body_is_bounded_too() -> None:
    async def pieces() -> Any:
        for _ in range(MAX_BODY // 1024 + 1):
            yield b" " * 1024

    headers = _JSON
    answer = ask(FakeController(), "POST", "/v1/apply", content=pieces(), headers=headers)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "usage"


def test_a_body_may_come_in_pieces() -> None:
    async def pieces() -> Any:
        yield b'{"author": '
        yield b'"ada"}'

    controller = FakeController()
    answer = ask(controller, "POST", "/v1/apply", content=pieces(), headers=_JSON)
    assert answer.is_success
    assert "ada" in controller.asked[-1]


def test_who_goes_away_before_all_is_said_changes_nothing() -> None:
    SWITCH.controller = controller = FakeController()
    coming = iter(
        (
            {"type": "http.request", "body": b'{"author": "ada"}', "more_body": True},
            {"type": "http.disconnect"},
        )
    )
    answered: list[Any] = []

    async def receive() -> Any:
        return next(coming)

    async def send(message: Any) -> None:
        answered.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/apply",
        "scheme": "http",
        "server": None,
        "headers": [(b"content-type", b"application/json")],
    }
    asyncio.run(APP(scope, receive, send))
    assert controller.asked == []
    assert answered == []


def test_a_foreign_host_name_is_refused_on_plain_tcp() -> None:
    for host in ("rebound.example", "127.rebound.example", "127.0.0.1.rebound.example"):
        answer = ask(FakeController(), "GET", "/v1/status", base=f"http://{host}:8080")
        assert answer.status_code == 403
    for host in ("127.0.0.1:8080", "[::1]:8080", "localhost"):
        assert ask(FakeController(), "GET", "/v1/status", base=f"http://{host}").is_success


def test_a_defect_is_told_without_a_traceback() -> None:
    controller = FakeController()
    controller.fail = KeyError("pe-e1")
    looked = ask(controller, "GET", "/v1/status")
    for answer in (looked, ask(controller, "POST", "/v1/apply", json={})):
        assert answer.status_code == 500
        assert answer.json()["error"]["exit_code"] == 1
        assert "Traceback" not in answer.text


def test_events_are_server_sent_events() -> None:
    answer = ask(FakeController(), "GET", "/v1/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    blocks = answer.text.strip().split("\n\n")
    assert blocks[0].startswith(":")
    assert [json.loads(block.removeprefix("data: "))["subject"] for block in blocks[1:]] == [
        "pe-c2a",
        "42",
    ]


def test_events_may_be_about_mac_addresses() -> None:
    controller = FakeController()
    assert ask(controller, "GET", "/v1/events?mac=52:54:00:00:00:0A").is_success
    assert controller.watched == (bytes.fromhex("52540000000a"),)
    assert ask(controller, "GET", "/v1/events?mac=52:54").status_code == 422


def test_metrics_are_the_controllers() -> None:
    answer = ask(FakeController(), "GET", "/metrics")
    assert answer.content == FakeController().metrics()
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")


def test_every_family_can_be_asked_for() -> None:
    for family in FAMILIES:
        assert ask(FakeController(), "GET", f"/v1/peers/pe-e1/rib-in?family={family}").is_success


def test_openapi_describes_every_path() -> None:
    document = ask(FakeController(), "GET", "/v1/openapi.json").json()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation.get("description"), path
            assert "HTTPValidationError" not in json.dumps(operation["responses"])
    bodies = ("ApplyBody", "SiteBody", "RollbackBody", "PlanBody", "ConfirmBody")
    for body in bodies:
        assert document["components"]["schemas"][body]["examples"]
