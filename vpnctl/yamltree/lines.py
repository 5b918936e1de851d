"""What is refused line by line, before YAML sees it: it would be misread or explained badly."""

from __future__ import annotations

from collections.abc import Iterator

from vpnctl.model import Place
from vpnctl.yamltree.mistake import Mistake

#: The lines that git leaves around both sides of a conflict.
_CONFLICT = ("<<<<<<< ", ">>>>>>> ")
_SUSPICIOUS = ("\t", "\u00a0", *_CONFLICT)


def line_mistakes(file: str, text: str) -> tuple[Mistake, ...]:
    """Tabs and no-break spaces in the indentation, and conflicts that git left."""
    if not any(sign in text for sign in _SUSPICIOUS):
        return ()
    return tuple(
        Mistake(Place(file, number, column), "", message, hint)
        for number, line in enumerate(text.splitlines(), 1)
        for column, message, hint in _misfits(line)
    )


def _misfits(line: str) -> Iterator[tuple[int, str, str]]:
    """Column, message and hint of what is wrong with one line."""
    if line.startswith(_CONFLICT):
        yield 1, "a conflict that git left", "settle it: keep one side, and take the marks out"
        return
    body = line.lstrip()
    if not body or body.startswith("#"):
        return
    indentation = line[: len(line) - len(body)]
    for space, name in (("\t", "a tab"), ("\u00a0", "a no-break space")):
        if space in indentation:
            hint = "YAML is indented with spaces: write spaces instead"
            yield indentation.index(space) + 1, f"{name} in the indentation", hint
