"""What several commands of ``vpnctl sidecar`` take."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar, cast

import typer

from vpnctl.cli.settings import Settings
from vpnctl.cli.sidecar.quantities import parse_size
from vpnctl.errors import UsageError

if TYPE_CHECKING:
    from vpnctl.sidecar.elimination import Options
    from vpnctl.sidecar.run.settings import SiteDirectory
    from vpnctl.sidecar.wan.address import Address
    from vpnctl.sidecar.wan.limits import Limits
    from vpnctl.sidecar.wan.tls import Tls

_Read = TypeVar("_Read")

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

#: What both sides take unless told.
RESUME_S = 60.0
KEEPALIVE_S = 3.0
SITE_SIZE = "8G"

#: What ``--stages`` may be beside a list of stages.
_SETS = {
    "all": ("delta", "content", "site", "text", "compress"),
    "zstd": ("compress",),
    "none": (),
}
_STAGES = _SETS["all"]


class Reader:
    """Reads options one by one, and tells everything that is wrong with them at once.

    What it gives for an option that is wrong serves to read others alone; `tell` comes before.
    """

    def __init__(self) -> None:
        self._wrong: dict[str, str] = {}

    def __call__(
        self, read: Callable[[], _Read], option: str = "", *, instead: _Read | None = None
    ) -> _Read:
        """What ``read`` gives, or ``instead``.

        ``option``: whose text it reads, where its errors do not say so.
        """
        try:
            return read()
        except UsageError as error:
            self._wrong[f"{option}: {error.message}" if option else error.message] = error.hint
            return cast("_Read", instead)

    def tell(self) -> None:
        """Raise one `UsageError` for all that was wrong, each with its remedy."""
        if len(self._wrong) == 1:
            ((message, hint),) = self._wrong.items()
            raise UsageError(message, hint=hint)
        if self._wrong:
            lines = (": ".join(filter(None, wrong)) for wrong in self._wrong.items())
            raise UsageError("\n       ".join(lines))


def tls_of(settings: Settings, plain: bool, peer_name: str, where: Address | None) -> Tls | None:
    """The certificates of ``--cert``, ``--key`` and ``--ca``, or None for ``--plain``.

    ``where``: the address that is connected to, or listened on; None when it makes no sense.
    Raises `UsageError` when something is missing, or too much.
    """
    from vpnctl.sidecar.wan.address import check_plain
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
        if where is not None:
            check_plain(where)
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

    ``has_site``: whether there is a site cache; without it, ``all`` does without, too, and without
    ``text`` where the kernel was not compiled, as in Python it is slower than any link.
    """
    from vpnctl.sidecar.elimination import Options, kernel

    chosen = _SETS.get(text, tuple(text.split(",")))
    if text == "all":
        missing = {"site"} if not has_site else set()
        missing |= {"text"} if kernel.NAME == "portable" else set()
        chosen = tuple(name for name in chosen if name not in missing)
    unknown = [name for name in chosen if name not in _STAGES]
    if unknown:
        raise UsageError(
            f"--stages: {', '.join(map(repr, unknown))} is no stage",
            hint=f"choose from {', '.join(_STAGES)}, separated by commas; or all, zstd, none",
        )
    if "site" in chosen and not has_site:
        raise UsageError(
            "the stage site has no directory", hint="name one with --site-cache, or do without"
        )
    return Options(**{name: name in chosen for name in _STAGES}, **numbers)  # type: ignore[arg-type]


def limits_of(resume: float, keepalive: float, *, patient: bool) -> Limits:
    """``--resume`` and ``--keepalive``; ``patient``: wait for the peer for ever at first.

    Raises `UsageError` unless both are positive and no longer than a week.
    """
    from vpnctl.sidecar.wan.limits import Limits

    wrong = [
        f"--{name}: {value:g} seconds is not 0.1 to {7 * 86400}"
        for name, value in (("resume", resume), ("keepalive", keepalive))
        if not 0.1 <= value <= 7 * 86400
    ]
    if wrong:
        raise UsageError("; ".join(wrong), hint="60 is a minute")
    if patient:
        return Limits(connect_s=None, resume_s=resume, keepalive_s=keepalive)
    return Limits(resume_s=resume, keepalive_s=keepalive)


def migration_of(name: str) -> str:
    """``--migration``, or a name that no other migration has; raises `UsageError`."""
    from vpnctl.sidecar.wan.greeting import is_migration

    if name and not is_migration(name):
        raise UsageError(
            f"--migration: {name!r} is no name",
            hint="1 to 64 letters, digits, dots, hyphens and underlines",
        )
    return name or secrets.token_hex(8)


def metrics_of(text: str) -> Address | None:
    """``--metrics``; raises `UsageError` when it is no address on loopback."""
    from vpnctl.sidecar.wan.address import Address

    return Address.parse(text) if text else None


def default_control(qemu: Path) -> Path:
    """Beside QEMU's socket."""
    return qemu.with_name(qemu.name + ".control")
