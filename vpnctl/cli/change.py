"""How every change goes: plan, show, ask, do, tell."""

from __future__ import annotations

import getpass
import re
import shutil
import sys
from collections.abc import Collection, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from vpnctl.cli.client import Client
from vpnctl.cli.decode import decode, decode_all
from vpnctl.cli.output import Format, paint, print_document, say
from vpnctl.cli.text import duration, plan_lines, timeline_lines, total_ms
from vpnctl.cli.timeline_svg import write as write_svg
from vpnctl.controller.requests import PlanRequest
from vpnctl.controller.views import Applied, Drift, Plan, Revision, RouterPlan, Vpn
from vpnctl.errors import ProvisioningError, UsageError

#: Seconds that routers may take at most, several attempts and slow commits included.
ROUTERS_S = 900.0
#: The same where they are only looked at.
ASKING_ROUTERS_S = 300.0

#: Routers whose trouble an error tells; the others are counted.
_NAMED = 3
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
_LONGEST_S = 7 * 86400

Only = Annotated[
    list[Path] | None,
    typer.Option(
        "--only",
        metavar="FILE",
        help="Take only this policy file as it is now, other edits later; may be repeated.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan and stop.")]
Routes = Annotated[
    bool, typer.Option("--routes", help="List each route that changes, however many.")
]
Confirm = Annotated[
    str,
    typer.Option(
        "--confirm",
        metavar="TIME",
        help="Undo the change after TIME (90s, 5m, 1h) unless 'vpnctl confirm' is run.",
    ),
]
TimelineSvg = Annotated[
    Path | None,
    typer.Option("--timeline-svg", metavar="FILE", help="Draw the timeline, too."),
]
Wait = Annotated[
    str,
    typer.Option(metavar="TIME", help="How long to wait for the peers to take the changes."),
]


def seconds(text: str, option: str) -> float:
    """``90``, ``90s``, ``5m`` or ``1h`` in seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    value = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if match is None or value > _LONGEST_S:
        raise UsageError(
            f"{option}: {text!r} is no time up to 7 days", hint="write it as 90s, 5m or 1h"
        )
    return value


def of_directory(only: Iterable[Path] | None) -> PlanRequest:
    """Apply the policy directory, or some files of it; their own directory is not looked at."""
    return PlanRequest("apply", files=tuple(path.name for path in only or ()))


def author() -> str:
    """Who is asking: the user's name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def fetch_plan(
    client: Client, request: PlanRequest, *, routes: int = 1000, check: bool = True
) -> dict[str, Any]:
    """The plan as the controller answers with it; ``check``: managed routers check it, too."""
    plan: dict[str, Any] = client.post(
        "plan", {**asdict(request), "routes": routes, "check": check}, wait_s=ASKING_ROUTERS_S
    )["plan"]
    return plan


def change(
    client: Client,
    request: PlanRequest,
    *,
    form: Format,
    yes: bool,
    confirm: str = "",
    wait: str = "10s",
    dry_run: bool = False,
    routes: bool = False,
    plan: dict[str, Any] | None = None,
    timeline_svg: Path | None = None,
) -> None:
    """Carry out ``request``; ``plan`` is one that was saved, else a new one is made and shown.

    ``timeline_svg``: a file for a picture of what took how long.
    """
    confirm_s = seconds(confirm, "--confirm") if confirm else None
    wait_s = seconds(wait, "--wait")
    planned = plan if plan is not None else fetch_plan(client, request, check=dry_run)
    shown = decode(Plan, planned)
    if form.for_people:
        print("\n".join(shown_lines(shown, form, routes=routes)), flush=True)
    if dry_run or shown.empty:
        if not form.for_people:
            print_document({"plan": planned}, form)
        refuse_troubled(shown)
        return
    if not yes:
        _ask(shown, form)
    body: dict[str, Any] = {
        "plan_id": shown.id,
        "author": author(),
        "wait_s": wait_s,
    }
    if shown.base is not None:
        body["base"] = shown.base
    if confirm_s is not None:
        body["confirm_s"] = confirm_s
    if request.files:
        body["files"] = request.files
    if request.kind in ("extend", "retract"):
        body.update(vpn=request.vpn, site=request.site)
    elif request.kind == "rollback":
        body["revision"] = request.revision
    patience_s = wait_s + (ROUTERS_S if shown.routers else 0)
    answer = client.post(request.kind, body, wait_s=patience_s)
    applied = decode(Applied, answer["applied"])
    if form.for_people:
        _tell(client, request, applied)
    else:
        print_document({"applied": answer["applied"]}, form)
    if timeline_svg is not None:
        write_svg(timeline_svg, applied.timeline, applied.revision.summary)
    if applied.silent:
        _warn(
            f"no route of the new endpoint heard yet from: {', '.join(applied.silent)}"
            " ('vpnctl doctor' tells more)"
        )
    if not applied.complete:
        _warn(f"not taken by every peer yet: {', '.join(applied.waiting)} ('vpnctl show peers')")
    # The policy is in force, and still an address may be somebody else's, say.
    for problem in client.get("status")["status"]["problems"]:
        _warn(problem)


