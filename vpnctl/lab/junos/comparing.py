"""What the candidate would change, as ``show | compare`` has it."""

from __future__ import annotations

from collections.abc import Iterator

from vpnctl.lab.junos.notation_set import block, blocks, quoted
from vpnctl.lab.junos.schema import Container, Kind, ListOf, Tree

_INDENT = "    "


def comparison(before: Tree, after: Tree, root: Container) -> str:
    """Lines that go with ``-``, lines that come with ``+``; "" where nothing changes."""
    lines = list(_changes(before, after, root, ()))
    return "\n".join(lines) + "\n" if lines else ""


def _changes(
    before: Tree, after: Tree, kind: Container | ListOf, words: tuple[str, ...]
) -> Iterator[str]:
    own: list[str] = []
    deeper: list[str] = []
    for name, inner in kind.children.items():
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        here = words if inner.elided else (*words, name)
        if old is None or new is None or not isinstance(inner, Container | ListOf):
            own += _signed("-", name, old, inner)
            own += _signed("+", name, new, inner)
        elif isinstance(inner, Container):
            deeper += _changes(old, new, inner, here)
        elif inner.verb_first:
            own += _signed("-", name, _without(old, new), inner)
            own += _signed("+", name, _without(new, old), inner)
        else:
            own += _signed("-", name, {key: old[key] for key in old if key not in new}, inner)
            own += _signed("+", name, {key: new[key] for key in new if key not in old}, inner)
            for key in new:
                if key in old and old[key] != new[key]:
                    deeper += _changes(old[key], new[key], inner, (*here, quoted(key)))
    if own:
        yield " ".join(("[edit", *words)) + "]"
        yield from own
    yield from deeper


def _without(one: Tree, other: Tree) -> Tree:
    return {key: value for key, value in one.items() if other.get(key) != value}


def _signed(sign: str, name: str, node: object, kind: Kind) -> list[str]:
    if node is None or (node == {} and isinstance(kind, ListOf)):
        return []
    lines = list(block(name, node, kind, _INDENT[1:]))
    if not lines and isinstance(kind, Container | ListOf) and isinstance(node, dict):
        lines = list(blocks(node, kind, _INDENT[1:]))
    return [f"{sign}{line}" for line in lines]
