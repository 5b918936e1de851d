"""``vpnctl show``: what the controller knows, as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, TypeVar

import typer

from vpnctl.cli.client import Client
from vpnctl.cli.command import LOOK_PANEL, command
from vpnctl.cli.completers import complete_peer, complete_vpn
from vpnctl.cli.decode import decode_all
from vpnctl.cli.history_cmd import Last, show_history
from vpnctl.cli.output import Format, Output, print_document, print_table, say
from vpnctl.controller.views import (
    AccessRoute,
    Endpoint,
    FamilyCounts,
    Peer,
    Route,
    Site,
    Target,
    Vpn,
)

T = TypeVar("T")
Columns = Sequence[tuple[str, Callable[[T], object]]]

PeerOption = Annotated[str, typer.Option("--peer", help="Whose RIB.", autocompletion=complete_peer)]
FamilyOption = Annotated[
    str | None, typer.Option("--family", help="Only this one, e.g. vpls or 'ipv4 flow-vpn'.")
]
VpnOption = Annotated[
    str | None,
    typer.Option("--vpn", help="Only routes of this VPN.", autocompletion=complete_vpn),
]
LimitOption = Annotated[
    int, typer.Option("--limit", min=1, max=1_000_000, help="At most so many routes.")
]


def _counted(families: Iterable[FamilyCounts], direction: str) -> int:
    return sum(getattr(family, direction) for family in families)


PEERS: Columns[Peer] = (
    ("PEER", lambda peer: peer.name),
    ("ADDRESS", lambda peer: peer.address),
    ("AS", lambda peer: peer.asn),
    ("SITE", lambda peer: peer.site),
    ("STATE", lambda peer: peer.state),
    ("HEARD", lambda peer: _counted(peer.families, "heard")),
    ("SENT", lambda peer: _counted(peer.families, "sent")),
    ("REFUSED", lambda peer: peer.refused_targets + peer.refused_flows),
)
PEERS_WIDE: Columns[Peer] = (
    *PEERS,
    ("KIND", lambda peer: peer.kind),
    ("SINCE", lambda peer: peer.since),
    ("SYNCED", lambda peer: peer.synced),
    (
        "FAMILIES",
        lambda peer: tuple(f"{one.family} {one.heard}/{one.sent}" for one in peer.families),
    ),
    ("BACKLOG", lambda peer: peer.backlog),
    ("UPDATES", lambda peer: f"{peer.updates_heard}/{peer.updates_sent}"),
    ("MALFORMED", lambda peer: peer.malformed),
    ("PROTECTION", lambda peer: peer.protection),
    ("ASKED FOR", lambda peer: peer.asked),
    ("PATHS", lambda peer: peer.paths),
    ("DRAINING", lambda peer: peer.draining),
    ("STALE", lambda peer: peer.stale),
    (
        "LIMITS",
        lambda peer: tuple(
            f"{one.family} {one.limit}" + (f", {one.refused} refused" if one.refused else "")
            for one in peer.families
            if one.limit is not None
        ),
    ),
    ("LAST ERROR", lambda peer: peer.last_error),
)
VPNS: Columns[Vpn] = (
    ("VPN", lambda vpn: vpn.name),
    ("SERVICE", lambda vpn: vpn.service),
    ("TOPOLOGY", lambda vpn: vpn.topology),
    ("SITES", lambda vpn: vpn.sites),
    ("EXTRANETS", lambda vpn: vpn.extranets),
    ("POLICY", lambda vpn: vpn.place),
)
ENDPOINTS: Columns[Endpoint] = (
    ("VPN", lambda one: one.vpn),
    ("SITE", lambda one: one.site),
    ("PE", lambda one: one.pe),
    ("RD", lambda one: one.rd),
    ("EXPORT", lambda one: one.export_targets),
    ("IMPORT", lambda one: one.import_targets),
    ("VE-ID", lambda one: one.ve_id),
    ("VLAN", lambda one: one.tags),
    ("VNI", lambda one: one.vni),
    ("HEARS", lambda one: one.hears),
    ("POLICY", lambda one: one.place),
)
SITES: Columns[Site] = (
    ("SITE", lambda site: site.name),
    ("KIND", lambda site: site.kind),
    ("PES", lambda site: site.pes),
    ("VPNS", lambda site: site.vpns),
)
TARGETS: Columns[Target] = (
    ("TARGET", lambda target: target.target),
    ("OWNER", lambda target: target.owner),
    ("EXPORTED BY", lambda target: target.exported_by),
    ("IMPORTED BY", lambda target: target.imported_by),
    ("ROUTES", lambda target: target.routes),
    ("REFUSED", lambda target: tuple(f"{pe} {n}" for pe, n in target.refused.items())),
)
ACCESS: Columns[AccessRoute] = (
    ("VPN", lambda one: one.vpn),
    ("RULE", lambda one: one.place),
    ("PE", lambda one: one.pe),
    ("FAMILY", lambda one: one.family),
    ("FLOW", lambda one: one.nlri),
    ("ACTIONS", lambda one: one.actions),
    ("STATUS", lambda one: one.status),
)
_NLRI: Columns[Route] = (
    ("FAMILY", lambda route: route.family),
    ("NLRI", lambda route: route.nlri),
)
_PATH: Columns[Route] = (
    ("NEXT HOP", lambda route: route.next_hop),
    ("AS PATH", lambda route: route.as_path),
    ("PATH ID", lambda route: route.path_id),
)
_STATUS: Columns[Route] = (("STATUS", lambda route: route.status),)
RIB_IN: Columns[Route] = (*_NLRI, ("TARGETS", lambda route: route.targets))
RIB_OUT: Columns[Route] = (
    *_NLRI,
    ("FROM", lambda route: route.source),
    ("HEARD WITH", lambda route: route.heard_targets),
    ("TARGETS", lambda route: route.targets),
)
_ACTIONS: Columns[Route] = (("ACTIONS", lambda route: route.actions),)
#: By RIB: the columns of the table, and those of the wide one.  What ends a line may be long.
RIBS: dict[str, tuple[Columns[Route], Columns[Route]]] = {
    "rib-in": ((*RIB_IN, *_STATUS), (*RIB_IN, *_PATH, *_ACTIONS, *_STATUS)),
    "rib-out": (RIB_OUT, (*RIB_OUT, *_PATH, *_ACTIONS)),
}


def add_to(app: typer.Typer) -> None:
    show = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode="rich",
        help="What the controller knows: peers, VPNs, sites, targets, routes, revisions.",
    )
    app.add_typer(show, name="show", rich_help_panel=LOOK_PANEL)
    _add_tables(show)
    _add_ribs(show)

    @command(show, "revisions", examples=[("vpnctl show revisions -n 5", "the newest five")])
    def revisions(ctx: typer.Context, last: Last = 50, output: Output = Format.TABLE) -> None:
        """What was applied; the same as 'vpnctl history'."""
        show_history(ctx, last, output)


def _add_tables(show: typer.Typer) -> None:
    @command(
        show,
        "peers",
        examples=[
            ("vpnctl show peers", "sessions and how many routes each heard and was sent"),
            ("vpnctl show peers -o wide", "... with families, UPDATEs and the last error"),
        ],
    )
    def peers(ctx: typer.Context, output: Output = Format.TABLE) -> None:
        """BGP sessions with the PEs."""
        _print(ctx, "peers", Peer, PEERS, output, wide=PEERS_WIDE)

    @command(
        show,
        "vpns",
        examples=[
            ("vpnctl show vpns", "one line for each VPN"),
            ("vpnctl show vpns -o wide", "one line for each endpoint, with its numbers"),
        ],
    )
    def vpns(ctx: typer.Context, output: Output = Format.TABLE) -> None:
        """Customers' VPNs and their endpoints."""
        if output is not Format.WIDE:
            _print(ctx, "vpns", Vpn, VPNS, output)
            return
        found = decode_all(Vpn, Client(ctx.obj).get("vpns")["vpns"])
        _rows(ENDPOINTS, [one for vpn in found for one in vpn.endpoints])

    @command(show, "sites", examples=[("vpnctl show sites", "where there are PEs, and whose VPNs")])
    def sites(ctx: typer.Context, output: Output = Format.TABLE) -> None:
        """Sites, their PEs and VPNs."""
        _print(ctx, "sites", Site, SITES, output)

    @command(
        show,
        "access",
        examples=[
            ("vpnctl show access", "every access rule, who enforces it, and who cannot be told"),
            ("vpnctl show access --vpn E2", "... those of E2"),
        ],
    )
    def access(ctx: typer.Context, vpn: VpnOption = None, output: Output = Format.TABLE) -> None:
        """Access rules as the flow routes of each PE."""
        answer = Client(ctx.obj).get("access", vpn=vpn)["access"]
        if output.for_people:
            _rows(ACCESS, decode_all(AccessRoute, answer))
        else:
            print_document({"access": answer}, output)

    @command(
        show, "targets", examples=[("vpnctl show targets", "who owns, uses and was refused each")]
    )
    def targets(ctx: typer.Context, output: Output = Format.TABLE) -> None:
        """Route targets: owner, users, routes, refusals."""
        _print(ctx, "targets", Target, TARGETS, output)


