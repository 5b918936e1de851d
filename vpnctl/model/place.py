"""Places in the operator's files."""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """Where in the operator's files something is said; ``line`` and ``column`` count from 1."""

    file: str
    line: int
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"
