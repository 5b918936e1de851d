"""``vpnctl lab inspect``: a lab as it is now."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from vpnctl.cli.command import command
from vpnctl.cli.lab.naming import LabArgument, lab_name
from vpnctl.cli.output import Format, Output, paint, print_document, print_table

if TYPE_CHECKING:
    from vpnctl.lab.inspect import LinkView, NodeView


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "inspect",
        examples=[
            ("vpnctl lab inspect", "nodes, sessions, links"),
            ("vpnctl lab inspect -o json", "the same for programs"),
        ],
    )
    def inspect(lab: LabArgument = "", output: Output = Format.TABLE) -> None:
        """What runs where, which sessions are up, and what the WAN links carry."""
        from vpnctl.lab import preflight
        from vpnctl.lab.inspect import view
        from vpnctl.lab.lab import find

        preflight.need_root()
        found = view(find(lab_name(lab)))
        if not output.for_people:
            print_document({"lab": asdict(found)}, output)
            return
        whole = "" if found.complete else ", not built to the end"
        print(f"{found.name} ({found.file}){whole}\n")
        wide = output is Format.WIDE
        print_table(
            ("NODE", "GROUP", "RUNS", "ADDRESSES", "SESSION", "MIB", *(["NAMESPACE"] * wide)),
            [_node(node, wide) for node in found.nodes],
        )
        wans = [link for link in found.links if link.wan is not None]
        if wans:
            print()
            print_table(
                ("WAN", "LINK", "RATE", "DELAY", "LOSS", "STATE", "FORWARDED", "DROPPED", "BY"),
                [_wan(link) for link in wans],
            )
        for name, socket in found.controllers.items():
            print(f"\n{name}: export VPNCTL_SOCKET={socket}")
        for problem in found.problems:
            print(f"{paint('problem', 'red')}  {problem}")


def _node(node: NodeView, wide: bool) -> tuple[object, ...]:
    runs = tuple(
        f"{program.name} {program.pid}" + ("" if program.running else " (ended)")
        for program in node.programs
    )
    sessions = tuple(dict.fromkeys(session.state for session in node.sessions))
    memory = f"{node.memory_kib / 1024:.0f}" if node.memory_kib else None
    row = (node.name, node.group, runs, node.addresses, sessions, memory)
    return (*row, node.namespace) if wide else row


def _wan(link: LinkView) -> tuple[object, ...]:
    from vpnctl.lab.wan.figures import show_rate, show_time

    delay = show_time(link.delay) + (f" +- {show_time(link.jitter)}" if link.jitter else "")
    return (
        link.wan,
        " -- ".join(link.ends),
        show_rate(link.rate) if link.rate is not None else None,
        delay,
        f"{link.loss * 100:.4g} %",
        "cut" if link.cut else "open",
        str(link.forwarded),
        str(link.dropped),
        link.method,
    )
