"""What a WAN link does to frames, as values, and as an operator writes and reads them."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Bit/s: below, a frame takes seconds; above, tc's 32-bit field of octets per second ends.
LEAST_RATE, MOST_RATE = 1_000, 34_000_000_000
#: Seconds.
MOST_DELAY = 10.0
#: What a router's buffer holds in front of the link: seconds of its rate, and full frames at least.
BUFFER_TIME, BUFFER_FRAMES = 0.05, 10

_QUANTITY = re.compile(r"\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[a-zA-Z/%]*)\s*\Z")
_RATES = {"bit": 1, "kbit": 1_000, "mbit": 1_000_000, "gbit": 1_000_000_000}
_RATES |= {"bit/s": 1, "kb/s": 1_000, "mb/s": 1_000_000, "gb/s": 1_000_000_000}
_TIMES = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_SHARES = {"%": 0.01, "": 1.0}


@dataclass(frozen=True, slots=True)
class WanFigures:
    """One direction of a link; both have the same.

    ``rate``: bit/s of Ethernet frames from the MAC header on, without FCS, as tc counts; ``None``:
    as fast as it goes.  ``delay``, ``jitter``: seconds one way; a frame takes ``delay`` +-
    ``jitter``, evenly spread, and none overtakes another.  ``loss``: fraction of frames lost, each
    on its own.  Raises `ValueError` with a sentence for the operator.
    """

    rate: int | None = None
    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0

    def __post_init__(self) -> None:
        if self.rate is not None and not LEAST_RATE <= self.rate <= MOST_RATE:
            raise ValueError(f"a rate of {self.rate} bit/s is not within 1 kb/s to 34 Gb/s")
        if not 0 <= self.delay <= MOST_DELAY:
            raise ValueError(f"a delay of {self.delay:g} s is not within 0 to {MOST_DELAY:g} s")
        if not 0 <= self.jitter <= self.delay:
            raise ValueError(
                f"a jitter of {show_time(self.jitter)} is not within 0 and the delay, "
                f"{show_time(self.delay)}"
            )
        if not 0 <= self.loss <= 1:
            raise ValueError(f"a loss of {self.loss:g} is not within 0 and 1, or 0 % to 100 %")

    def buffer_octets(self, mtu: int) -> int:
        """How much a router keeps in front of the link; only where there is a ``rate``."""
        return max(int((self.rate or 0) * BUFFER_TIME / 8), BUFFER_FRAMES * frame_octets(mtu))

    def __str__(self) -> str:
        """``465 Mb/s, 13.5 ms, 1 % lost``."""
        words = [show_rate(self.rate)] if self.rate is not None else []
        if self.delay:
            jitter = f" +- {show_time(self.jitter)}" if self.jitter else ""
            words.append(show_time(self.delay) + jitter)
        if self.loss:
            words.append(f"{self.loss * 100:.4g} % lost")
        return ", ".join(words) or "no limit, no delay"


def frame_octets(mtu: int) -> int:
    """The longest frame: MTU, MAC header, and a VLAN tag."""
    return mtu + 18


def parse_rate(text: str) -> int:
    """Bit/s from ``465mbit`` as tc writes it, or ``465 Mb/s``.

    Raises `ValueError` with a sentence for the operator.
    """
    return round(_quantity(text, _RATES, "rate", "write 465mbit or 2.5gbit"))


def parse_time(text: str) -> float:
    """Seconds from ``13.5ms``, ``30s`` or ``500us``.

    Raises `ValueError` with a sentence for the operator.
    """
    return _quantity(text, _TIMES, "time", "write 13.5ms or 30s")


def parse_loss(text: str) -> float:
    """A fraction from ``1%`` or ``0.01``.

    Raises `ValueError` with a sentence for the operator.
    """
    loss = _quantity(text, _SHARES, "loss", "write 1% or 0.01")
    if loss > 1:
        raise ValueError(f"{text!r} is no loss: it is more than all; write 1% or 0.01")
    return loss


def _quantity(text: str, units: dict[str, float] | dict[str, int], what: str, hint: str) -> float:
    match = _QUANTITY.match(text)
    if match is None or match["unit"].lower() not in units:
        raise ValueError(f"{text!r} is no {what}: {hint}")
    return float(match["number"]) * units[match["unit"].lower()]


def show_rate(rate: int) -> str:
    """``465 Mb/s``."""
    for unit, size in (("Gb/s", 1_000_000_000), ("Mb/s", 1_000_000), ("kb/s", 1_000)):
        if rate >= size:
            return f"{rate / size:.4g} {unit}"
    return f"{rate} bit/s"


def show_time(seconds: float) -> str:
    """``13.5 ms``."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds * 1e6:.4g} us" if seconds else "0 s"
