"""What each stage was given, what it made of it, and how often it found something."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class StageCount:
    """``octets_in`` of contents that the stage took over, ``octets_out`` that it left of them.

    ``tried``: pages (`Statistics.delta`), blocks (``content``, ``site``), passages (``text``) or
    payloads (``compress``) that were looked at; ``hits``: of them, those it made smaller; of
    passages, those that are text, which numbers can make longer for zstd to make shorter.
    """

    tried: int = 0
    hits: int = 0
    octets_in: int = 0
    octets_out: int = 0

    @property
    def saved(self) -> int:
        """Octets that later stages did not see."""
        return self.octets_in - self.octets_out


@dataclass(slots=True)
class Statistics:
    """Of one encoder or one decoder, since its migration began.

    ``stream``: octets of the guest's migration stream; ``wire``: octets of payloads;
    ``pages``: pages with contents; ``fills``: pages that QEMU itself said to be one octet
    repeated.
    """

    stream: int = 0
    wire: int = 0
    pages: int = 0
    fills: int = 0
    delta: StageCount = field(default_factory=StageCount)
    content: StageCount = field(default_factory=StageCount)
    site: StageCount = field(default_factory=StageCount)
    text: StageCount = field(default_factory=StageCount)
    compress: StageCount = field(default_factory=StageCount)
