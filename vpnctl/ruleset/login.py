"""How the controller logs in to a PE, to configure it: ``netconf`` and ``frr`` of a PE."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from vpnctl.model import Frr, Netconf, Timeouts
from vpnctl.ruleset.shape import Shape
from vpnctl.ruleset.values import Address, Port, Text, leaf, mistake, whole_number
from vpnctl.yamltree.mistake import quote

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}=?")
_SECRETS = ("password", "passwd", "passphrase", "secret")


def _parse_host_key(written: str) -> str:
    if _FINGERPRINT.fullmatch(written) or written.startswith(("/", "~", "./", "../")):
        return written
    raise mistake(
        f"{quote(written)} is neither a fingerprint nor the path of a known_hosts file",
        "write SHA256:... as `ssh-keygen -lf KEY.pub` shows it, or a path with a / or ~ first",
    )


def _parse_seconds(written: str) -> int:
    return whole_number(written, 1, 3600, "number of seconds")


def _parse_route_seconds(written: str) -> int:
    # A router undoes by itself, after five minutes, what is not confirmed.
    return whole_number(written, 0, 120, "number of seconds")


#: A name in an operating system: of a user, or of a network namespace.
_SYSTEM_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}"


def _parse_system_name(written: str) -> str:
    if re.fullmatch(_SYSTEM_NAME, written) is None:
        raise mistake(
            f"{quote(written)} cannot be such a name",
            "write letters, digits and _ . @ + -, a letter, digit or _ first, 64 at most",
        )
    return written


def _parse_directory(written: str) -> str:
    if not written.startswith("/") or not written.isprintable():
        raise mistake(f"{quote(written)} is no directory", "write its path with a / first")
    return written


SystemName = Annotated[
    str, *leaf(_parse_system_name, {"type": "string", "pattern": f"^{_SYSTEM_NAME}$"})
]
Directory = Annotated[str, *leaf(_parse_directory, {"type": "string", "pattern": "^/"})]
HostKey = Annotated[
    str, *leaf(_parse_host_key, {"type": "string", "pattern": r"^(SHA256:|/|~|\.\.?/)"})
]
Seconds = Annotated[int, *leaf(_parse_seconds, {"type": "integer", "minimum": 1, "maximum": 3600})]
RouteSeconds = Annotated[
    int, *leaf(_parse_route_seconds, {"type": "integer", "minimum": 0, "maximum": 120})
]


class TimeoutsEntry(Shape):
    """How long to wait for the router, in seconds."""

    connect: Seconds = Field(10, description="For a session.", examples=[10])
    rpc: Seconds = Field(30, description="For an answer.", examples=[30])
    commit: Seconds = Field(
        120, description="For a commit; what takes longer is asked for later.", examples=[120]
    )
    route: RouteSeconds = Field(
        15,
        description="For the first route of a new endpoint, without which the change is taken "
        "back; 0: it is not waited for.",
        examples=[15],
    )


class _LoginEntry(Shape):
    """What NETCONF and SSH share."""

    key: Text = Field(
        "",
        description="Path of the private key on the controller's machine; default the SSH agent's "
        "keys.",
        examples=["~/.ssh/vpnctl"],
    )
    address: Address | None = Field(
        None, description="Where to log in; default the PE's address.", examples=["192.0.2.11"]
    )
    host_key: HostKey | None = Field(
        None,
        description="The router's own key: its fingerprint, or the path of a `known_hosts` file; "
        "default the user's `~/.ssh/known_hosts`.",
        examples=["SHA256:uNiVztksCsDhcc0u9e8BrrJXVGDAYDLmSgOkvAfnGq8"],
    )
    timeouts: TimeoutsEntry = Field(
        default_factory=lambda: TimeoutsEntry.model_validate({}),
        description="How long to wait for the router.",
    )

    @model_validator(mode="before")
    @classmethod
    def _no_secret(cls, value: object) -> object:
        # At the key: the reader takes that out, and goes on with what is beside it.
        found: list[InitErrorDetails] = [
            {"type": _no_place_for(name), "loc": (name,), "input": ""}
            for name in (value if isinstance(value, dict) else ())
            if name in _SECRETS
        ]
        if found:
            raise ValidationError.from_exception_data(cls.__name__, found)
        return value


def _no_place_for(name: str) -> PydanticCustomError:
    return mistake(
        f"a {name} does not belong in a policy",
        "take it out, give the router another one, and log in with a `key` or the SSH agent",
    )


class NetconfEntry(_LoginEntry):
    """How to log in to the PE over NETCONF; with it, the controller configures the PE."""

    user: SystemName = Field(description="User name.", examples=["vpnctl"])
    port: Port = Field(830, description="TCP port.", examples=[830])

    @property
    def model(self) -> Netconf:
        return Netconf(
            user=self.user,
            key=self.key,
            address=self.address,
            port=self.port,
            host_key=self.host_key or "",
            timeouts=_timeouts(self.timeouts),
        )


class FrrEntry(_LoginEntry):
    """How to reach the PE's `vtysh`: over SSH with a `user`, else on the controller's machine.

    With it, the controller configures the PE.
    """

    user: SystemName = Field("", description="User name for SSH.", examples=["vpnctl"])
    port: Port = Field(22, description="TCP port of SSH.", examples=[22])
    netns: SystemName = Field(
        "",
        description="Network namespace of the controller's machine in which FRR runs.",
        examples=["pe-c1"],
    )
    vty_socket: Directory = Field(
        "",
        description="Directory of FRR's sockets, where it is another than FRR's own.",
        examples=["/run/frr/pe-c1"],
    )

    @property
    def model(self) -> Frr:
        return Frr(
            netns=self.netns,
            vty_socket=self.vty_socket,
            user=self.user,
            key=self.key,
            address=self.address,
            port=self.port,
            host_key=self.host_key or "",
            timeouts=_timeouts(self.timeouts),
        )


def _timeouts(entry: TimeoutsEntry) -> Timeouts:
    return Timeouts(entry.connect, entry.rpc, entry.commit, entry.route)
