"""The ``guard`` of a PE's session in ``network.yaml``, and what becomes of it in the model."""

from __future__ import annotations

import shlex
from ipaddress import IPv4Address, IPv6Address, ip_network
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

from annotated_types import MinLen
from pydantic import Field, field_validator, model_validator

from vpnctl.model import AoAlgorithm, AoKey, Beyond, Guard, Secret
from vpnctl.model.guard import DEFAULT_MEMORY
from vpnctl.ruleset.shape import OneOrMore, Shape
from vpnctl.ruleset.values import (
    OWN,
    AsCount,
    Command,
    Flag,
    HopNetwork,
    Hops,
    KeyId,
    Mebibytes,
    PathCount,
    Pause,
    Percent,
    RouteCount,
    Text,
    Variable,
    mistake,
    one_of,
)

#: Stands for the PE's name where a secret is to be had.
PE = "{pe}"

BeyondWord = Annotated[str, *one_of(tuple(Beyond), "action", "actions")]
AlgorithmWord = Annotated[str, *one_of(tuple(AoAlgorithm), "algorithm", "algorithms")]


class SecretEntry(Shape):
    """Where a secret is: exactly one of these.  `{pe}` stands for the PE's name."""

    file: Text | None = Field(
        None,
        description="Path of a file on the controller's machine that others cannot read.",
        examples=["/etc/vpnctl/md5/pe-e1"],
    )
    environment: Variable | None = Field(
        None,
        description="Variable in the environment of `vpnctl serve`.",
        examples=["VPNCTL_MD5_PE_E1"],
    )
    command: Command | None = Field(
        None,
        description="Program and arguments, run without a shell; what it prints is the secret.",
        examples=["pass show bgp/pe-e1"],
    )

    @model_validator(mode="before")
    @classmethod
    def _not_the_secret(cls, value: object) -> object:
        if isinstance(value, str):
            raise mistake(
                "a secret is not written into the policy", "write {file: PATH}, and keep it there"
            )
        return value

    @model_validator(mode="after")
    def _one_place(self) -> SecretEntry:
        if sum(each is not None for each in (self.file, self.environment, self.command)) != 1:
            raise mistake(
                "must name one place", "write one of file, environment and command, and only one"
            )
        return self


class AoKeyEntry(SecretEntry):
    """One key of TCP-AO: its ids at both ends, and exactly one place where it is."""

    send: KeyId = Field(description="KeyID of the segments that we send, 0 to 255.", examples=[1])
    receive: KeyId = Field(
        description="KeyID of the segments that the PE sends, 0 to 255.", examples=[1]
    )
    algorithm: AlgorithmWord = Field(
        AoAlgorithm.AES_CMAC,
        description="`aes-128-cmac-96`, the default, or `hmac-sha-1-96` (RFC 5926), or "
        "`hmac-sha-256-128`.",
        examples=["hmac-sha-1-96"],
    )


class RoutesEntry(Shape):
    """Most routes of each family; one number is for each of them."""

    short_form: ClassVar[tuple[dict[str, Any], ...]] = ({"type": "integer", "minimum": 1},)

    vpnv4: RouteCount | None = Field(None, description="Most VPNv4 routes.", examples=[10000])
    vpnv6: RouteCount | None = Field(None, description="Most VPNv6 routes.", examples=[10000])
    vpls: RouteCount | None = Field(None, description="Most VPLS routes.", examples=[500])
    evpn: RouteCount | None = Field(None, description="Most EVPN routes.", examples=[20000])

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, value: object) -> object:
        return dict.fromkeys(cls.model_fields, value) if isinstance(value, str) else value


