"""What a platform can do and how it is written: the content of one folder of ``router_templates``.

A platform is data: ``profile.yaml`` and Jinja2 templates beside it.  Nothing here reads files;
`vpnctl.provisioning.profile_files` does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from vpnctl.errors import UsageError
from vpnctl.model import Service
from vpnctl.model.family import SESSION_FAMILIES

#: How a platform is spoken to: Junos' own RPCs, RFC 6241, FRR's command line.
Format = Literal["junos-xml", "netconf-xml", "frr"]

_RANGE = re.compile(r"([0-9]{1,10})-([0-9]{1,10})")


class Limits(BaseModel):
    """What the platform takes; a number outside is refused before anything is sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: Characters of a name, as a regular expression that has to match the whole of it.
    name: str = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,126}"
    vlan: tuple[int, int] = (1, 4094)
    unit: tuple[int, int] = (0, 0xFFFFFFFF)
    ve_id: tuple[int, int] = (1, 0xFFFF)
    #: Sizes of a label block; empty: any.
    label_block_size: tuple[int, ...] = ()
    vni: tuple[int, int] = (1, 0xFFFFFF)
    #: How many targets an endpoint may have in each direction; `None`: any number.
    targets: int | None = None
    #: Whether a small AS in four octets (``65000L:100``) can be said.
    four_octet_form: bool = False
    #: TCP port of the controller to which the router can connect; `None`: any.
    bgp_port: int | None = None

    @field_validator("vlan", "unit", "ve_id", "vni", mode="before")
    @classmethod
    def _range(cls, value: object) -> object:
        match = _RANGE.fullmatch(value) if isinstance(value, str) else None
        if match is None or int(match[1]) > int(match[2]):
            raise ValueError("write a range like 1-4094")
        return int(match[1]), int(match[2])

    @field_validator("name")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from None
        return value


class Profile(BaseModel):
    """One platform.

    ``services``: what can be provisioned; with none, the session with the controller alone is
    ours.  ``announces``: whether a new endpoint announces a route as soon as it is configured,
    whatever is attached to it; then a change waits for that.  ``logical_system``: the name of the
    virtual router in which everything is put, on platforms that have them.  ``unique``: numbers
    of which the router takes each once, besides names and route distinguishers.  ``keys``: names
    of leaves that are the key of a list where they come first in an element.  ``in_use``: where a
    ``netconf-xml`` configuration has numbers, as the last elements of their paths.  ``templates``
    are rendered one after the other.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Format
    description: str = ""
    services: tuple[Literal["vpls", "evpn"], ...] = ()
    families: tuple[str, ...] = Field(min_length=1)
    announces: bool = False
    logical_system: str | None = None
    port: bool = True
    untagged: bool = True
    double_tagged: bool = True
    unique: tuple[Literal["vni"], ...] = ()
    keys: tuple[str, ...] = ("name",)
    limits: Limits = Limits()
    in_use: Mapping[Literal["vlan", "vni", "rd", "route-target"], tuple[str, ...]] = Field(
        default_factory=dict
    )
    templates: tuple[str, ...] = Field(min_length=1)

    @field_validator("families")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in value if name not in SESSION_FAMILIES]
        if unknown:
            known = ", ".join(SESSION_FAMILIES)
            raise ValueError(f"no family is called {unknown[0]!r}; known: {known}")
        return value

    def provisions(self, service: Service) -> bool:
        """Whether an endpoint of the service can be made."""
        return service.value in self.services


@dataclass(frozen=True, slots=True, eq=False)
class Platform:
    """A profile with the text of its templates, by file name, and of those that all share.

    ``own``: whether an operator has written it.
    """

    name: str
    profile: Profile
    templates: Mapping[str, str]
    own: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Profiles:
    """Every platform that is known, by name."""

    platforms: Mapping[str, Platform]

    def get(self, name: str) -> Platform | None:
        """The platform of that name."""
        return self.platforms.get(name)

    def suggestion(self, name: str) -> str:
        """``; did you mean 'junos-mx'?`` where a name is close enough, else an empty string."""
        close = get_close_matches(name[:60], list(self.platforms), n=1)
        return f"; did you mean {close[0]!r}?" if close else ""


class ProfileError(UsageError):
    """A platform's folder has mistakes; ``mistakes`` are ``FILE: what is wrong``."""

    code: ClassVar[str] = "profile"

    def __init__(self, mistakes: list[str]) -> None:
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        super().__init__(
            "\n".join((f"{count} in the router templates", *mistakes)),
            hint="router_templates/README.md says what a platform's folder has",
        )
        self.mistakes = mistakes


def profile_of(content: Any, where: str) -> tuple[Profile | None, list[str]]:
    """The profile that ``profile.yaml`` says, or what is wrong with it, as ``WHERE: KEY: what``."""
    if not isinstance(content, dict):
        return None, [f"{where}: must be a mapping, beginning with `format: junos-xml`, say"]
    try:
        return Profile.model_validate(content), []
    except ValidationError as error:
        return None, [
            f"{where}: {'.'.join(map(str, one['loc']))}: "
            + one["msg"].removeprefix("Value error, ")
            for one in error.errors()
        ]