def _add_ribs(show: typer.Typer) -> None:
    @command(
        show,
        "rib-in",
        examples=[
            ("vpnctl show rib-in --peer pe-e1", "what pe-e1 announced"),
            ("vpnctl show rib-in --peer pe-e1 --vpn E1 -o wide", "... of E1, with next hops"),
        ],
    )
    def rib_in(
        ctx: typer.Context,
        peer: PeerOption,
        family: FamilyOption = None,
        vpn: VpnOption = None,
        limit: LimitOption = 1000,
        output: Output = Format.TABLE,
    ) -> None:
        """Routes heard from a peer, and why one was not accepted (Adj-RIB-In)."""
        _rib(ctx, "rib-in", peer, family, vpn, limit, output)

    @command(
        show,
        "rib-out",
        examples=[("vpnctl show rib-out --peer pe-c1", "what pe-c1 was sent, with which targets")],
    )
    def rib_out(
        ctx: typer.Context,
        peer: PeerOption,
        family: FamilyOption = None,
        vpn: VpnOption = None,
        limit: LimitOption = 1000,
        output: Output = Format.TABLE,
    ) -> None:
        """Routes sent to a peer, with their new targets (Adj-RIB-Out)."""
        _rib(ctx, "rib-out", peer, family, vpn, limit, output)


