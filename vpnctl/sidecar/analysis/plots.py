"""Pictures of a report, one file each, with matplotlib."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vpnctl.errors import UsageError
from vpnctl.sidecar.analysis.deltas import BOUNDS
from vpnctl.sidecar.analysis.report import FileReport, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_EXTRA = "pip install 'vpnctl[plots]'"


def require() -> None:
    """Raises `UsageError` if matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("plots need matplotlib, which is not installed", hint=_EXTRA)


def draw(report: Report, directory: Path, form: str) -> list[Path]:
    """Write ``schemes``, ``blocks``, ``deltas``, ``chunks`` and ``across`` as far as there is
    something to show, with the suffix ``form`` ("svg" or "png"); the files written.

    Raises `UsageError` if matplotlib is not installed, or ``directory`` cannot be written.
    """
    require()
    from matplotlib.figure import Figure

    pictures: dict[str, tuple[bool, Callable[[Report, Axes], None]]] = {
        "schemes": (any(file.schemes for file in report.files), _schemes),
        "blocks": (any(file.blocks for file in report.files), _blocks),
        "deltas": (any(file.deltas and file.deltas.pages for file in report.files), _deltas),
        "chunks": (any(file.chunks for file in report.files), _chunks),
        "across": (bool(report.across), _across),
    }
    written = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, (wanted, paint) in pictures.items():
            if not wanted:
                continue
            figure = Figure(figsize=(8, 4.5), layout="constrained")
            axes = figure.add_subplot()
            paint(report, axes)
            path = directory / f"{name}.{form}"
            figure.savefig(path, dpi=150)
            written.append(path)
    except OSError as error:
        raise UsageError(
            f"{directory} cannot be written: {error.strerror}",
            hint="choose another directory with --plots",
        ) from error
    return written


def _label(file: FileReport) -> str:
    return Path(file.name).name


def _schemes(report: Report, axes: Axes) -> None:
    height = 0.8 / len(report.files)
    for number, file in enumerate(report.files):
        places = [row + number * height for row in range(len(file.schemes))]
        bars = axes.barh(
            places, [100 * scheme.share for scheme in file.schemes], height, label=_label(file)
        )
        axes.bar_label(bars, fmt="%.0f", padding=2, fontsize=7)
    names = [scheme.name for scheme in report.files[0].schemes]
    axes.set_yticks([row + 0.4 - height / 2 for row in range(len(names))], names)
    axes.invert_yaxis()
    axes.set_xlabel("octets sent, % of QEMU's own stream")
    axes.set_title("Octets under each scheme")
    axes.legend()


def _blocks(report: Report, axes: Axes) -> None:
    for file in report.files:
        axes.plot(
            [each.per_page for each in file.blocks],
            [100 * each.share for each in file.blocks],
            marker="o",
            label=_label(file),
        )
    _per_page(report.files[0].blocks[-1].per_page, axes)
    axes.set_title("Redundancy against blocks per page")
    axes.legend()


def _per_page(most: int, axes: Axes) -> None:
    ticks = [2**power for power in range(int(math.log2(most)) + 1)]
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xlabel("blocks per page")
    axes.set_ylabel("octets that were there before, %")
    axes.set_ylim(bottom=0)


def _deltas(report: Report, axes: Axes) -> None:
    files = [file for file in report.files if file.deltas and file.deltas.pages]
    width = 0.8 / len(files)
    for number, file in enumerate(files):
        assert file.deltas is not None
        shares = [100 * count / file.deltas.pages for count in file.deltas.counts]
        places = [column + number * width for column in range(len(shares))]
        axes.bar(places, shares, width, label=f"{_label(file)}: {file.deltas.pages} pages")
    names = [*(f"≤ {bound}" if bound else "0" for bound in BOUNDS), "whole"]
    axes.set_xticks([column + 0.4 - width / 2 for column in range(len(names))], names)
    axes.set_xlabel("octets of the delta")
    axes.set_ylabel("pages sent again, %")
    axes.set_title("How much of a page changed since it was sent")
    axes.legend()


def _chunks(report: Report, axes: Axes) -> None:
    names, fixed, chunked = [], [], []
    for file in report.files:
        for each in file.chunks:
            names.append(f"{_label(file)}\n{each.size}")
            fixed.append(100 * each.fixed)
            chunked.append(100 * each.chunked)
    places = range(len(names))
    axes.bar([place - 0.2 for place in places], fixed, 0.4, label="fixed blocks")
    axes.bar([place + 0.2 for place in places], chunked, 0.4, label="cut by content")
    axes.set_xticks(list(places), names, fontsize=8)
    axes.set_ylabel("octets that were there before, %")
    axes.set_title("Fixed blocks against cuts that the content decides")
    axes.legend()


def _across(report: Report, axes: Axes) -> None:
    counts = [each.per_page for each in report.across]
    axes.plot(counts, [100 * each.apart for each in report.across], marker="o", label="one each")
    axes.plot(counts, [100 * each.together for each in report.across], marker="o", label="shared")
    _per_page(counts[-1], axes)
    axes.set_title(f"One cache for each of {len(report.files)} files, or one for all")
    axes.legend()
