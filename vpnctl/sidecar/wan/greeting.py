"""What a sidecar says first on each connection."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from vpnctl.errors import SidecarProtocolError

_MIGRATION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")
_INCARNATION = re.compile(r"[0-9a-f]{16}")


class Role(StrEnum):
    """Which end of the migration a sidecar is."""

    SOURCE = "source"
    DESTINATION = "destination"


@dataclass(frozen=True, slots=True)
class Greeting:
    """Who is there.

    ``migration``: name of the migration, the same on both sides and on every connection: 1 to 64
    letters, digits, dots, hyphens, underlines.  ``incarnation``: 16 hexadecimal digits, drawn anew
    by each process: a process that was started again has lost what the peer wants to go on with.
    ``codec``: what the codecs of the two sides have to agree on, in types that JSON knows.
    """

    migration: str
    role: Role
    incarnation: str
    codec: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> bytes:
        return json.dumps(
            {
                "migration": self.migration,
                "role": self.role.value,
                "incarnation": self.incarnation,
                "codec": dict(self.codec),
            },
            separators=(",", ":"),
        ).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Greeting:
        """Raises `SidecarProtocolError` when ``text`` is something else."""
        try:
            found = json.loads(text)
            greeting = cls(
                found["migration"], Role(found["role"]), found["incarnation"], found["codec"]
            )
            known = (
                len(found) == 4
                and is_migration(greeting.migration)
                and _INCARNATION.fullmatch(greeting.incarnation) is not None
                and isinstance(greeting.codec, dict)
            )
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise SidecarProtocolError("the peer's greeting makes no sense") from error
        if not known:
            raise SidecarProtocolError("the peer's greeting makes no sense")
        return greeting


def is_migration(name: str) -> bool:
    """Whether ``name`` can be the name of a migration."""
    return _MIGRATION.fullmatch(name) is not None
