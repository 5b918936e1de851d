"""``vpnctl analyze``: what each way of sending memory and disks would save, on files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from enum import Enum, StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vpnctl.cli.command import MIGRATION_PANEL, command
from vpnctl.cli.output import Format, Output, count, print_document, print_table, say
from vpnctl.errors import UsageError
from vpnctl.sidecar.analysis.parts import Part

if TYPE_CHECKING:
    from vpnctl.sidecar.analysis.report import Begun, FileReport, Report
    from vpnctl.sidecar.analysis.source import Source

_MIB = 1 << 20


class PlotForm(StrEnum):
    """How pictures are written."""

    SVG = "svg"
    PNG = "png"


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "analyze",
        panel=MIGRATION_PANEL,
        examples=[
            ("vpnctl analyze web1.stream", "octets under each scheme, and why"),
            ("vpnctl analyze web1.stream web2.stream --only blocks", "what two guests share"),
            ("vpnctl analyze disk.raw -o json", "a disk image, for a program"),
            ("vpnctl analyze web1.stream --plots figures", "pictures as well"),
        ],
    )
    def run(
        files: Annotated[
            list[Path],
            typer.Argument(metavar="FILE", help="Captured migration streams, raw disk images."),
        ],
        only: Annotated[
            list[Part] | None,
            typer.Option("--only", help="Only this part; may be given several times."),
        ] = None,
        cache: Annotated[
            int,
            typer.Option(metavar="MIB", min=1, max=65536, help="Size of each cache, in MiB."),
        ] = 256,
        plots: Annotated[
            Path | None, typer.Option(metavar="DIR", help="Write pictures into this directory.")
        ] = None,
        plot_form: Annotated[
            PlotForm, typer.Option("--plot-format", help="What pictures are.")
        ] = PlotForm.SVG,
        output: Output = Format.TABLE,
    ) -> None:
        """Find what redundancy elimination would save, without migrating anything.

        FILE is a migration stream, captured with QEMU's own
        [bold]migrate exec:cat>FILE[/bold], or a raw disk image.
        """
        # numpy is not loaded for other commands.
        from vpnctl.sidecar.analysis.report import analyze, octets_to_read

        parts = list(dict.fromkeys(only)) if only else list(Part)
        if plots is not None:
            from vpnctl.sidecar.analysis.plots import draw, require

            require()
        sources = _sources(files)
        with _progress(octets_to_read(sources, parts, cache * _MIB)) as begun:
            report = analyze(sources, parts, cache * _MIB, begun)
        if output.for_people:
            _print(report)
        else:
            print_document(_plain(asdict(report)), output)
        if plots is not None:
            for path in draw(report, plots, plot_form.value):
                say(f"wrote {path}")


def _sources(files: Sequence[Path]) -> list[Source]:
    from vpnctl.sidecar.analysis.source import Source

    sources, wrong = [], []
    for path in files:
        try:
            sources.append(Source(path))
        except UsageError as error:
            wrong.append(error)
    if wrong:
        raise UsageError(
            "; ".join(error.message for error in wrong),
            hint="; ".join(dict.fromkeys(error.hint for error in wrong)),
        )
    return sources


@contextmanager
def _progress(total: int) -> Iterator[Begun]:
    """A bar on standard error, while it is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    shown = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with shown as progress:
        task = progress.add_task("", total=total)

        def begun(source: Source, what: str) -> Any:
            progress.update(task, description=f"{source.path.name}: {what}")
            return lambda octets: progress.advance(task, octets)

        yield begun


def _print(report: Report) -> None:
    for number, file in enumerate(report.files):
        if number:
            print()
        _print_file(file)
    if report.across:
        print(f"\n{count(len(report.files), 'file')} together: octets that were there before")
        print_table(
            ["BLOCKS PER PAGE", "A CACHE EACH", "ONE CACHE", "FOUND MORE"],
            [
                (
                    each.per_page,
                    _percent(each.apart),
                    _percent(each.together),
                    _percent(each.together - each.apart),
                )
                for each in report.across
            ],
        )

    if report.one_in > 1:
        print(
            f"\nWhat was there before is estimated from one in {report.one_in} of different "
            "blocks and chunks"
        )


def _print_file(file: FileReport) -> None:
    from vpnctl.sidecar.analysis.deltas import BOUNDS

    print(f"{file.name}: {file.kind.value}, {_megabytes(file.octets)} MB")
    if file.schemes:
        print()
        print_table(
            ["SCHEME", "MB", "SHARE", "WHAT"],
            [
                (each.name, _megabytes(each.octets), _percent(each.share), each.what)
                for each in file.schemes
            ],
        )
    if file.blocks:
        print("\nOctets in blocks that were there before")
        print_table(
            ["BLOCKS PER PAGE", "OCTETS", "SHARE"],
            [(each.per_page, 4096 // each.per_page, _percent(each.share)) for each in file.blocks],
        )
    if file.deltas is not None:
        print(f"\n{count(file.deltas.pages, 'page')} sent again; octets that changed")
        names = [*(f"up to {bound}" if bound else "none" for bound in BOUNDS), "sent whole"]
        print_table(
            ["DELTA", "PAGES", "SHARE"],
            [
                (name, pages, _percent(pages / max(1, file.deltas.pages)))
                for name, pages in zip(names, file.deltas.counts, strict=True)
            ],
        )
    if file.chunks:
        print("\nOctets that were there before, by the way of cutting")
        print_table(
            ["OCTETS", "FIXED BLOCKS", "CUT BY CONTENT", "MEAN CHUNK"],
            [
                (each.size, _percent(each.fixed), _percent(each.chunked), f"{each.mean:.0f}")
                for each in file.chunks
            ],
        )


def _megabytes(octets: int) -> str:
    return f"{octets / 1e6:.1f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _plain(value: Any) -> Any:
    """``value`` with enumerations by their values."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value.value if isinstance(value, Enum) else value
