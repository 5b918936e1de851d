"""Configuration as ``set`` commands and as text in braces.

Both leave out the same names, so both are made of words: a *statement* is the words that lead to
one node, ``interfaces ge-0/0/1 unit 100 vlan-id 100``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from vpnctl.lab.junos.editing import Edit, EditError, Verb
from vpnctl.lab.junos.schema import Container, Empty, Kind, Leaf, LeafList, ListOf, Path, Tree

_WORD = re.compile(
    r'"((?:[^"\\]|\\.)*)"|([^\s{};\[\]"]+)|([{};\[\]])|\s+|#[^\n]*|/\*.*?\*/', re.DOTALL
)
_PLAIN = re.compile(r"[^\s{};\[\]\"#]+")


def quoted(word: str) -> str:
    """A word as the notations have it."""
    if _PLAIN.fullmatch(word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def set_edits(text: str, root: Container) -> Iterator[Edit]:
    """The edits of ``set`` and ``delete`` commands, one on a line.  Raises `EditError`."""
    for line in text.splitlines():
        words = [word for word, sign in _tokens(line) if not sign]
        if not words:
            continue
        if words[0] == "set":
            yield from _statement(words[1:], root, Verb.SET)
        elif words[0] == "delete":
            yield from _statement(words[1:], root, Verb.DELETE)
        else:
            raise EditError("unknown command", element=words[0], tag="bad-element")


def text_edits(text: str, root: Container) -> Iterator[Edit]:
    """The edits of a configuration in braces; ``replace:`` and ``delete:`` before a statement are
    heeded.  Raises `EditError`.
    """
    above: list[list[str]] = []
    words: list[str] = []
    several: list[str] | None = None
    within = False
    for word, sign in _tokens(text):
        if within and not sign and several is not None:
            several.append(word)
        elif not sign:
            words.append(word)
        elif sign == "[":
            several, within = [], True
        elif sign == "]":
            within = False
        elif sign == "{":
            verb, words = _tagged(words)
            path = [*(above[-1] if above else []), *words]
            if verb == "replace:":
                yield from _statement(path, root, Verb.REMOVE)
            above.append(path)
            words = []
        elif sign == "}":
            if words or not above:
                raise EditError("syntax error", element=(words or ["}"])[0], tag="bad-element")
            # What was a block without statements is there, too.
            yield from _statement(above.pop(), root, Verb.SET, maybe_nothing=True)
        elif words:
            verb, words = _tagged(words)
            path = [*(above[-1] if above else []), *words]
            if verb:
                yield from _statement(path, root, Verb.REMOVE)
            if verb != "delete:":
                for value in several if several is not None else [None]:
                    yield from _statement(
                        [*path, value] if value is not None else path, root, Verb.SET
                    )
            words, several = [], None
    if words or above:
        raise EditError("syntax error", element=(words or ["end of file"])[0], tag="bad-element")


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """Words, and signs: of each pair one is empty."""
    place = 0
    while place < len(text):
        found = _WORD.match(text, place)
        if found is None:
            raise EditError("syntax error", element=text[place : place + 20], tag="bad-element")
        place = found.end()
        if found[1] is not None:
            yield re.sub(r"\\(.)", r"\1", found[1]), ""
        elif found[2] is not None:
            yield found[2], ""
        elif found[3] is not None:
            yield "", found[3]


def _tagged(words: list[str]) -> tuple[str, list[str]]:
    return (words[0], words[1:]) if words[:1] in (["replace:"], ["delete:"]) else ("", words)


def _statement(
    words: Sequence[str], root: Container, verb: Verb, *, maybe_nothing: bool = False
) -> Iterator[Edit]:
    """A statement may have several nodes one after the other: ``vlan-tags outer 1 inner 2``."""
    paths = list(_paths(list(words), root, ()))
    if maybe_nothing:
        paths = [path for path in paths if _stands_alone(path, root)]
    yield from (Edit(verb, path) for path in paths)


def _paths(words: list[str], kind: Kind, path: Path) -> Iterator[Path]:
    if not words:
        yield path
        return
    children = kind.children if isinstance(kind, Container | ListOf) else {}
    word = words[0]
    name = (
        word
        if word in children
        else next((one for one, inner in children.items() if inner.elided), "")
    )
    if not name:
        raise EditError("syntax error", path=path, element=word, tag="unknown-element")
    inner = children[name]
    rest = words if inner.elided and word != name else words[1:]
    here = (*path, name)
    match inner:
        case Empty():
            yield here
            if rest:
                yield from _paths(rest, kind, path)
        case Leaf() | LeafList():
            if not rest:
                yield here
                return
            yield (*here, rest[0])
            if rest[1:]:
                yield from _paths(rest[1:], kind, path)
        case ListOf() if inner.verb_first and len(rest) > 1:
            yield (*here, rest[1], rest[0])
        case ListOf():
            if not rest:
                yield here
                return
            yield from _paths(rest[1:], inner, (*here, rest[0]))
        case Container():
            yield from _paths(rest, inner, here)


def _stands_alone(path: Path, root: Container) -> bool:
    """Whether the node means something without children: a list's entry, or by presence."""
    kind: Kind = root
    inside = True
    for name in path:
        if isinstance(kind, ListOf) and not inside:
            inside = True
        elif isinstance(kind, Container | ListOf):
            kind = kind.children[name]
            inside = not isinstance(kind, ListOf)
    return (isinstance(kind, ListOf) and inside) or (isinstance(kind, Container) and kind.presence)


