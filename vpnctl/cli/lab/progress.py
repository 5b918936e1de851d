"""The steps of building a lab, as they are taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from vpnctl.cli.lab.signals import Ending


@contextmanager
def steps(stream: TextIO, ending: Ending) -> Iterator[Callable[[int, int, str], None]]:
    """A function to call before each step: a bar on a terminal, nothing elsewhere.

    It raises where the end was asked for meanwhile.

    The bar is drawn when a step begins and never by a thread of its own: the steps fork.
    """
    if not stream.isatty():
        yield lambda *_: ending.check()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    progress = Progress(
        BarColumn(30),
        MofNCompleteColumn(),
        TextColumn("{task.description}", markup=False),
        console=Console(file=stream),
        auto_refresh=False,
        transient=True,
    )
    with progress:
        task = progress.add_task("")

        def tell(number: int, total: int, what: str) -> None:
            ending.check()
            progress.update(task, completed=number, total=total, description=what, refresh=True)

        yield tell
