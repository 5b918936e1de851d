"""What routers say, as it is shown and kept: without what a terminal would obey, not without end.

A router is a machine of somebody's, and its words go to operators' terminals, into journals and
logs.  Signs that are not seen (control characters, also those of 0x80 to 0x9f, and what turns the
direction of writing) become question marks.
"""

from __future__ import annotations

#: Characters of a router's words that are told and kept.
_LONGEST = 1000
#: The same of a difference between two configurations.
_LONGEST_DIFF = 1 << 20
#: A tab moves what follows it, so that signs and names need not stand where they seem to.
_TAB = " " * 4


def legible(said: str) -> str:
    """A router's words on one line."""
    words = " ".join(said[: 2 * _LONGEST].split())
    words = _seen(words)
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]} ..."


def legible_lines(said: str, longest: int = _LONGEST_DIFF) -> str:
    """A router's words on as many lines as they are; what is empty stays so, and nothing else."""
    kept = said[:longest].replace("\r\n", "\n").replace("\t", _TAB)
    lines = [_seen(line) for line in kept.split("\n")]
    if len(said) > longest:
        lines.append(f"... and {len(said) - longest} characters more")
    return "\n".join(lines)


def _seen(words: str) -> str:
    if words.isprintable():
        return words
    return "".join(sign if sign.isprintable() else "?" for sign in words)