def statements(tree: Tree, root: Container) -> Iterator[str]:
    """A configuration as ``set`` commands, without the word ``set``."""
    yield from _entry_statements(tree, root, ())


def _entry_statements(
    tree: Tree, kind: Container | ListOf, words: tuple[str, ...]
) -> Iterator[str]:
    for name, inner in kind.children.items():
        if name not in tree:
            continue
        node = tree[name]
        here = words if inner.elided else (*words, name)
        match inner:
            case Leaf():
                yield " ".join((*here, quoted(node)))
            case LeafList():
                yield from (" ".join((*here, quoted(value))) for value in node)
            case Empty():
                yield " ".join(here)
            case ListOf():
                for key, entry in node.items():
                    if inner.verb_first:
                        yield from (" ".join((*here, verb, quoted(key))) for verb in entry)
                    else:
                        yield from _or_itself(entry, inner, (*here, quoted(key)))
            case Container():
                yield from _or_itself(node, inner, here)


def _or_itself(tree: Tree, kind: Container | ListOf, words: tuple[str, ...]) -> Iterator[str]:
    found = list(_entry_statements(tree, kind, words))
    yield from found or [" ".join(words)]


def blocks(tree: Tree, root: Container | ListOf, indent: str = "") -> Iterator[str]:
    """A configuration in braces, line by line."""
    for name, inner in root.children.items():
        if name in tree:
            yield from block(name, tree[name], inner, indent)


def block(name: str, node: object, kind: Kind, indent: str = "") -> Iterator[str]:
    """One node in braces."""
    words = "" if kind.elided else name
    match kind, node:
        case (Leaf(), str()):
            yield f"{indent}{f'{words} {quoted(node)}'.strip()};"
        case (LeafList(), list()):
            values = quoted(node[0]) if len(node) == 1 else f"[ {' '.join(map(quoted, node))} ]"
            yield f"{indent}{f'{words} {values}'.strip()};"
        case (Empty(), _):
            yield f"{indent}{words};"
        case (ListOf(), dict()):
            for key, entry in node.items():
                if kind.verb_first:
                    yield from (f"{indent}{words} {verb} {quoted(key)};" for verb in entry)
                else:
                    yield from _braces(f"{words} {quoted(key)}".strip(), entry, kind, indent)
        case (Container(), dict()):
            (only, value), *others = node.items() or [("", "")]
            if (
                not others
                and only
                and isinstance(kind.children[only], Leaf)
                and kind.children[only].elided
            ):
                yield f"{indent}{words} {quoted(value)};"
            else:
                yield from _braces(words, node, kind, indent)


def _braces(words: str, tree: Tree, kind: Container | ListOf, indent: str) -> Iterator[str]:
    inner = list(blocks(tree, kind, indent + "    "))
    if not inner:
        yield f"{indent}{words};"
        return
    yield f"{indent}{words} {{"
    yield from inner
    yield f"{indent}}}"
