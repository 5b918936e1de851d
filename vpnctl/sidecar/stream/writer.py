"""Events to the octets they came from."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from vpnctl.sidecar.stream.events import Event, Octets, Opaque, Pages
from vpnctl.sidecar.stream.format import HEADER_SIZE, PAGE_SIZE


def octets_of(event: Event) -> Octets:
    """What ``event`` is in the stream; ``event.size`` octets."""
    if isinstance(event, Opaque):
        return event.octets
    out = np.empty(event.size, np.uint8)
    headers = event.headers.astype(">u8").view(np.uint8).reshape(-1, HEADER_SIZE)
    position = record = full = zero = 0
    fills = np.frombuffer(event.fills, np.uint8)
    if event.names_block:
        # The name stands between the first header and its page: that record is written alone.
        name = bytes([len(event.block)]) + event.block
        body = event.contents[0] if event.is_full[0] else fills[:1]
        first = headers[0].tobytes() + name + body.tobytes()
        position = len(first)
        out[:position] = np.frombuffer(first, np.uint8)
        record = 1
        full, zero = (1, 0) if event.is_full[0] else (0, 1)
    for count, is_full in _runs(event, record):
        width = HEADER_SIZE + (PAGE_SIZE if is_full else 1)
        rows = out[position : position + count * width].reshape(count, width)
        rows[:, :HEADER_SIZE] = headers[record : record + count]
        if is_full:
            rows[:, HEADER_SIZE:] = event.contents[full : full + count]
            full += count
        else:
            rows[:, HEADER_SIZE] = fills[zero : zero + count]
            zero += count
        position += count * width
        record += count
    return out.data


def _runs(event: Pages, begin: int) -> Iterator[tuple[int, bool]]:
    """``(count, is_full)`` of each run of records of one kind, from record ``begin`` on."""
    kinds = event.is_full[begin:]
    if not len(kinds):
        return
    edges = np.flatnonzero(kinds[1:] != kinds[:-1]) + 1
    bounds = [0, *edges.tolist(), len(kinds)]
    is_full = bool(kinds[0])
    for low, high in pairwise(bounds):
        yield high - low, is_full
        is_full = not is_full
