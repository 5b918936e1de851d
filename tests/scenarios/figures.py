"""What a story measures: printed at the end of a run, recorded by ``make bench-stories``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

#: Under which name pytest carries figures in a test's ``user_properties``.
PROPERTY = "story figure"


@dataclass(frozen=True)
class Figure:
    """``seconds``: what was measured; ``at_most``: what it shall not exceed, if anything.

    ``note``: what a reader has to know beside it.
    """

    case: str
    seconds: float
    at_most: float | None = None
    note: str = ""

    def __str__(self) -> str:
        mark = ""
        if self.at_most is not None:
            verdict = "" if self.seconds <= self.at_most else ", MISSED"
            mark = f"  (mark: {self.at_most * 1000:.0f} ms{verdict})"
        return f"{self.case:60} {self.seconds * 1000:9.1f} ms{mark}"


class Figures:
    """Collects the figures of one test in its ``user_properties``; asserts nothing."""

    def __init__(self, properties: list[tuple[str, object]]) -> None:
        self._properties = properties

    def add(
        self, case: str, seconds: float, *, at_most: float | None = None, note: str = ""
    ) -> None:
        self._properties.append((PROPERTY, asdict(Figure(case, seconds, at_most, note))))


def figures_of(report: Any) -> list[Figure]:
    """The figures that a test's report carries."""
    return [Figure(**value) for name, value in report.user_properties if name == PROPERTY]