def _rib(
    ctx: typer.Context,
    rib: str,
    peer: str,
    family: str | None,
    vpn: str | None,
    limit: int,
    output: Format,
) -> None:
    client = Client(ctx.obj)
    answer = client.get("peers", peer, rib, family=family, vpn=vpn, limit=limit)
    if output.for_people:
        columns, wide = RIBS[rib]
        _rows(wide if output is Format.WIDE else columns, decode_all(Route, answer["routes"]))
        if not answer["routes"]:
            _tell_why_empty(client, peer)
    else:
        print_document({"routes": answer["routes"]}, output)
    if len(answer["routes"]) == limit:
        say(f"only the first {limit} routes are shown; --limit shows more")


def _tell_why_empty(client: Client, name: str) -> None:
    """An empty table leaves open whether there is no route or no session."""
    for peer in decode_all(Peer, client.get("peers")["peers"]):
        if peer.name == name:
            down = peer.state != "established"
            say(f"no route; the session with {name} is {'down: ' if down else ''}{peer.state}")


def _print(
    ctx: typer.Context,
    noun: str,
    kind: type[T],
    columns: Columns[T],
    output: Format,
    wide: Columns[T] | None = None,
) -> None:
    answer: dict[str, Any] = Client(ctx.obj).get(noun)
    if not output.for_people:
        print_document({noun: answer[noun]}, output)
        return
    chosen = wide if wide is not None and output is Format.WIDE else columns
    _rows(chosen, decode_all(kind, answer[noun]))


def _rows(columns: Columns[T], values: Iterable[T]) -> None:
    print_table(
        [header for header, _ in columns],
        [[cell(value) for _, cell in columns] for value in values],
    )
