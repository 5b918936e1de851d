"""Writes what the templates make of the sample network: look at the difference before you commit.

``python -m tests.provisioning.rendering.regenerate``
"""

from __future__ import annotations

from pathlib import Path

from tests.provisioning.rendering.network import ROUTERS, intent, profiles
from vpnctl.provisioning.rendering import render

GOLDEN = Path(__file__).parent / "golden"


def golden(platform: str) -> Path:
    """Where what the platform's router shall have is kept."""
    return GOLDEN / f"{platform}.{'conf' if platform.startswith('frr') else 'xml'}"


def main() -> None:
    for platform, router in ROUTERS.items():
        golden(platform).write_text(render(intent(router), None, profiles()).content)


if __name__ == "__main__":
    main()
