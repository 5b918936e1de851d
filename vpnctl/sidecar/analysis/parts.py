"""What can be asked of files."""

from __future__ import annotations

from enum import StrEnum


class Part(StrEnum):
    """Each is one or more readings of every file."""

    SCHEMES = "schemes"
    BLOCKS = "blocks"
    DELTAS = "deltas"
    CHUNKS = "chunks"
