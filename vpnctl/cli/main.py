"""The program ``vpnctl``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from vpnctl import __version__
from vpnctl.cli import (
    adopt_cmd,
    agent_cmd,
    analyze_cmd,
    apply_cmd,
    check_cmd,
    completion_cmd,
    demo_cmd,
    doctor_cmd,
    drain_cmd,
    drift_cmd,
    explain_cmd,
    extend_cmd,
    graph_cmd,
    history_cmd,
    init_cmd,
    lab_cmd,
    migrate_cmd,
    pki_cmd,
    plan_cmd,
    replicate_cmd,
    serve_cmd,
    session_cmd,
    show_cmd,
    sidecar_cmd,
    status_cmd,
    watch_cmd,
)
from vpnctl.cli.command import RootGroup, show_tracebacks
from vpnctl.cli.settings import Settings

_EPILOG = """[bold]Exit codes[/bold]
    0  done
    1  a defect of vpnctl; you answered no; the demo failed; drift, doctor or adopt found something
    2  the request makes no sense (plan --detailed-exitcode: changes)
    3  the policy has mistakes; nothing was applied
    4  no VPN, site, peer or revision of that name
    5  the plan is stale: make a new one
    6  the controller cannot be reached, or refused
    7  the store cannot be read or written
    8  the BGP session process failed
    9  a pool of numbers is exhausted
   10  a migration stream is damaged, or uses what is not supported
   12  a migration's data path failed; the guest runs on at the source
   13  routers could not be configured; none was changed, or the doubtful one is named
   14  no session with a router, or it was lost
   15  somebody answers at a router's address, but not with the router's key
   16  another session holds a router's configuration
   17  a router's candidate has somebody else's changes
   18  a router refused
   19  it is not known whether a router did it
   20  the lab cannot be built, run or reached
   21  a machine did not move; the message says where it runs
   22  a machine may not move there; nothing was touched
   23  a site's agent cannot be reached, or refused
   24  a router has committed, and its lines or its new route are not there: taken back
  130  interrupted by Ctrl-C
  141  the reader of the output went away

Every command takes the options above, before or after its name, and ends its
own --help with examples."""

app = typer.Typer(
    cls=RootGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EPILOG,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"vpnctl {__version__}")
        raise typer.Exit


@app.callback()
def options(
    ctx: typer.Context,
    socket: Annotated[
        Path | None,
        typer.Option(envvar="VPNCTL_SOCKET", help="The controller's unix socket."),
    ] = None,
    url: Annotated[
        str, typer.Option(envvar="VPNCTL_URL", help="The controller's URL, instead of a socket.")
    ] = "",
    cert: Annotated[
        Path | None,
        typer.Option(envvar="VPNCTL_CERT", help="Your certificate (PEM), for --url and sidecars."),
    ] = None,
    key: Annotated[Path | None, typer.Option(envvar="VPNCTL_KEY", help="Its key (PEM).")] = None,
    ca: Annotated[
        Path | None,
        typer.Option(envvar="VPNCTL_CA", help="The CA of the other end's certificate (PEM)."),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it and end.")
    ] = False,
) -> None:
    """Say in YAML which sites of which customers may talk; their routers follow."""
    del version
    show_tracebacks(debug)
    ctx.obj = Settings(socket, url, cert, key, ca)


for _module in (
    init_cmd,
    check_cmd,
    plan_cmd,
    apply_cmd,
    extend_cmd,
    drift_cmd,
    doctor_cmd,
    adopt_cmd,
    history_cmd,
    show_cmd,
    explain_cmd,
    graph_cmd,
    watch_cmd,
    serve_cmd,
    status_cmd,
    session_cmd,
    drain_cmd,
    pki_cmd,
    agent_cmd,
    migrate_cmd,
    replicate_cmd,
    sidecar_cmd,
    analyze_cmd,
    demo_cmd,
    lab_cmd,
    completion_cmd,
):
    _module.add_to(app)


def run() -> None:
    """Read the command line and do what it says."""
    if "_VPNCTL_COMPLETE" in os.environ:
        completion_cmd.register_shells()
    app(prog_name="vpnctl")
