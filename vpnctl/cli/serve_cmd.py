"""``vpnctl serve``: the controller and its API in one process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from vpnctl.cli.command import CONTROLLER_PANEL, command
from vpnctl.cli.output import count, say
from vpnctl.cli.settings import default_policies, default_state, make_private
from vpnctl.errors import UsageError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator

    from vpnctl.api.serve import Tcp
    from vpnctl.controller.views import Event

#: Seconds after which a revision is logged: its routes go out meanwhile.
_ROUTES_FIRST_S = 0.01

TLS_PANEL = "TLS, for --http beyond loopback"


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What a controller is started with; ``store`` is an SQLAlchemy URL."""

    policies: Path
    store: str
    socket: Path
    tcp: Tcp | None = None
    log_json: bool = False
    apply: bool = False
    keep_sessions: int = 0
    socket_group: str = ""


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "serve",
        panel=CONTROLLER_PANEL,
        examples=[
            ("vpnctl serve", "serve ./policies, API on your own unix socket"),
            ("vpnctl serve --policies /etc/vpnctl --log-json", "as a service"),
            ("vpnctl serve --http 127.0.0.1:8080", "API and /metrics on loopback TCP, too"),
        ],
    )
    def serve(
        ctx: typer.Context,
        policies: Annotated[
            Path,
            typer.Option(
                envvar="VPNCTL_POLICIES",
                default_factory=default_policies,
                show_default="./policies, or . where network.yaml is",
                help="The policy directory.",
            ),
        ],
        store: Annotated[
            str,
            typer.Option(
                envvar="VPNCTL_STORE",
                show_default=False,
                help="Where revisions are kept: sqlite:///FILE or postgresql://HOST/NAME."
                " Put a password into the environment or PGPASSFILE only. Default: a SQLite file"
                " per policy directory in $XDG_STATE_HOME/vpnctl or ~/.local/state/vpnctl.",
            ),
        ] = "",
        http: Annotated[
            str,
            typer.Option(metavar="ADDRESS:PORT", help="Serve the API on TCP, too; loopback only."),
        ] = "",
        tls_cert: Annotated[
            Path | None, typer.Option(help="Certificate (PEM).", rich_help_panel=TLS_PANEL)
        ] = None,
        tls_key: Annotated[
            Path | None, typer.Option(help="Its key (PEM).", rich_help_panel=TLS_PANEL)
        ] = None,
        tls_client_ca: Annotated[
            Path | None,
            typer.Option(
                help="CA that has signed the clients' certificates.", rich_help_panel=TLS_PANEL
            ),
        ] = None,
        socket_group: Annotated[
            str,
            typer.Option(
                metavar="GROUP",
                help="A group whose members may use the controller's socket, too, and so change"
                " every VPN. Default: nobody but its owner.",
            ),
        ] = "",
        log_json: Annotated[bool, typer.Option("--log-json", help="Log JSON lines.")] = False,
        apply: Annotated[
            bool,
            typer.Option(
                "--apply",
                help="Start with the policy directory as it is now, not with the revision that"
                " was applied last.",
            ),
        ] = False,
        keep_sessions: Annotated[
            int,
            typer.Option(
                envvar="VPNCTL_KEEP_SESSIONS",
                metavar="SECONDS",
                min=0,
                max=3600,
                help="How long BGP sessions stay up without a controller, when this one crashes"
                " or ends by SIGUSR1. The next one goes on with them. 0: they end with it.",
            ),
        ] = 60,
    ) -> None:
        """Run the controller until it is stopped by SIGTERM or Ctrl-C.

        SIGUSR1 ends it, too, but leaves the BGP sessions to the next controller.
        """
        import asyncio

        import uvloop

        _refuse_password(ctx, store)
        options = ServeOptions(
            policies,
            store or _default_store(policies),
            ctx.obj.socket_to_serve(),
            _tcp(http, tls_cert, tls_key, tls_client_ca),
            log_json,
            apply,
            keep_sessions,
            socket_group,
        )
        _configure_log(log_json)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(options))