class GuardEntry(Shape):
    """What guards a PE's session.  What a PE leaves out is as the controller's `guard` says."""

    md5: SecretEntry | None = Field(
        None,
        description="Where the key is that signs every TCP segment of the session (RFC 2385).",
        examples=[{"file": "/etc/vpnctl/md5/pe-e1"}],
    )
    tcp_ao: Annotated[list[AoKeyEntry], MinLen(1)] | None = Field(
        None,
        description="Keys that authenticate every TCP segment of the session (TCP-AO, RFC 5925), "
        "the one to be used first; instead of `md5`.",
        examples=[[{"send": 1, "receive": 1, "file": "/etc/vpnctl/tcp-ao/pe-e1"}]],
    )
    hops: Hops | None = Field(
        None,
        description="The PE is at most so many hops away, and what comes from further is dropped "
        "(RFC 5082); the PE must send with a TTL of 255.",
        examples=[1],
    )
    routes: RoutesEntry | None = Field(
        None,
        description="Most routes of the PE: a number for each family, or a mapping family to "
        "number.",
        examples=[10000],
    )
    warn: Percent | None = Field(
        None,
        description="Share of `routes` at which it warns, in percent; default 80.",
        examples=[80],
    )
    beyond: BeyondWord | None = Field(
        None,
        description="What happens beyond `routes`, `paths` or `memory`: `warn`, `refuse` what "
        "goes beyond, or `shutdown` of the session, which is the default.",
        examples=["refuse"],
    )
    restart: Pause | None = Field(
        None,
        description="Seconds until a session that was shut down may come back; 0: not before "
        "`vpnctl session reset`; default 300.",
        examples=[300],
    )
    paths: PathCount | None = Field(
        None, description="Most different sets of path attributes of the PE.", examples=[50000]
    )
    memory: Mebibytes | None = Field(
        None,
        description="Most memory for the PE's routes, about, in MiB; default 1024.",
        examples=[256],
    )
    next_hops: OneOrMore[HopNetwork] | None = Field(
        None,
        description="Where the PE's next hops may be: `own` for its own address, or networks; "
        "default anywhere.",
        examples=[["own", "10.0.1.0/24"]],
    )
    as_path: AsCount | None = Field(
        None, description="Most AS numbers in an AS_PATH.", examples=[32]
    )
    first_as: Flag | None = Field(
        None,
        description="The AS_PATH of an external PE must begin with its own AS; default true.",
        examples=[True],
    )

    @field_validator("tcp_ao")
    @classmethod
    def _ids_differ(cls, keys: list[AoKeyEntry] | None) -> list[AoKeyEntry] | None:
        for name in ("send", "receive"):
            ids = [getattr(key, name) for key in keys or ()]
            twice = next((each for each in ids if ids.count(each) > 1), None)
            if twice is not None:
                raise mistake(
                    f"two keys have the {name} id {twice}",
                    "give every key ids of its own (RFC 5925 section 3.1)",
                )
        return keys

    @model_validator(mode="after")
    def _one_signature(self) -> GuardEntry:
        if self.md5 is not None and self.tcp_ao is not None:
            raise mistake(
                "has both md5 and tcp_ao", "a session has one of them (RFC 5925 section 1.1)"
            )
        return self


def guard_of(
    entry: GuardEntry | None,
    default: GuardEntry | None,
    pe: str,
    address: IPv4Address | IPv6Address,
) -> Guard:
    """The guard of a PE: what its entry says and, where that says nothing, the controller's."""
    found: dict[str, Any] = {}
    for each in (default, entry):
        if each is not None:
            if each.md5 is not None or each.tcp_ao is not None:
                # One of them here stands for whichever the controller has for all.
                found = {key: found[key] for key in found.keys() - {"md5", "tcp_ao"}}
            found.update(
                (name, value)
                for name in GuardEntry.model_fields
                if (value := getattr(each, name)) is not None
            )
    routes: RoutesEntry | None = found.get("routes")
    counts = {} if routes is None else {k: v for k, v in routes.model_dump().items() if v}
    return Guard(
        md5=_secret(found["md5"], pe) if "md5" in found else None,
        tcp_ao=tuple(_ao_key(key, pe) for key in found.get("tcp_ao", ())),
        hops=found.get("hops"),
        routes=MappingProxyType(counts),
        warn=found.get("warn", 80),
        beyond=Beyond(found.get("beyond", Beyond.SHUTDOWN)),
        restart=found.get("restart", 300),
        paths=found.get("paths"),
        memory=found["memory"] << 20 if "memory" in found else DEFAULT_MEMORY,
        next_hops=tuple(
            ip_network(address) if network == OWN else network
            for network in found.get("next_hops", ())
        ),
        as_path=found.get("as_path"),
        first_as=found.get("first_as", True),
    )


def _ao_key(entry: AoKeyEntry, pe: str) -> AoKey:
    return AoKey(entry.send, entry.receive, AoAlgorithm(entry.algorithm), _secret(entry, pe))


def _secret(entry: SecretEntry, pe: str) -> Secret:
    return Secret(
        file=(entry.file or "").replace(PE, pe),
        environment=entry.environment or "",
        command=tuple(word.replace(PE, pe) for word in shlex.split(entry.command or "")),
    )
