"""One mistake in the operator's files, and the wording that all of them share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from vpnctl.model import Place

_LONGEST_QUOTE = 60
#: Mistakes of one file for which a name that was meant is looked for: that takes its time.
MOST_SUGGESTIONS = 100
_MOST_NAMES = 8


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """What is wrong (``message``), where (``place``, and ``path`` as ``sites[1].vlan``), and what
    to do about it (``hint``, empty where the message says it already).

    ``path`` is empty where the file as a whole is meant.
    """

    place: Place
    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        """``FILE:LINE:COLUMN  PATH: MESSAGE``, and the hint below it, indented to the path."""
        head = f"{self.place}:{self.place.column}  "
        body = f"{self.path}: {self.message}" if self.path else self.message
        return f"{head}{body}\n{' ' * len(head)}{self.hint}" if self.hint else head + body


def quote(text: str) -> str:
    """The operator's own text in quotes, cut where it is so long that it would hide the message."""
    return repr(text if len(text) <= _LONGEST_QUOTE else text[: _LONGEST_QUOTE - 3] + "...")


def suggestion(wrong: str, right: Iterable[str]) -> str:
    """``; did you mean 'pe-c1'?`` where a name is close enough, else an empty string."""
    close = get_close_matches(wrong[:_LONGEST_QUOTE], list(right), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def choices(names: Iterable[str], what: str) -> str:
    """``known sites: a, b, c`` for a hint; says so when there is none and cuts when many."""
    known = sorted(names)
    if not known:
        return f"there are no {what} yet"
    more = f" and {len(known) - _MOST_NAMES} more" if len(known) > _MOST_NAMES else ""
    return f"known {what}: {', '.join(known[:_MOST_NAMES])}{more}"
