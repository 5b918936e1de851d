"""``vpnctl agent serve``: the agent of a site."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from vpnctl.cli.agent.asking import certificates_of
from vpnctl.cli.command import command
from vpnctl.cli.output import say
from vpnctl.cli.settings import default_state, make_private
from vpnctl.errors import UsageError

_FILES_PANEL = "Files"
_TLS_PANEL = "Who may ask"


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "serve",
        examples=[
            ("vpnctl agent serve --site cloud1", "for this machine alone"),
            ("  ... --listen 192.0.2.1:4790 --operator noc.example.net", "for an operator"),
            ("  ... --peer cloud2.example.net", "and another site's agent"),
        ],
    )
    def serve(
        ctx: typer.Context,
        site: Annotated[str, typer.Option(help="What this place is called.")],
        listen: Annotated[
            str, typer.Option(metavar="ADDRESS:PORT", help="Serve HTTPS here, with certificates.")
        ] = "",
        data: Annotated[
            str,
            typer.Option(
                metavar="ADDRESS:PORT",
                help="Where machines come in; port 0: any.",
                show_default="the address of --listen, any port",
            ),
        ] = "",
        operator: Annotated[
            list[str] | None,
            typer.Option(
                help="A name in the certificate of somebody who may do everything.",
                rich_help_panel=_TLS_PANEL,
            ),
        ] = None,
        peer: Annotated[
            list[str] | None,
            typer.Option(
                help="A name in the certificate of another site's agent: it may bring machines.",
                rich_help_panel=_TLS_PANEL,
            ),
        ] = None,
        state: Annotated[
            Path | None,
            typer.Option(
                help="The agent's own directory.",
                show_default="~/.local/state/vpnctl/agent-SITE",
                rich_help_panel=_FILES_PANEL,
            ),
        ] = None,
        disks: Annotated[
            Path | None,
            typer.Option(
                help="This site's disks.", show_default="STATE/disks", rich_help_panel=_FILES_PANEL
            ),
        ] = None,
        shared: Annotated[
            Path | None,
            typer.Option(
                help="Disks that every site sees.",
                show_default="STATE/shared",
                rich_help_panel=_FILES_PANEL,
            ),
        ] = None,
        images: Annotated[
            Path | None,
            typer.Option(
                help="Kernels to boot.", show_default="STATE/images", rich_help_panel=_FILES_PANEL
            ),
        ] = None,
        site_cache: Annotated[
            Path | None,
            typer.Option(
                help="Keep blocks here that later migrations need not send.",
                rich_help_panel=_FILES_PANEL,
            ),
        ] = None,
        bridge: Annotated[
            list[str] | None,
            typer.Option(
                metavar="VPN=BRIDGE",
                help="The bridge here that a VPN's VLAN is in, for nics that name a VPN alone;"
                " may be repeated.",
            ),
        ] = None,
        nice: Annotated[
            int,
            typer.Option(
                min=0, max=19, help="How far what moves machines stands back behind those that run."
            ),
        ] = 10,
        qemu: Annotated[str, typer.Option(help="The QEMU to start.")] = "qemu-system-x86_64",
        libvirt: Annotated[
            str,
            typer.Option(
                metavar="URI", help="Let this libvirt start machines: qemu:///system, say."
            ),
        ] = "",
    ) -> None:
        """Watch and move the machines of a site until SIGTERM or Ctrl-C; they run on then."""
        import asyncio

        from vpnctl.migration.agent.serving import AgentServer, Guests
        from vpnctl.migration.agent.settings import AgentSettings
        from vpnctl.migration.definition import is_name
        from vpnctl.sidecar.wan.address import Address

        if not is_name(site):
            raise UsageError(
                f"--site: {site!r} is no name", hint="1 to 32 letters, digits, hyphens, underlines"
            )
        certificates = certificates_of(ctx.obj)
        remote = Address.parse(listen) if listen else None
        where = Address(remote.host if remote else "127.0.0.1", 0)
        own = state or default_state() / f"agent-{site}"
        settings = AgentSettings(
            site=site,
            state=own,
            disks=disks or own / "disks",
            shared=shared or own / "shared",
            images=images or own / "images",
            qemu=qemu,
            data=Address.parse(data) if data else where,
            certificates=certificates,
            site_cache=site_cache,
            bridges=_bridges(bridge or ()),
            nice=nice,
            libvirt=libvirt,
        )
        for directory in (own, settings.disks, settings.shared, settings.images):
            if not directory.is_dir():
                make_private(directory)
        guests = Guests(frozenset(operator or ()), frozenset(peer or ()))

        async def run() -> None:
            import signal

            from vpnctl.migration.agent.agent import Agent

            stopped = asyncio.Event()
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, stopped.set)
            agent = Agent(settings)
            server = AgentServer(agent, own / "agent.sock", remote, certificates, guests)
            server.claim()
            try:
                await agent.open()
                await server.start()
                say(f"ready: {site} at {', '.join(server.listening)}")
                await stopped.wait()
                say("stopping; machines run on")
            finally:
                await server.stop()
                await agent.close()

        asyncio.run(run())


def _bridges(words: Sequence[str]) -> dict[str, str]:
    """``VPN=BRIDGE`` each; raises `UsageError` with everything that is wrong with them."""
    import re

    from vpnctl.migration.definition import BRIDGE, VPN

    found: dict[str, str] = {}
    wrong = []
    for word in words:
        vpn, _, name = word.partition("=")
        if re.search(VPN, vpn) is None or re.search(BRIDGE, name) is None:
            wrong.append(f"{word!r} is no VPN=BRIDGE")
        elif found.setdefault(vpn, name) != name:
            wrong.append(f"{vpn} has two bridges, {found[vpn]} and {name}")
    if wrong:
        raise UsageError(f"--bridge: {'; '.join(wrong)}", hint="for example --bridge E1=br-e1")
    return found
