"""What a running link says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from vpnctl.lab.wan.devices import LinkEnd
from vpnctl.lab.wan.figures import WanFigures


class Method(Enum):
    """How a link is emulated: by the kernel, or by a process of ours."""

    NETEM = "netem"
    RELAY = "relay"


@dataclass(frozen=True, slots=True)
class Direction:
    """Frames from ``source`` to ``sink`` since the link was made.

    ``forwarded`` frames of ``octets``; ``dropped``: frames by cause; ``queued``: frames under way.
    """

    source: LinkEnd
    sink: LinkEnd
    forwarded: int
    octets: int
    dropped: Mapping[str, int]
    queued: int


@dataclass(frozen=True, slots=True)
class WanStatus:
    """``pid``: of the relay, ``None`` where there is none."""

    method: Method
    pid: int | None
    figures: WanFigures
    is_cut: bool
    directions: tuple[Direction, Direction]
