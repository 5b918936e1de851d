"""What several commands of ``vpnctl pki`` take."""

from __future__ import annotations

from datetime import timedelta

from vpnctl.errors import UsageError

#: Thirty years; X.509 ends with the year 9999, and clocks with less.
_MOST_DAYS = 30 * 366


def lifetime(days: int) -> timedelta:
    """Raises `UsageError` unless ``days`` makes sense."""
    if not 1 <= days <= _MOST_DAYS:
        raise UsageError(f"--days: {days} is not 1 to {_MOST_DAYS}", hint="365 is a year")
    return timedelta(days=days)
