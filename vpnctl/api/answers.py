"""The JSON answers: the schema's version and one noun each, written without validating them.

The values come from our own frozen dataclasses, so they are serialised straight to bytes;
the classes here are what OpenAPI documents.
"""

from __future__ import annotations

from typing import Any, Literal

from fastapi import Response
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from vpnctl.api.errors import SCHEMA
from vpnctl.controller import views

Schema = Literal["vpnctl/1"]


class ErrorBody(TypedDict):
    """Why a request was refused and what to do; ``exit_code`` is what ``vpnctl`` ends with."""

    code: str
    message: str
    hint: str
    exit_code: int
    problems: tuple[views.Problem, ...]


class ErrorAnswer(TypedDict):
    schema: Schema
    error: ErrorBody


class StatusAnswer(TypedDict):
    schema: Schema
    status: views.Status


class ProblemsAnswer(TypedDict):
    schema: Schema
    problems: tuple[views.Problem, ...]


class PlanAnswer(TypedDict):
    schema: Schema
    plan: views.Plan


class AppliedAnswer(TypedDict):
    schema: Schema
    applied: views.Applied


class RevisionAnswer(TypedDict):
    schema: Schema
    revision: views.Revision


class RevisionTimelineAnswer(TypedDict):
    schema: Schema
    revision: views.Revision
    timeline: tuple[views.Step, ...]


class RevisionsAnswer(TypedDict):
    schema: Schema
    revisions: tuple[views.Revision, ...]


class FilesAnswer(TypedDict):
    schema: Schema
    files: tuple[views.FileChange, ...]


class PeersAnswer(TypedDict):
    schema: Schema
    peers: tuple[views.Peer, ...]


class PeerNamesAnswer(TypedDict):
    schema: Schema
    peer_names: tuple[str, ...]


class DriftAnswer(TypedDict):
    schema: Schema
    drift: tuple[views.Drift, ...]


class AdoptionAnswer(TypedDict):
    schema: Schema
    adoption: views.Adoption


class DoctorAnswer(TypedDict):
    schema: Schema
    doctor: tuple[views.Checkup, ...]


class VpnsAnswer(TypedDict):
    schema: Schema
    vpns: tuple[views.Vpn, ...]


class SitesAnswer(TypedDict):
    schema: Schema
    sites: tuple[views.Site, ...]


class TargetsAnswer(TypedDict):
    schema: Schema
    targets: tuple[views.Target, ...]


class RoutesAnswer(TypedDict):
    schema: Schema
    routes: tuple[views.Route, ...]


class AccessAnswer(TypedDict):
    schema: Schema
    access: tuple[views.AccessRoute, ...]


class ExplanationAnswer(TypedDict):
    schema: Schema
    explanation: views.Explanation


_adapters: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    adapter = _adapters.get(kind)
    if adapter is None:
        adapter = _adapters[kind] = TypeAdapter(kind)
    return adapter


def prepare() -> None:
    """Build the serialisers of changes now, so that no change waits for one."""
    for kind in (ErrorAnswer, PlanAnswer, AppliedAnswer, RevisionAnswer):
        _adapter(kind)


def answer(kind: type[Any], **values: Any) -> Response:
    """``values`` as the answer ``kind``, with the schema's version in front."""
    content = _adapter(kind).dump_json({"schema": SCHEMA, **values})
    return Response(content, media_type="application/json")


def event_line(event: views.Event) -> bytes:
    """One server-sent event (WHATWG HTML section 9.2)."""
    return b"data: " + _adapter(views.Event).dump_json(event) + b"\n\n"
