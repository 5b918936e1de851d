"""Rates, sizes and durations as people write and read them."""

from __future__ import annotations

import re

from vpnctl.errors import UsageError

_RATE_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_SIZE_UNITS = {"": 1, "k": 2**10, "M": 2**20, "G": 2**30}
_QUANTITY = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)([kMG]?)")


def parse_rate(text: str) -> int | None:
    """``100M`` is 100,000,000 bits per second, ``none`` no limit; `UsageError` for no rate."""
    if text == "none":
        return None
    return _parse(text, _RATE_UNITS, "rate", "write bits per second, e.g. 500k, 100M, 2.5G or none")


def parse_size(text: str) -> int:
    """``256M`` is 256 MiB; raises `UsageError` for what is no size."""
    return _parse(text, _SIZE_UNITS, "size", "write e.g. 512k, 256M or 2G")


def show_rate(octets_per_s: float) -> str:
    """In bits per second, e.g. ``93.1 Mb/s``."""
    bits = 8 * octets_per_s
    for unit in ("b/s", "kb/s", "Mb/s"):
        if bits < 1000:
            return f"{bits:.3g} {unit}"
        bits /= 1000
    return f"{bits:.3g} Gb/s"


def show_size(octets: float) -> str:
    """E.g. ``41.2 MB``."""
    for unit in ("B", "kB", "MB"):
        if abs(octets) < 1000:
            return f"{octets:.3g} {unit}"
        octets /= 1000
    return f"{octets:.4g} GB"


def show_seconds(seconds: float) -> str:
    """E.g. ``9 s`` or ``2 min 05 s``."""
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"


def _parse(text: str, units: dict[str, int], what: str, hint: str) -> int:
    found = _QUANTITY.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r} is no {what}", hint=hint)
    return round(float(found[1]) * units[found[2]])
