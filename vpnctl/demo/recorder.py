"""Run by a demo PE's ExaBGP: keeps what the PE received in a file.

``python -m vpnctl.demo.recorder FILE`` reads ExaBGP's JSON from standard input and, after every
message, replaces FILE by a JSON list of the VPN-IPv4 routes that the PE holds now.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_FAMILY = "ipv4 mpls-vpn"

Key = tuple[str, str]


def _announced(update: dict[str, Any]) -> Iterator[tuple[Key, dict[str, Any]]]:
    communities = update.get("attribute", {}).get("extended-community", [])
    targets = sorted(
        str(community["string"]).removeprefix("target:")
        for community in communities
        if str(community["string"]).startswith("target:")
    )
    for next_hop, routes in update.get("announce", {}).get(_FAMILY, {}).items():
        for route in routes:
            yield (
                (route["rd"], route["nlri"]),
                {
                    "rd": route["rd"],
                    "prefix": route["nlri"],
                    "targets": targets,
                    "next_hop": next_hop,
                },
            )


def apply_message(held: dict[Key, dict[str, Any]], message: dict[str, Any]) -> None:
    """Bring ``held`` up to date with one message of ExaBGP's."""
    update = message.get("neighbor", {}).get("message", {}).get("update")
    if update is None:
        return
    for route in update.get("withdraw", {}).get(_FAMILY, []):
        held.pop((route["rd"], route["nlri"]), None)
    held.update(_announced(update))


def main() -> None:
    """Read until ExaBGP closes the pipe."""
    file = Path(sys.argv[1])
    held: dict[Key, dict[str, Any]] = {}
    for line in sys.stdin:
        if not line.startswith("{"):
            continue
        apply_message(held, json.loads(line))
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps([held[key] for key in sorted(held)]))
        os.replace(fresh, file)  # noqa: PTH105


if __name__ == "__main__":
    main()
