"""Label blocks and what two of them say about a pseudowire (RFC 4761 section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

#: Labels that a PE may hand out: below are the reserved ones (RFC 3032 section 2.1).
FIRST_LABEL, LAST_LABEL = 16, (1 << 20) - 1


@dataclass(frozen=True, slots=True, order=True)
class LabelBlock:
    """``size`` labels from ``base`` on, one for each VE-ID from ``offset`` on.

    In the RFC's letters: LB, VBO and VBS.
    """

    base: int
    offset: int
    size: int

    @property
    def labels(self) -> range:
        """Every label of the block."""
        return range(self.base, self.base + self.size)

    @property
    def ve_ids(self) -> range:
        """Every VE-ID that has a label here."""
        return range(self.offset, self.offset + self.size)

    def label(self, ve_id: int) -> int | None:
        """What the VE of that number puts on frames for the block's owner; ``None``: outside."""
        return self.base + ve_id - self.offset if ve_id in self.ve_ids else None

    def overlaps(self, other: LabelBlock) -> bool:
        """Whether a label is in both."""
        return self.base < other.base + other.size and other.base < self.base + self.size

    @property
    def mistake(self) -> str:
        """Why no PE can have this block, empty if one can."""
        if self.size < 1:
            return "its label block is empty"
        if self.base < FIRST_LABEL or self.base + self.size - 1 > LAST_LABEL:
            return (
                f"its labels {self.base} to {self.base + self.size - 1} are not within "
                f"{FIRST_LABEL} to {LAST_LABEL}"
            )
        return ""