async def run(options: ServeOptions) -> None:
    """Start controller and API, say so, and stop them in order when a signal comes."""
    import asyncio
    import signal

    from vpnctl.api.app import create_app
    from vpnctl.api.serve import HttpServer
    from vpnctl.controller.controller import Controller, Keep

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    leaving: list[bool] = []

    def leave() -> None:
        leaving.append(True)
        stopped.set()

    loop.add_signal_handler(signal.SIGUSR1, leave)
    keep = None
    if options.keep_sessions:
        keep = Keep(Path(f"{options.socket}.bgp"), options.keep_sessions)
    controller = Controller(
        options.policies, options.store, take_directory=options.apply, keep=keep
    )
    http = HttpServer(
        create_app(controller),
        socket_path=options.socket,
        socket_group=options.socket_group,
        tcp=options.tcp,
    )
    announced = asyncio.Event()
    logged = asyncio.create_task(_log_events(controller.events(), announced))
    # The socket first: of two controllers at one socket the second must not touch any session.
    http.claim()
    try:
        await controller.start()
        try:
            await http.start()
            _tune_collector()
            status = await controller.status()
            vpns = len(await controller.vpns())
            say(
                f"listening on {', '.join(status.listening) or 'no address'},"
                f" API on {', '.join(http.listening)}, {count(vpns, 'VPN')},"
                f" revision {status.revision}"
            )
            if status.policies_differ:
                say(
                    f"{status.policies} is not what revision {status.revision} has:"
                    " 'vpnctl plan' shows the difference, 'vpnctl apply' applies it"
                )
            for problem in status.problems:
                say(f"problem: {problem}")
            announced.set()
            await stopped.wait()
            say("leaving the BGP sessions to the next controller" if leaving else "stopping")
        finally:
            await controller.stop(leave=bool(leaving))
    finally:
        await http.stop()
        logged.cancel()


async def _log_events(events: AsyncIterator[Event], announced: asyncio.Event) -> None:
    """Log sessions and revisions, from ``announced`` on; errors are logged where they happen."""
    import asyncio

    import structlog

    log = structlog.get_logger()
    async for event in events:
        await announced.wait()
        if event.kind == "session":
            log.info("session", peer=event.subject, state=event.message)
        elif event.kind == "revision":
            await asyncio.sleep(_ROUTES_FIRST_S)
            log.info("revision", number=event.subject, summary=event.message)


def _default_store(policies: Path) -> str:
    """A store of the policy directory's own: revisions of one are none of another."""
    import hashlib

    directory = default_state()
    make_private(directory)
    where = policies.resolve()
    name = f"{where.name}-{hashlib.sha256(bytes(where)).hexdigest()[:8]}.sqlite"
    return f"sqlite:///{directory / name}"


def _tune_collector() -> None:
    """Let the garbage collector leave alone what lives as long as the daemon.

    Routes are octets in dictionaries, without cycles; looking through a million of them again
    and again finds nothing and stops the engine meanwhile.
    """
    import gc

    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


def _refuse_password(ctx: typer.Context, store: str) -> None:
    """Whoever may list processes sees their arguments."""
    source = ctx.get_parameter_source("store")
    if source is not None and source.name == "COMMANDLINE" and urlsplit(store).password:
        raise UsageError(
            "--store: a password on the command line can be seen by everybody on this machine",
            hint="put the URL into the environment variable VPNCTL_STORE, or the password into"
            " the file that PGPASSFILE names",
        )


def _tcp(http: str, cert: Path | None, key: Path | None, client_ca: Path | None) -> Tcp | None:
    if not http:
        if cert or key or client_ca:
            raise UsageError(
                "--tls-cert, --tls-key and --tls-client-ca are for --http",
                hint="say where to listen with --http ADDRESS:PORT",
            )
        return None
    from vpnctl.api.serve import Tcp, check_tcp

    address, _, port = http.rpartition(":")
    if not port.isdecimal() or int(port) > 65535 or not address:
        raise UsageError(f"--http: {http!r} is no ADDRESS:PORT", hint="write 127.0.0.1:8080")
    tcp = Tcp(address.strip("[]"), int(port), cert, key, client_ca)
    check_tcp(tcp)
    return tcp


def _configure_log(as_json: bool) -> None:
    """Log to standard error: lines for people on a terminal, or JSON lines."""
    import logging
    import sys

    import structlog

    render: structlog.typing.Processor
    if as_json:
        render = structlog.processors.JSONRenderer()
    else:
        render = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, render],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processor=render, foreign_pre_chain=shared)
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
