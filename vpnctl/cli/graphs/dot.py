"""A drawing for Graphviz."""

from __future__ import annotations

from vpnctl.cli.graphs.drawing import Drawing, Layout


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def render(drawing: Drawing) -> str:
    """``drawing`` as a ``digraph``."""
    direction = "LR" if drawing.layout is Layout.COLUMNS else "TB"
    lines = [
        "digraph vpnctl {",
        f"  label={_quoted(drawing.title)}; labelloc=t; rankdir={direction};",
        "  node [shape=box, style=rounded, fontname=sans]; edge [color=gray40];",
    ]
    for number, group in enumerate(drawing.groups):
        lines.append(f"  subgraph cluster_{number} {{")
        lines.append(f"    label={_quoted(f'{group.name} ({group.caption})')}; style=rounded;")
        for box in group.boxes:
            label = "\\n".join(_quoted(line)[1:-1] for line in (box.title, *box.lines))
            lines.append(f'    {_quoted(box.key)} [label="{label}"];')
        lines.append("  }")
    for arrow in drawing.arrows:
        how = ["dir=both"] if arrow.both else []
        how += ["style=dashed"] if arrow.dashed else []
        suffix = f" [{', '.join(how)}]" if how else ""
        lines.append(f"  {_quoted(arrow.source)} -> {_quoted(arrow.target)}{suffix};")
    return "\n".join([*lines, "}"]) + "\n"
