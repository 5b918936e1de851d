"""A unix socket to ask a running sidecar how far it is and to change its bandwidth limit.

One JSON object per line and direction::

    {"command": "status"}                      {"progress": {...}}
    {"command": "limit", "rate": 100000000}    {"progress": {...}}
    {"command": "limit", "rate": null}         {"error": "...", "hint": "..."}
    {"command": "pause", "far": true}          {"progress": {...}}

``rate`` is in bits per second, null for no limit.  ``far``: the guest is not paused for a while, so
that more may be under way; false, as at the beginning: it may be paused at any time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

from vpnctl.errors import NotFoundError, SidecarError, UsageError, VpnctlError
from vpnctl.sidecar.run.progress import Progress
from vpnctl.sidecar.run.qemu import unix_listener

#: Bits per second; below, a keepalive would take longer than the peer waits for it.
SLOWEST = 64_000
FASTEST = 1_000_000_000_000
_LONGEST_LINE = 4096
_PATIENCE_S = 10.0


class Sidecar(Protocol):
    """What can be asked of either end."""

    def progress(self) -> Progress: ...

    def set_rate(self, bits_per_s: int | None) -> None: ...

    def pause_is_far(self, far: bool) -> None: ...


@contextlib.asynccontextmanager
async def controlled(sidecar: Sidecar, path: Path) -> AsyncIterator[None]:
    """Answer at ``path`` while the block runs; raises `UsageError` when that cannot be had."""

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                writer.write(json.dumps(_answer(sidecar, line)).encode() + b"\n")
                await writer.drain()
        writer.close()

    with unix_listener(path) as listener:
        server = await asyncio.start_unix_server(visit, sock=listener, limit=_LONGEST_LINE)
        try:
            yield
        finally:
            server.close()


def check_rate(rate: object) -> int | None:
    """``rate`` in bits per second, None for no limit; raises `UsageError` for anything else."""
    if rate is None:
        return None
    if type(rate) is not int or not SLOWEST <= rate <= FASTEST:
        raise UsageError(
            f"a limit of {rate!r} bit/s is not {SLOWEST} to {FASTEST}",
            hint="write e.g. 100M, or 'none'",
        )
    return rate


def ask(path: Path, request: dict[str, Any]) -> dict[str, Any]:
    """What the sidecar at ``path`` answers, blocking.

    Raises `NotFoundError` when there is none, `UsageError` when it refuses.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(_PATIENCE_S)
            asking.connect(str(path))
            asking.sendall(json.dumps(request).encode() + b"\n")
            with asking.makefile("rb") as lines:
                line = lines.readline()
        answer = json.loads(line)
    except OSError as error:
        raise NotFoundError(
            f"no sidecar answers at {path}: {error.strerror or error}",
            hint="give the path that it said at its start: 'control at PATH'",
        ) from error
    except ValueError as error:
        raise SidecarError(
            f"what answers at {path} is no sidecar", hint="give the path of a sidecar's control"
        ) from error
    if "error" in answer:
        raise UsageError(str(answer["error"]), hint=str(answer.get("hint", "")))
    return dict(answer)


def _answer(sidecar: Sidecar, line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
        match request:
            case {"command": "status"}:
                pass
            case {"command": "limit", "rate": rate}:
                sidecar.set_rate(check_rate(rate))
            case {"command": "pause", "far": bool(far)}:
                sidecar.pause_is_far(far)
            case _:
                raise UsageError("the request is not known", hint="see vpnctl sidecar --help")
    except (ValueError, RecursionError):
        return {"error": "the request is no JSON", "hint": "write one object per line"}
    except VpnctlError as error:
        return {"error": error.message, "hint": error.hint}
    return {"progress": sidecar.progress().to_plain()}
