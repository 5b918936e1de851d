"""Surgical edits of an operator's own file: a site in, a site out, every other byte as it was.

The place of the edit comes from the tree of the text; what comes out is parsed again and compared
with the intended document before anybody gets it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from vpnctl.errors import NotFoundError, UsageError
from vpnctl.ruleset.shape import POLICY
from vpnctl.yamltree.tree import (
    DocumentError,
    Mapping,
    Node,
    Raw,
    Scalar,
    Sequence,
    find,
    parse_text,
)

#: Stands in for the file's name, which the text does not know.
_FILE = "the file"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_NEWLINE = re.compile(r"\r\n|\n|\r")


def extend(text: str, vpn: str, site: str) -> str:
    """``text``, the file of ``vpn``, with ``site`` as the last of its sites.

    Raises `NotFoundError` where the file is another VPN's, `UsageError` where the site is a member
    already or the list is written in a way that cannot be edited without touching more.
    """
    root, sites = _open(text, vpn)
    if site in _names(sites):
        raise UsageError(
            f"{vpn} is at {site} already (line {_item(sites, site).place.line})",
            hint="see `vpnctl show vpns`",
        )
    if not _NAME.fullmatch(site):
        raise UsageError(f"{site!r} is no name of a site", hint="see `vpnctl show sites`")
    wanted = _raw(root)
    _list(wanted["sites"]).append(site)
    edit = _append_flow if sites.flow else _append_block
    return _checked(edit(text, sites, site), wanted, vpn)


def retract(text: str, vpn: str, site: str) -> str:
    """``text``, the file of ``vpn``, without ``site`` and without what was said of it.

    Raises `NotFoundError` where the file is another VPN's or the site is no member, `UsageError`
    where the site is the last one or is still named elsewhere in the file.
    """
    root, sites = _open(text, vpn)
    names = _names(sites)
    if site not in names:
        raise NotFoundError(
            f"{vpn} is not at {site}", hint=f"it is at {', '.join(filter(None, names))}"
        )
    if len(names) == 1:
        raise UsageError(f"{site} is the last site of {vpn}", hint="remove the file to end the VPN")
    for what, loc in (
        ("a hub", ("topology", "hub-and-spoke", "hubs")),
        ("part of a link", ("topology", "links")),
        ("part of an extranet", ("extranet",)),
    ):
        mention = _mention(root, loc, site)
        if mention is not None:
            raise UsageError(
                f"{site} is still {what} of {vpn} (line {mention.place.line}, {mention.path})",
                hint="take it out there first",
            )
    index = names.index(site)
    wanted = _raw(root)
    del _list(wanted["sites"])[index]
    edit = _remove_flow if sites.flow else _remove_block
    return _checked(edit(text, sites, index), wanted, vpn)


def _open(text: str, vpn: str) -> tuple[Mapping, Sequence]:
    """The tree of the text and its list of sites."""
    try:
        root = parse_text(_FILE, text, POLICY)
    except DocumentError as error:
        raise UsageError(
            f"the file of {vpn} has mistakes: {error}", hint="run `vpnctl check` and correct them"
        ) from error
    name = find(root, ("vpn",))
    if not isinstance(name, Scalar) or name.text != vpn:
        found = f"{name.text}'s" if isinstance(name, Scalar) else "no VPN's"
        raise NotFoundError(f"the file is {found}, not {vpn}'s", hint="see `vpnctl show vpns`")
    sites = find(root, ("sites",))
    if not isinstance(sites, Sequence) or not sites.items:
        raise UsageError(f"{vpn} has no list of sites", hint="run `vpnctl check`")
    return root, sites


def _raw(root: Mapping) -> dict[str, Raw]:
    raw = root.raw()
    assert isinstance(raw, dict)
    return raw


def _list(raw: Raw) -> list[Raw]:
    assert isinstance(raw, list)
    return raw


def _names(sites: Sequence) -> list[str | None]:
    """The names of the sites; `None` for an entry without one."""
    nodes = [find(item, ("site",)) for item in sites.items]
    return [node.text if isinstance(node, Scalar) else None for node in nodes]


def _item(sites: Sequence, site: str) -> Node:
    return sites.items[_names(sites).index(site)]


def _mention(root: Mapping, loc: tuple[str, ...], site: str) -> Node | None:
    """Where below ``loc`` the site is named; in an extranet, VPNs are named too."""
    node: Node = root
    for step in loc:
        if not (isinstance(node, Mapping) and step in node.entries):
            return None
        node = node.entries[step][1]
    if loc == ("extranet",) and isinstance(node, Sequence):
        places: list[Node] = [
            item.entries["sites"][1]
            for item in node.items
            if isinstance(item, Mapping) and "sites" in item.entries
        ]
    else:
        places = [node]
    while places:
        place = places.pop()
        if isinstance(place, Scalar) and place.text == site:
            return place
        if isinstance(place, Sequence):
            places += place.items
        elif isinstance(place, Mapping):
            places += [value for _, value in place.entries.values()]
    return None


def _checked(text: str, wanted: Raw, vpn: str) -> str:
    """``text``, once it is sure that it says what is wanted and nothing else."""
    try:
        done = parse_text(_FILE, text, POLICY).raw()
    except DocumentError:
        done = None
    if done != wanted:
        raise UsageError(
            f"the sites of {vpn} are written in a way that cannot be edited safely",
            hint="edit the list by hand, or write one site per line",
        )
    return text


class _Line(NamedTuple):
    """Offsets of a line: its first character, its line ending, and what follows that."""

    start: int
    end: int
    next: int


def _line_at(text: str, offset: int) -> _Line:
    start = max(text.rfind("\n", 0, offset), text.rfind("\r", 0, offset)) + 1
    ending = _NEWLINE.search(text, offset)
    if ending is None:
        return _Line(start, len(text), len(text))
    return _Line(start, ending.start(), ending.end())


def _ending_before(text: str, start: int) -> int:
    """Offset of the line ending that precedes the line which begins at ``start``."""
    return start - (2 if text.endswith("\r\n", 0, start) else 1)


def _newline_of(text: str) -> str:
    ending = _NEWLINE.search(text)
    return "\n" if ending is None else ending[0]


def _written(site: str) -> str:
    """The name, in quotes where other readers of YAML would take it for something else."""
    if site.lower() in ("null", "true", "false", "yes", "no", "on", "off", "y", "n") or (
        not any(letter.isalpha() for letter in site)
    ):
        return f'"{site}"'
    return site


def _end(node: Node) -> int:
    """Offset behind the last character of a node; of a block collection, of what is in it."""
    if isinstance(node, Mapping) and node.entries:
        last_key, last = list(node.entries.values())[-1]
        inner = max(_end(last), last_key.end)
    elif isinstance(node, Sequence) and node.items:
        inner = _end(node.items[-1])
    else:
        return node.end
    is_flow = isinstance(node, Sequence) and node.flow
    return node.end if is_flow or (isinstance(node, Mapping) and node.flow) else inner


# -- [a, b] --


def _alone(text: str, node: Node) -> bool:
    """Whether an item of a flow list has its lines for itself, but for comma and comment."""
    before = text[_line_at(text, node.start).start : node.start]
    after = text[_end(node) : _line_at(text, _end(node)).end]
    return not before.strip(" ") and re.fullmatch(r" *,? *(#.*)?", after) is not None


def _comma_behind(text: str, node: Node) -> int | None:
    """Offset of the comma that directly follows the item."""
    match = re.compile(r"[ \r\n]*,").match(text, _end(node))
    return None if match is None else match.end() - 1


def _append_flow(text: str, sites: Sequence, site: str) -> str:
    last = sites.items[-1]
    end = _end(last)
    if not _alone(text, last):
        return f"{text[:end]}, {_written(site)}{text[end:]}"
    line = _line_at(text, end)
    indentation = " " * (last.start - _line_at(text, last.start).start)
    trailing = _comma_behind(text, last) is not None
    head = text[:end] if trailing else f"{text[:end]},"
    tail = "," if trailing else ""
    return (
        f"{head}{text[end : line.end]}{_newline_of(text)}"
        f"{indentation}{_written(site)}{tail}{text[line.end :]}"
    )


def _remove_flow(text: str, sites: Sequence, index: int) -> str:
    item = sites.items[index]
    last = index == len(sites.items) - 1
    if _alone(text, item):
        first_line, last_line = _line_at(text, item.start), _line_at(text, _end(item))
        head, tail = text[: first_line.start], text[last_line.next :]
        if last and _comma_behind(text, item) is None:
            comma = _comma_behind(text, sites.items[index - 1])
            assert comma is not None
            head = head[:comma] + head[comma + 1 :]
        return head + tail
    if last:
        return text[: _end(sites.items[index - 1])] + text[_end(item) :]
    return text[: item.start] + text[sites.items[index + 1].start :]


# -- one item per dash --


def _dash(text: str, sites: Sequence, item: Node) -> int:
    """Offset of the dash of an item, which may stand on a line above it."""
    column = sites.place.column - 1
    line = _line_at(text, item.start)
    while text[line.start + column : line.start + column + 1] != "-":
        line = _line_at(text, _ending_before(text, line.start))
    return line.start + column


def _append_block(text: str, sites: Sequence, site: str) -> str:
    last = sites.items[-1]
    dash = _dash(text, sites, last)
    line = _line_at(text, _end(last))
    gap = re.compile(r"- *").match(text, dash)
    assert gap is not None
    same_line = gap.end() <= _line_at(text, dash).end and gap.end() == last.start
    bullet = gap[0] if same_line else "- "
    added = f"{' ' * (dash - _line_at(text, dash).start)}{bullet}{_written(site)}"
    newline = _newline_of(text)
    return f"{text[: line.end]}{newline}{added}{text[line.end :]}"


def _remove_block(text: str, sites: Sequence, index: int) -> str:
    item = sites.items[index]
    first_line = _line_at(text, _dash(text, sites, item))
    last_line = _line_at(text, _end(item))
    start = first_line.start
    if last_line.next == last_line.end:
        # The text ends without a line ending, and shall again.
        start = _ending_before(text, start)
    return text[:start] + text[last_line.next :]
