"""A drawing for Mermaid, which GitHub and GitLab show in Markdown."""

from __future__ import annotations

from vpnctl.cli.graphs.drawing import Drawing, Layout


def _text(text: str) -> str:
    """Within double quotes; Mermaid has entities for what would end them."""
    return text.replace("&", "#amp;").replace('"', "#quot;").replace("<", "#lt;")


def render(drawing: Drawing) -> str:
    """``drawing`` as a ``flowchart``."""
    direction = "LR" if drawing.layout is Layout.COLUMNS else "TB"
    lines = [f"flowchart {direction}"]
    names: dict[str, str] = {}
    for number, group in enumerate(drawing.groups):
        lines.append(f'  subgraph g{number}["{_text(f"{group.name} ({group.caption})")}"]')
        for box in group.boxes:
            names[box.key] = f"n{len(names)}"
            label = "<br/>".join(map(_text, (box.title, *box.lines)))
            lines.append(f'    {names[box.key]}["{label}"]')
        lines.append("  end")
    for arrow in drawing.arrows:
        head = "<" if arrow.both else ""
        line = "-.->" if arrow.dashed else "-->"
        lines.append(f"  {names[arrow.source]} {head}{line} {names[arrow.target]}")
    return "\n".join(lines) + "\n"
