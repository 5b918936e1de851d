"""How much may be sent now."""

from __future__ import annotations


class TokenBucket:
    """Lets ``rate`` octets per second pass in the long run, in bursts of ``burst_s`` seconds.

    Time is given in seconds of any clock that does not go backwards.  ``rate`` None: no limit.
    A piece larger than the burst passes when the bucket is full, and is paid for afterwards.
    """

    def __init__(self, rate: float | None, now: float, burst_s: float = 0.02) -> None:
        self._burst_s = burst_s
        self._rate = rate
        self._tokens = 0.0
        self._then = now

    @property
    def rate(self) -> float | None:
        return self._rate

    def set_rate(self, rate: float | None, now: float) -> None:
        """Change the limit; what was owed at the old one is not owed any longer."""
        self._fill(now)
        self._rate = rate
        self._tokens = 0.0

    def delay(self, size: int, now: float) -> float:
        """Seconds to wait before ``size`` octets may go; 0 if now."""
        if self._rate is None:
            return 0.0
        self._fill(now)
        wanted = min(float(size), self._rate * self._burst_s)
        # Never less than what a clock can tell: the time would not pass.
        return max((wanted - self._tokens) / self._rate, 1e-6) if self._tokens < wanted else 0.0

    def spend(self, size: int) -> None:
        """``size`` octets went."""
        if self._rate is not None:
            self._tokens -= size

    def _fill(self, now: float) -> None:
        if self._rate is not None:
            full = self._rate * self._burst_s
            self._tokens = min(full, self._tokens + (now - self._then) * self._rate)
        self._then = now
