"""A plan and a timeline as an operator reads them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from vpnctl.cli.output import paint, table
from vpnctl.controller.views import FileChange, Plan, RouteChange, RouterPlan, Step
from vpnctl.model.tags import tags_text

_COLOUR_OF_ACTION = {"+": "green", "~": "yellow", "-": "red"}
_LABEL = 10
#: Peers that are named in one line; the others are counted.
_NAMES = 4
#: Routes that are listed without being asked for; of more, the number is told.
_FEW_ROUTES = 20
#: Changed lines of one policy file that are listed; the others are counted.
_FEW_LINES = 20
#: Characters of two mappings of a policy file that are shown as they are.
_SHORT = 60
#: Changed lines of one router's configuration that are listed; the others are counted.
FEW_ROUTER_LINES = 40
#: The kind of a pool (the word before its slash) as tables head it, and what is behind the slash.
_POOLS = {
    "rd": ("RD", "at"),
    "ve-id": ("VE-ID", "in"),
    "vlan": ("VLAN", "at"),
    "vni": ("VNI", "in"),
    "route-target": ("route target", "of"),
}
_SIGN_OF_ALLOCATION = {"take": "+", "take up again": "+", "release": "-"}
#: Steps at a router that change nothing yet.
_PREPARING = frozenset(("connect", "lock", "load", "diff", "check"))
_HUNK = re.compile(r"^@@ -\d+(?:,\d+)? \+(?P<line>\d+)(?:,\d+)? @@")
_KEY = re.compile(r"^(?P<key>[\w.-]+: )")
_COMMENT = re.compile(r"\s+#.*$")


def plan_lines(
    plan: Plan, *, routes: bool = False, wide: bool = False, whole: bool = False
) -> list[str]:
    """A plan: sessions, numbers, routes by peer and one by one, then the policy.

    Many routes are counted only, unless ``routes`` asks for each of them.  ``whole``: routers'
    configurations are not cut, nor are they if it is ``wide``.
    """
    base = "before any revision" if plan.base is None else f"on revision {plan.base}"
    lines = [paint(f"Plan {plan.id} ({base})", "bold") + f"  {plan.summary}"]
    if plan.empty:
        return [*lines, "  nothing changes"]
    lines += _section(
        "sessions",
        (f"{sign(one.action)} {one.peer}  {one.detail}".rstrip() for one in plan.sessions),
    )
    lines += _section("numbers", _numbers(plan))
    lines += _section(
        "routers", router_lines(plan.routers, None if wide or whole else FEW_ROUTER_LINES)
    )
    lines += _section("routes", _peers(plan, wide) or ["no route changes at any peer"])
    counted = sum(peer.added + peer.changed + peer.removed for peer in plan.peers)
    if routes or wide or counted <= _FEW_ROUTES:
        lines += _section("", route_lines(plan.routes))
        if counted > len(plan.routes):
            left = counted - len(plan.routes)
            lines += _section("", [f"... and {left} more; -o json lists all"])
    else:
        lines += _section("", [f"--routes lists each of the {counted}"])
    lines += _section("policy", diff_lines(plan.files, None if wide else _FEW_LINES))
    return lines


def router_lines(routers: Iterable[RouterPlan], most: int | None = None) -> list[str]:
    """What would be configured at each router, in its own syntax, at most ``most`` lines each."""
    lines = []
    for one in routers:
        diff = one.diff.splitlines()
        if not diff and not one.trouble:
            lines.append(f"  {one.router}  has it already")
        if diff:
            lines.append(f"{sign('~')} {one.router}  {one.platform}")
            lines += [f"    {_coloured(line)}" for line in diff[:most]]
            if most is not None and len(diff) > most:
                lines.append(f"    ... and {len(diff) - most} lines more; -o wide shows them")
        if one.trouble:
            trouble = one.trouble.removeprefix(f"{one.router}: ")
            lines.append(f"{paint('!', 'red')} {one.router}  {trouble}")
    return lines


def _coloured(line: str) -> str:
    first = line.lstrip()[:1]
    return paint(line, _COLOUR_OF_ACTION[first]) if first in ("+", "-") else line


def _numbers(plan: Plan) -> list[str]:
    """One line for each number that is taken or released, and for whom."""
    rows = []
    for one in plan.allocations:
        kind, _, place = one.pool.partition("/")
        noun, preposition = _POOLS.get(kind, (kind, "at"))
        shown = tags_text(one.number) if kind == "vlan" else one.number
        number = f"{noun} {shown}" + (f" {preposition} {place}" if place else "")
        rows.append((number, f"for {one.owner}"))
    _, *lines = table([""] * 2, rows)
    signs = [_SIGN_OF_ALLOCATION.get(one.action, one.action) for one in plan.allocations]
    return [f"{sign(mark)} {line}" for mark, line in zip(signs, lines, strict=True)]


def _section(label: str, lines: Iterable[str]) -> list[str]:
    return [
        f"  {(label if first else '').ljust(_LABEL)}{line}"
        for first, line in ((number == 0, line) for number, line in enumerate(lines))
    ]


def sign(action: str) -> str:
    """``+``, ``~`` or ``-``; what is neither is written out."""
    return paint(action, _COLOUR_OF_ACTION[action]) if action in _COLOUR_OF_ACTION else action


def _peers(plan: Plan, wide: bool) -> list[str]:
    """One line for all peers with the same counts."""
    groups: dict[tuple[int, int, int], list[str]] = {}
    for peer in plan.peers:
        counts = (peer.added, peer.changed, peer.removed)
        if any(counts):
            groups.setdefault(counts, []).append(peer.peer)
    named = {counts: _names(peers, wide) for counts, peers in groups.items()}
    width = max((len(names) for names in named.values()), default=0)
    lines = []
    for (added, changed, removed), peers in groups.items():
        each = " each" if len(peers) > 1 else ""
        said = "   ".join(
            f"{sign(action)} {number} {word}{each}"
            for action, number, word in (
                ("+", added, "new"),
                ("~", changed, "changed"),
                ("-", removed, "gone"),
            )
            if number
        )
        lines.append(f"{named[added, changed, removed].ljust(width)}   {said}")
    return lines


def _names(peers: Sequence[str], wide: bool) -> str:
    if wide or len(peers) <= _NAMES:
        return ", ".join(peers)
    return ", ".join(peers[: _NAMES - 1]) + f" and {len(peers) - _NAMES + 1} more"


def route_lines(routes: Sequence[RouteChange]) -> list[str]:
    """Each route that changes: sign, peer, NLRI, where it is from, old and new targets."""
    rows = [
        (
            route.action,
            route.peer,
            route.family,
            route.nlri,
            f"from {route.source}",
            _targets(route),
        )
        for route in routes
    ]
    # The header's words are as short as any cell, and it is not shown.
    _, *lines = table([""] * 6, rows)
    return [sign(line[0]) + line[1:] for line in lines]


def _targets(route: RouteChange) -> str:
    old, new = ", ".join(route.old_targets), ", ".join(route.new_targets)
    words = f"{old} -> {new}" if old and new and old != new else new or old
    had, has = ", ".join(route.old_actions), ", ".join(route.new_actions)
    does = f"{had} -> {has}" if had and has and had != has else has or had
    return f"{words}  {does}" if words and does else words or does


def diff_lines(files: Iterable[FileChange], most: int | None = None) -> list[str]:
    """Unified diffs with each changed line's file and number, at most ``most`` lines of a file.

    One line that replaces another is written as one, without the comment that both end with:
    ``FILE:LINE   key: old -> new``.
    """
    rows: list[tuple[str, str]] = []
    for file in files:
        changes = list(_changes(file))
        rows += changes[:most]
        if most is not None and len(changes) > most:
            left = len(changes) - most
            rows.append((file.file, f"... and {left} lines more; -o wide shows them"))
    width = max((len(place) for place, _ in rows), default=0)
    return [f"{place.ljust(width)}   {said}" for place, said in rows]


def _changes(file: FileChange) -> Iterator[tuple[str, str]]:
    line = 0
    old: list[str] = []
    new: list[str] = []
    in_hunk = False
    for text in [*file.diff.splitlines(), "@@"]:
        if text.startswith("-") and in_hunk:
            old.append(text[1:])
        elif text.startswith("+") and in_hunk:
            new.append(text[1:])
        elif not text.startswith("\\"):
            yield from _change(file.file, line, old, new)
            line += len(new) + (1 if in_hunk and text.startswith(" ") else 0)
            old, new = [], []
            hunk = _HUNK.match(text)
            if hunk is not None:
                # A file that goes has its hunk at line 0.
                in_hunk, line = True, max(1, int(hunk["line"]))


def _change(file: str, line: int, old: list[str], new: list[str]) -> Iterator[tuple[str, str]]:
    if len(old) == len(new) == 1:
        before, after = old[0].strip(), new[0].strip()
        comment = _COMMENT.search(after)
        if comment is not None and before.endswith(comment[0]):
            before, after = before.removesuffix(comment[0]), after.removesuffix(comment[0])
        key = _KEY.match(after)
        if key is not None and before.startswith(key["key"]):
            after = after.removeprefix(key["key"])
        named = "" if key is None else key["key"]
        short = _within_mapping(before.removeprefix(named), after)
        yield f"{file}:{line}", f"{named}{short}" if short else f"{before} -> {after}"
        return
    for text in old:
        yield f"{file}:{line}", f"{sign('-')} {text}"
    for number, text in enumerate(new, line):
        yield f"{file}:{number}", f"{sign('+')} {text}"


def _within_mapping(before: str, after: str) -> str:
    """What differs between two mappings on one line: ``{... port: 1 -> port: 2 ...}``.

    Empty where they are none, or short enough to be shown as they are.
    """
    if len(before) + len(after) < _SHORT or not (before[:1] == after[:1] == "{"):
        return ""
    old, new = _entries(before), _entries(after)
    gone = ", ".join(one for one in old if one not in new)
    come = ", ".join(one for one in new if one not in old)
    if not gone and not come:
        return ""  # another order, or other blanks
    change = f"{gone} -> {come}" if gone and come else f"+ {come}" if come else f"- {gone}"
    return f"{{... {change} ...}}"


def _entries(mapping: str) -> list[str]:
    """The entries of a mapping in braces, each with all that is in it."""
    entries, depth = [""], 0
    for sign in mapping.strip()[1:].removesuffix("}"):
        depth += (sign in "{[") - (sign in "}]")
        if sign == "," and not depth:
            entries.append("")
        else:
            entries[-1] += sign
    return [entry.strip() for entry in entries]


def duration(ms: float) -> str:
    """``0.8 ms``, ``12 ms``, ``2.10 s``."""
    if ms >= 1000:
        return f"{ms / 1000:.2f} s"
    return f"{ms:.0f} ms" if ms >= 10 else f"{ms:.1f} ms"


def timeline_lines(steps: Sequence[Step], width: int) -> list[str]:
    """Each step with its duration and a bar at its time; ``width``: columns of the terminal.

    What prepares a router is one line.
    """
    if not steps:
        return []
    steps = merged(steps)
    rows = [(_step(step, width // 2), step) for step in steps]
    name = max(len(text) for text, _ in rows)
    columns = max(10, width - name - 16)
    total = max(step.end_ms for step in steps) or 1.0
    lines = []
    for text, step in rows:
        first = min(columns - 1, int(step.start_ms / total * columns))
        last = min(columns, round(step.end_ms / total * columns))
        bar = "=" * (last - first) if last - first > 1 else "|"
        took = duration(step.end_ms - step.start_ms)
        lines.append(f"  {text.ljust(name)}  {took:>8}  {' ' * first}{bar}")
    return lines


def merged(steps: Sequence[Step]) -> list[Step]:
    """The steps, those before the commit at each router as one."""
    kept: list[Step] = []
    first: dict[str, int] = {}
    for step in steps:
        if not step.router or step.name not in _PREPARING or step.detail:
            kept.append(step)
        elif step.router in first:
            place = first[step.router]
            earlier = kept[place]
            kept[place] = replace(
                earlier,
                name=f"{earlier.name.split(' to ')[0]} to {step.name}",
                end_ms=max(earlier.end_ms, step.end_ms),
            )
        else:
            first[step.router] = len(kept)
            kept.append(step)
    return kept


def _step(step: Step, most: int) -> str:
    """A step's name, with its detail where that leaves room for the bars."""
    name = f"{step.router}  {step.name}" if step.router else step.name
    detailed = f"{name} ({step.detail})"
    return detailed if step.detail and len(detailed) <= most else name


def total_ms(steps: Sequence[Step]) -> float:
    """When the last step ended, in milliseconds since the request was taken up."""
    return max((step.end_ms for step in steps), default=0.0)