def shown_lines(plan: Plan, form: Format, *, routes: bool) -> list[str]:
    """A plan for people; nothing of the routers' configurations is cut but on a terminal."""
    wide = form is Format.WIDE
    return plan_lines(plan, routes=routes, wide=wide, whole=not sys.stdout.isatty())


def refuse_troubled(plan: Plan) -> None:
    """Raises `ProvisioningError` where routers could not be asked, or would refuse the plan."""
    raise_troubles("this cannot be done as things are", plan.routers)


def raise_troubles(what: str, routers: Iterable[RouterPlan | Drift]) -> None:
    """Raises `ProvisioningError` with each router's trouble, if there is any.

    What was asked for is on standard output by then, with the same words beside each router; the
    error has them as well, because the two need not go to the same place.
    """
    troubled = [one for one in routers if one.trouble]
    if not troubled:
        return
    named = [
        one.trouble if one.router in one.trouble else f"{one.router}: {one.trouble}"
        for one in troubled[:_NAMED]
    ]
    more = f"; and {len(troubled) - _NAMED} more" if len(troubled) > _NAMED else ""
    names = " ".join(one.router for one in troubled[:_NAMED])
    raise ProvisioningError(
        f"{what}: {'; '.join(named)}{more}", hint=f"'vpnctl doctor {names}' may tell more"
    )


def _warn(message: str) -> None:
    say(f"{paint('warning:', 'yellow', sys.stderr)} {message}")


def _ask(plan: Plan, form: Format) -> None:
    """Ask on a terminal, else demand ``--yes``; ends the command unless the answer is yes."""
    if not sys.stdin.isatty():
        raise UsageError(
            "there is no terminal to ask on, so nothing was applied",
            hint="repeat it with --yes, or see what it would do with 'vpnctl plan' or --dry-run",
        )
    if not form.for_people:
        say("\n".join(plan_lines(plan)))
    print("Apply? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        say("nothing was applied")
        raise typer.Exit(1)


def _tell(client: Client, request: PlanRequest, applied: Applied) -> None:
    lines = timeline_lines(applied.timeline, shutil.get_terminal_size().columns)
    if lines:
        print("\n" + "\n".join(lines))
    revision = applied.revision
    done = f"Done in {duration(total_ms(applied.timeline))}."
    said = f"{_now(client, request)} (revision {revision.number})."
    undo = "" if revision.parent is None else f" Undo: vpnctl rollback {revision.parent}"
    print(f"{paint(done, 'green')} {said}{undo}")
    if request.kind == "extend":
        configured = {one.router for one in applied.timeline}
        for line in _needs(client, request, configured):
            print(line)
    if revision.confirm_by is not None:
        say(f"It is undone at {clock(revision.confirm_by)} unless you run: vpnctl confirm")


def _now(client: Client, request: PlanRequest) -> str:
    if request.kind in ("extend", "retract"):
        vpn = _vpn(client, request.vpn)
        return f"{request.vpn} is now {', '.join(vpn.sites) if vpn else 'nowhere'}"
    if request.kind == "rollback":
        return "The earlier policy is back"
    return "The policy is in force"


def _vpn(client: Client, name: str) -> Vpn | None:
    return next(
        (vpn for vpn in decode_all(Vpn, client.get("vpns")["vpns"]) if vpn.name == name), None
    )


def _needs(client: Client, request: PlanRequest, configured: Collection[str]) -> list[str]:
    """What the VRFs at those of the site's PEs must have that are not configured from here."""
    vpn = _vpn(client, request.vpn)
    return [
        f"{request.vpn} at {one.pe} must have: "
        + ", ".join(
            f"{name} {value}"
            for name, value in (
                ("RD", one.rd),
                ("VE-ID", one.ve_id),
                ("VLAN", one.tags),
                ("VNI", one.vni),
                ("export target", " ".join(one.export_targets)),
                ("import target", " ".join(one.import_targets)),
            )
            if value not in (None, "")
        )
        for one in (vpn.endpoints if vpn else ())
        if one.site == request.site and one.pe not in configured
    ]


def clock(at: str) -> str:
    """The time of day of an ISO 8601 time in UTC, e.g. ``08:14:02Z``."""
    day, _, time = at.partition("T")
    return time.partition(".")[0].rstrip("Z") + "Z" if time else day


def revision_row(revision: Revision) -> tuple[object, ...]:
    """A revision as a row of a table with `REVISION_HEADERS`."""
    return (
        revision.number,
        revision.at.replace("T", " "),
        revision.author,
        revision.kind,
        revision.state,
        revision.summary,
    )


REVISION_HEADERS = ("REVISION", "AT", "AUTHOR", "KIND", "STATE", "SUMMARY")
