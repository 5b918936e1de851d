"""What is said on a relay's control socket: one JSON object a packet, asked and answered."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from vpnctl.lab.wan.figures import WanFigures
from vpnctl.lab.wan.pipe import Counters, Pipe

#: Octets of the longest packet.
MOST = 8192


@dataclass(frozen=True, slots=True)
class RelayState:
    """``counters`` and ``under_way`` (frames): from the first end to the second, then back."""

    figures: WanFigures
    is_cut: bool
    counters: tuple[Counters, Counters]
    under_way: tuple[int, int]


def change(figures: WanFigures) -> bytes:
    """Ask for other figures."""
    return _encode({"do": "change", "figures": asdict(figures)})


def ask(what: str) -> bytes:
    """Ask for ``cut``, ``heal`` or ``status``."""
    return _encode({"do": what})


def answer(request: bytes, figures: WanFigures, pipes: tuple[Pipe, Pipe]) -> tuple[bytes, Any]:
    """Do what is asked; the answer, and the figures that hold from now on."""
    try:
        asked = json.loads(request)
        match asked["do"]:
            case "change":
                figures = WanFigures(**asked["figures"])
                for pipe in pipes:
                    pipe.change(figures)
            case "cut":
                for pipe in pipes:
                    pipe.cut()
            case "heal":
                for pipe in pipes:
                    pipe.heal()
            case "status":
                pass
            case other:
                raise ValueError(f"{other!r} is none of change, cut, heal, status")
    except (ValueError, KeyError, TypeError) as error:
        return _encode({"error": f"{type(error).__name__}: {error}"}), figures
    return _encode(
        {
            "figures": asdict(figures),
            "is_cut": pipes[0].is_cut,
            "counters": [asdict(pipe.counters) for pipe in pipes],
            "under_way": [len(pipe) for pipe in pipes],
        }
    ), figures


def read_answer(answer: bytes) -> RelayState:
    """Raises `ValueError` with what the relay complains about, or when it is no answer."""
    try:
        said = json.loads(answer)
        if "error" in said:
            raise ValueError(said["error"])
        first, second = (Counters(**each) for each in said["counters"])
        there, back = said["under_way"]
        return RelayState(
            WanFigures(**said["figures"]), said["is_cut"], (first, second), (there, back)
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"no answer of a relay: {answer[:80]!r}") from error


def _encode(said: dict[str, Any]) -> bytes:
    return json.dumps(said).encode()
