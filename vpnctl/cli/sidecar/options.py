"""What several commands of ``vpnctl sidecar`` take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vpnctl.cli.settings import Settings
from vpnctl.cli.sidecar.quantities import parse_size
from vpnctl.errors import UsageError

if TYPE_CHECKING:
    from vpnctl.sidecar.elimination import Options
    from vpnctl.sidecar.run.settings import SiteDirectory
    from vpnctl.sidecar.wan.tls import Tls

PEER_PANEL = "The other site"
STAGES_PANEL = "What makes the stream small"

Plain = Annotated[
    bool,
    typer.Option("--plain", help="No TLS; on loopback only.", rich_help_panel=PEER_PANEL),
]
Resume = Annotated[
    float,
    typer.Option(
        "--resume",
        metavar="SECONDS",
        help="Give up when a cut connection is not made again within this time.",
        rich_help_panel=PEER_PANEL,
    ),
]
Keepalive = Annotated[
    float,
    typer.Option(
        "--keepalive",
        metavar="SECONDS",
        help="Say so often at least that we are there; three times as much silence is a cut.",
        rich_help_panel=PEER_PANEL,
    ),
]
Metrics = Annotated[
    str,
    typer.Option(
        "--metrics", metavar="ADDRESS:PORT", help="Serve /metrics for Prometheus; loopback only."
    ),
]

SiteCacheDirectory = Annotated[
    Path | None,
    typer.Option(
        "--site-cache",
        metavar="DIR",
        help="Keep blocks here for later migrations of all guests; both sites need one.",
        rich_help_panel=STAGES_PANEL,
    ),
]
SiteCacheSize = Annotated[
    str,
    typer.Option(
        "--site-size",
        metavar="SIZE",
        help="Octets that --site-cache may take on disk.",
        rich_help_panel=STAGES_PANEL,
    ),
]

#: What ``--stages`` may be beside a list of stages.
_SETS = {
    "all": ("delta", "content", "site", "compress"),
    "zstd": ("compress",),
    "none": (),
}
_STAGES = _SETS["all"]


def tls_of(settings: Settings, plain: bool, peer_name: str) -> Tls | None:
    """The certificates of ``--cert``, ``--key`` and ``--ca``, or None for ``--plain``.

    Raises `UsageError` when something is missing, or too much.
    """
    from vpnctl.sidecar.wan.tls import Tls

    files = {
        "--cert": settings.certificate,
        "--key": settings.key,
        "--ca": settings.ca,
    }
    if plain:
        if any(files.values()):
            raise UsageError(
                "--plain and certificates contradict each other", hint="give one or the other"
            )
        return None
    missing = [name for name, file in files.items() if file is None]
    if missing:
        raise UsageError(
            f"{', '.join(missing)} missing: both sites show certificates",
            hint="'vpnctl pki init' and 'vpnctl pki issue' make them; --plain is for loopback",
        )
    if not peer_name:
        raise UsageError(
            "--peer-name is missing: whom the other site's certificate must be for",
            hint="give the name that 'vpnctl pki issue' was given for the other site",
        )
    assert settings.certificate is not None
    assert settings.key is not None
    assert settings.ca is not None
    return Tls(settings.certificate, settings.key, settings.ca, peer_name)


def site_of(directory: Path | None, size: str) -> SiteDirectory | None:
    """``--site-cache`` and ``--site-size``."""
    from vpnctl.sidecar.run.settings import SiteDirectory

    return None if directory is None else SiteDirectory(directory, parse_size(size))


def stages_of(text: str, has_site: bool, **numbers: int) -> Options:
    """``--stages``; ``numbers`` are the other fields of `Options`.  Raises `UsageError`.

    ``has_site``: whether there is a site cache; without it, ``all`` does without, too.
    """
    from vpnctl.sidecar.elimination import Options

    chosen = _SETS.get(text, tuple(text.split(",")))
    if text == "all" and not has_site:
        chosen = tuple(name for name in chosen if name != "site")
    unknown = [name for name in chosen if name not in _STAGES]
    if unknown:
        raise UsageError(
            f"--stages: {', '.join(map(repr, unknown))} is no stage",
            hint=f"choose from {', '.join(_STAGES)}, separated by commas; or all, zstd, none",
        )
    return Options(**{name: name in chosen for name in _STAGES}, **numbers)  # type: ignore[arg-type]


def check_times(**seconds: float) -> None:
    """Raise `UsageError` unless all are positive and no longer than a week."""
    for name, value in seconds.items():
        if not 0.1 <= value <= 7 * 86400:
            raise UsageError(
                f"--{name}: {value:g} seconds is not 0.1 to {7 * 86400}", hint="60 is a minute"
            )


def default_control(qemu: Path) -> Path:
    """Beside QEMU's socket."""
    return qemu.with_name(qemu.name + ".control")
