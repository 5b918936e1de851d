"""One change after the other to a configuration: the edits that every notation comes down to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from vpnctl.lab.junos.schema import Container, Empty, Kind, Leaf, LeafList, ListOf, Path, Tree


class Verb(Enum):
    """``REMOVE`` is ``DELETE`` of what may be missing (RFC 6241 section 7.2)."""

    SET = "set"
    CREATE = "create"
    DELETE = "delete"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Edit:
    """``path`` to a node; for ``SET`` of a leaf, its value is the last step."""

    verb: Verb
    path: Path


class EditError(Exception):
    """The router does not take it.  ``tag``: RFC 6241 appendix A; ``element``: which is wrong."""

    def __init__(
        self, message: str, *, path: Path = (), element: str = "", tag: str = "operation-failed"
    ) -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.element = element
        self.tag = tag


def apply(tree: Tree, root: Container, edit: Edit) -> None:
    """Change ``tree`` in place.  Raises `EditError`."""
    if edit.verb is Verb.SET:
        _set(tree, root, edit.path)
        return
    present = _present(tree, root, edit.path)
    if edit.verb is Verb.CREATE:
        if present:
            raise EditError(
                f"data already exists: {shown(edit.path)}", path=edit.path, tag="data-exists"
            )
        _set(tree, root, edit.path)
    elif present:
        _delete(tree, root, edit.path)
    elif edit.verb is Verb.DELETE:
        raise EditError(
            "statement not found", path=edit.path[:-1], element=edit.path[-1], tag="data-missing"
        )


def shown(path: Path) -> str:
    """A path as the router's messages have it."""
    return " ".join(path)


def child(kind: Kind, name: str, path: Path) -> Kind:
    """The child of that name.  Raises `EditError`."""
    children: Mapping[str, Kind] = kind.children if isinstance(kind, Container | ListOf) else {}
    if name not in children:
        raise EditError("syntax error", path=path, element=name, tag="unknown-element")
    return children[name]


class _Role(Enum):
    CHILD = "a node of that name"
    KEY = "an entry of a list"
    VALUE = "the value of a leaf"


def _steps(root: Container, path: Path) -> Iterator[tuple[str, Kind, _Role]]:
    """Each step of a path with the kind of node it leads to.  Raises `EditError`."""
    kind: Kind = root
    inside = True
    for place, name in enumerate(path):
        if isinstance(kind, Leaf | LeafList):
            _check(kind, name, path[:place])
            yield name, kind, _Role.VALUE
        elif isinstance(kind, ListOf) and not inside:
            _check(kind, name, path[:place])
            inside = True
            yield name, kind, _Role.KEY
        else:
            kind = child(kind, name, path[:place])
            inside = not isinstance(kind, ListOf)
            yield name, kind, _Role.CHILD


def _check(kind: Leaf | LeafList | ListOf, value: str, path: Path) -> None:
    if why := kind.wrong(value):
        raise EditError(why, path=path, element=value, tag="bad-element")


def _set(tree: Tree, root: Container, path: Path) -> None:
    here: Any = tree
    steps = list(_steps(root, path))
    for name, kind, role in steps:
        match kind, role:
            case (Leaf(), _Role.CHILD):
                leaf = name
            case (Leaf(), _Role.VALUE):
                here[leaf] = name
            case (LeafList(), _Role.CHILD):
                here = here.setdefault(name, [])
            case (LeafList(), _Role.VALUE):
                if name not in here:
                    here.append(name)
            case (Empty(), _):
                here[name] = True
            case _:
                here = here.setdefault(name, {})
    if steps and steps[-1][2] is _Role.CHILD and isinstance(steps[-1][1], Leaf | LeafList):
        raise EditError("missing argument", path=path[:-1], element=path[-1], tag="missing-element")


def _present(tree: Tree, root: Container, path: Path) -> bool:
    here: Any = tree
    for name, kind, role in _steps(root, path):
        if isinstance(kind, Leaf) and role is _Role.VALUE:
            return bool(here == name)
        if name not in here:
            return False
        if not isinstance(kind, LeafList) or role is _Role.CHILD:
            here = here[name]
    return True


def _delete(tree: Tree, root: Container, path: Path) -> None:
    """Remove a node that is there, and the containers that mean nothing without it."""
    trail: list[tuple[Any, str, bool]] = []
    here: Any = tree
    for name, kind, role in _steps(root, path):
        if role is _Role.VALUE:
            if isinstance(kind, LeafList) and len(here) > 1:
                here.remove(name)
                return
            break
        stays = role is _Role.KEY or (isinstance(kind, Container) and kind.presence)
        trail.append((here, name, stays))
        here = here[name]
    parent, name, _ = trail.pop()
    del parent[name]
    for parent, name, stays in reversed(trail):
        if parent[name] or stays:
            return
        del parent[name]
