"""Bodies of requests.  Unknown keys are refused: a misspelt ``confirm_s`` must not be ignored."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from vpnctl.controller.requests import PlanRequest


def _no_bool_no_text(value: object) -> object:
    if isinstance(value, (bool, str)):
        raise ValueError("Input should be a valid integer")
    return value


#: JSON knows one kind of number, so 41.0 is an integer, but neither true nor "41" is.
_JSON_INTEGER = BeforeValidator(_no_bool_no_text)

#: Numbers of revisions fit into a signed 64-bit column of either database.
RevisionNumber = Annotated[int, Field(strict=False, ge=1, le=2**53), _JSON_INTEGER]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PeerBody(_Body):
    """Which PE it is about."""

    peer: Name = Field(description="The PE's name.", examples=["pe-e1"])


class AdoptBody(_Body):
    """Which router's own numbers to reserve."""

    router: Name = Field(description="The router's name.", examples=["pe-c2a"])
    author: Name = Field(default="api", description="Who asks; kept in the history.")


class RoutersBody(_Body):
    """Which routers to ask; all managed ones when left out."""

    routers: Annotated[list[Name], Field(max_length=1000)] = []


class DriftBody(RoutersBody):
    """Which routers to compare with what they shall have, and whether to mend them."""

    fix: bool = Field(default=False, description="Give them what they shall have.")
    author: Name = Field(default="api", description="Who asks; told in the log.")


class DrainBody(PeerBody):
    """Which PE is to be drained, or not any more."""

    draining: bool = Field(True, description="False ends it.")


class NothingBody(_Body):
    """Nothing is to be said."""


#: Names of policy files, to leave what else was edited for later.
PolicyFiles = Annotated[
    list[Name],
    Field(
        max_length=1000,
        description="Take only these files of the policy directory; all of it when left out.",
    ),
]


class Doing(_Body):
    """What every change that is carried out may say."""

    plan_id: Annotated[str, Field(max_length=200)] | None = Field(
        default=None, description="Refuse with `stale` unless the plan still has this id."
    )
    base: RevisionNumber | None = Field(
        default=None, description="Refuse with `stale` unless this is the present revision."
    )
    confirm_s: Annotated[float, Field(gt=0, le=7 * 86400)] | None = Field(
        default=None, description="Seconds until the change is undone unless it is confirmed."
    )
    author: Name = Field(default="api", description="Who asks; kept in the history.")
    wait_s: Annotated[float, Field(ge=0, le=600)] = Field(
        default=10.0, description="Seconds to wait for the peers to take their UPDATEs."
    )


class ApplyBody(Doing):
    """Apply the policy directory as it is on disk, or some files of it."""

    files: PolicyFiles = []
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"author": "ada", "plan_id": "7f3a", "base": 41, "confirm_s": 300}]
        }
    )

    def request(self) -> PlanRequest:
        return PlanRequest("apply", files=tuple(self.files))


class SiteBody(Doing):
    """Add a site to a VPN, or take it away, in the policy file itself."""

    vpn: Name
    site: Name
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"vpn": "E1", "site": "cloud2", "author": "ada"}]}
    )

    def request(self, kind: Literal["extend", "retract"]) -> PlanRequest:
        return PlanRequest(kind, vpn=self.vpn, site=self.site)


class RollbackBody(Doing):
    """Bring back the policy of an earlier revision."""

    revision: RevisionNumber | None = Field(
        default=None, description="The present revision's parent when it is left out."
    )
    model_config = ConfigDict(json_schema_extra={"examples": [{"revision": 41, "author": "ada"}]})

    def request(self) -> PlanRequest:
        return PlanRequest("rollback", revision=self.revision)


class PlanBody(_Body):
    """A change to preview."""

    kind: Literal["apply", "extend", "retract", "rollback"] = "apply"
    vpn: Annotated[str, Field(max_length=200)] = ""
    site: Annotated[str, Field(max_length=200)] = ""
    revision: RevisionNumber | None = None
    files: PolicyFiles = []
    routes: Annotated[int, Field(strict=False, ge=0, le=1_000_000), _JSON_INTEGER] = Field(
        default=1000, description="How many route changes to list; all of them are counted."
    )
    check: bool = Field(
        default=True, description="Whether managed routers check it as they do before a commit."
    )
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"kind": "extend", "vpn": "E1", "site": "cloud2"}]}
    )

    def request(self) -> PlanRequest:
        return PlanRequest(
            self.kind,
            vpn=self.vpn,
            site=self.site,
            revision=self.revision,
            files=tuple(self.files),
        )


class ConfirmBody(_Body):
    """Keep the unconfirmed revision."""

    author: Name = "api"
    model_config = ConfigDict(json_schema_extra={"examples": [{"author": "ada"}]})
