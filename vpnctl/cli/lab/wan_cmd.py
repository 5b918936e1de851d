"""``vpnctl lab wan``: change a WAN link of a running lab."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any

import typer

from vpnctl.cli.command import command
from vpnctl.cli.lab.naming import LabOption, lab_name
from vpnctl.cli.lab.signals import end_in_order
from vpnctl.cli.output import say
from vpnctl.errors import UsageError


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "wan",
        examples=[
            ("vpnctl lab wan e1", "its figures"),
            ("vpnctl lab wan e1 --rate 100mbit --delay 20ms", "narrower and longer"),
            ("vpnctl lab wan e1 --loss 1%", "one frame in a hundred is lost"),
            ("vpnctl lab wan e1 --cut 30s", "nothing passes for half a minute"),
            ("vpnctl lab wan e1 --cut 0s; vpnctl lab wan e1 --heal", "until it is healed"),
        ],
    )
    def wan(
        link: Annotated[
            str, typer.Argument(help="The WAN link by name, or a node or group with one.")
        ],
        rate: Annotated[
            str | None, typer.Option(help="Of each direction: 465mbit; 'none' for no limit.")
        ] = None,
        delay: Annotated[str | None, typer.Option(help="One way: 13.5ms.")] = None,
        jitter: Annotated[str | None, typer.Option(help="Delay more or less: 1ms.")] = None,
        loss: Annotated[str | None, typer.Option(help="Share of frames lost: 1%.")] = None,
        cut: Annotated[
            str | None, typer.Option(help="Let nothing pass for this time; 0s: until --heal.")
        ] = None,
        heal: Annotated[bool, typer.Option("--heal", help="End a cut.")] = False,
        lab: LabOption = "",
    ) -> None:
        """Rate, delay, loss, or a cut of a WAN link, on the running lab."""
        from vpnctl.lab import preflight
        from vpnctl.lab.lab import find_complete
        from vpnctl.lab.wan.figures import parse_loss, parse_rate, parse_time, show_time

        if cut is not None and heal:
            raise UsageError("--cut and --heal contradict each other", hint="give one of them")
        given = {"rate": rate, "delay": delay, "jitter": jitter, "loss": loss, "cut": cut}
        wanted = _parsed(
            {name: text for name, text in given.items() if text is not None},
            {
                "rate": _limit(parse_rate),
                "delay": parse_time,
                "jitter": parse_time,
                "loss": parse_loss,
                "cut": parse_time,
            },
        )
        seconds = wanted.pop("cut", None)
        preflight.need_root()
        found = find_complete(lab_name(lab)).wan(link)
        if wanted:
            try:
                found.change(replace(found.status().figures, **wanted))
            except ValueError as error:
                raise UsageError(str(error)) from error
        if heal:
            found.heal()
        if seconds is not None:
            end_in_order()
            found.cut()
            if seconds:
                say(f"{link} is cut for {show_time(seconds)}; Ctrl-C heals it now")
                try:
                    time.sleep(seconds)
                finally:
                    found.heal()
        status = found.status()
        state = "cut" if status.is_cut else "open"
        print(f"{link}: {status.figures}, {state} ({status.method.value})")


def _limit(parse: Callable[[str], int]) -> Callable[[str], int | None]:
    return lambda text: None if text == "none" else parse(text)


def _parsed(
    given: Mapping[str, str], parsers: Mapping[str, Callable[[str], float | None]]
) -> dict[str, Any]:
    """The figures that options name; raises `UsageError` with all that are none."""
    figures = {}
    wrong = []
    for name, text in given.items():
        try:
            figures[name] = parsers[name](text)
        except ValueError as error:
            wrong.append(f"--{name}: {error}")
    if wrong:
        raise UsageError("\n       ".join(wrong))
    return figures
