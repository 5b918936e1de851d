"""From a document to a checked model, with every mistake of shape at its place.

pydantic stops at the first layer of mistakes; an operator wants them all.  So whatever is wrong is
reported, pruned from the tree, and the rest is validated again: a bad VLAN does not hide that the
site's name is unknown.
"""

from __future__ import annotations

import types
from collections.abc import Sequence as Steps
from typing import Annotated, Any, Generic, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from vpnctl.model import Place
from vpnctl.ruleset.values import MISTAKE
from vpnctl.yamltree.mistake import MOST_SUGGESTIONS, Mistake, choices, quote, suggestion
from vpnctl.yamltree.tree import Mapping, Node, Scalar, Sequence, find

M = TypeVar("M", bound=BaseModel)
Step = str | int

#: Rounds of pruning; each reports at least one mistake, and more are of no use to anybody.
_MAX_ROUNDS = 50
_KEY = "[key]"
_ANYTHING = ""


class Reading(Generic[M]):
    """A validated file: its ``model``, the tree it came from, and what was wrong with it.

    ``model`` is `None` where not enough was left to make one.  The tree is the pruned one, so that
    positions in the model and in the tree agree; nodes keep the place and path of the original.
    ``lost`` holds the paths of what was pruned or stood in for, e.g. ``pes.pe-c1``.
    """

    __slots__ = ("file", "lost", "mistakes", "model", "root")

    def __init__(
        self,
        file: str,
        root: Mapping,
        model: M | None,
        mistakes: tuple[Mistake, ...],
        lost: frozenset[str] = frozenset(),
    ) -> None:
        self.file = file
        self.root = root
        self.model = model
        self.mistakes = mistakes
        self.lost = lost

    def node(self, *loc: Step) -> Node:
        """The node from which the part of the model at ``loc`` came."""
        return find(self.root, loc)

    def place(self, *loc: Step) -> Place:
        """The place of that node."""
        return find(self.root, loc).place

    def mistake(
        self, loc: Steps[Step], message: str, hint: str = "", *, key: bool = False
    ) -> Mistake:
        """A mistake at ``loc``; with ``key``, at the key of that entry instead of its value."""
        node = find(self.root, loc)
        place = node.place
        if key:
            parent = find(self.root, loc[:-1])
            if isinstance(parent, Mapping) and loc[-1] in parent.entries:
                place = parent.entries[str(loc[-1])][0].place
        return Mistake(place, node.path, message, hint)


def read(
    model: type[M], file: str, root: Mapping, stand_ins: dict[str, Mapping] | None = None
) -> Reading[M]:
    """Validate ``root`` against ``model``; mistakes are collected, never raised.

    Prunes ``root`` in place.  ``stand_ins`` takes the place of entries of the root that must be
    there and are missing or beyond repair, so that the rest of the file can still be checked.
    """
    substitutes = dict(stand_ins or {})
    mistakes: dict[Mistake, None] = {}
    # Nodes that lost something, and which keys: what is wrong with them then follows from it.
    pruned: set[tuple[int, Step]] = set()
    lost: set[str] = set()
    for _ in range(_MAX_ROUNDS):
        try:
            done = model.model_validate(root.raw())
        except ValidationError as error:
            details = error.errors(include_url=False)
        else:
            return Reading(file, root, done, tuple(mistakes), frozenset(lost))
        victims: list[tuple[Mapping | Sequence, Step]] = []
        hopeless = False
        for detail in details:
            trail = _trail(root, detail["loc"])
            missing = detail["type"] == "missing"
            if missing:
                consequence = (id(trail[-1][0]), detail["loc"][-1]) in pruned
            else:
                consequence = (id(find(root, detail["loc"])), _ANYTHING) in pruned
            if not consequence:
                suggest = len(mistakes) < MOST_SUGGESTIONS
                mistakes[_translate(model, root, detail, suggest=suggest)] = None
            if not missing and trail:
                victims.append(trail[-1])
            elif len(trail) > 1:
                victims.append(trail[-2])
            elif trail and trail[0][1] in substitutes:
                key = str(trail[0][1])
                lost.add(key)
                root.entries[key] = (
                    Scalar(
                        root.file,
                        root.line,
                        root.column,
                        root,
                        key,
                        root.start,
                        root.start,
                        key,
                        True,
                    ),
                    substitutes.pop(key),
                )
            else:
                hopeless = True
        if hopeless:
            break
        lost.update(_prune(victims, pruned))
    return Reading(file, root, None, tuple(mistakes), frozenset(lost))


def _trail(root: Node, loc: Steps[Step]) -> list[tuple[Mapping | Sequence, Step]]:
    """The (parent, step) pairs on the way to ``loc``; the last one of a missing key included."""
    trail: list[tuple[Mapping | Sequence, Step]] = []
    node = root
    for position, step in enumerate(loc):
        last = position == len(loc) - 1
        if isinstance(node, Mapping) and (step in node.entries or (last and step != _KEY)):
            trail.append((node, step))
            if step not in node.entries:
                break
            node = node.entries[str(step)][1]
        elif isinstance(node, Sequence) and isinstance(step, int):
            trail.append((node, step))
            node = node.items[step]
    return trail


def _prune(
    victims: list[tuple[Mapping | Sequence, Step]], pruned: set[tuple[int, Step]]
) -> list[str]:
    """Take the victims out of the tree and return their paths.

    Later items of a list go first, so that the steps to the others stay true.
    """
    paths = []
    for parent, step in sorted(
        {(id(parent), step): (parent, step) for parent, step in victims}.values(),
        key=lambda victim: victim[1] if isinstance(victim[1], int) else -1,
        reverse=True,
    ):
        pruned.add((id(parent), _ANYTHING))
        if isinstance(parent, Mapping):
            pruned.add((id(parent), step))
            if step in parent.entries:
                paths.append(parent.entries.pop(str(step))[1].path)
        elif isinstance(step, int):
            paths.append(parent.items.pop(step).path)
    return paths


def _translate(
    model: type[BaseModel], root: Mapping, detail: ErrorDetails, *, suggest: bool
) -> Mistake:
    """What pydantic found, in the operator's words."""
    loc, kind = detail["loc"], detail["type"]
    at_key = bool(loc) and loc[-1] == _KEY
    node = find(root, loc)
    place, path = node.place, node.path
    if at_key or kind == "extra_forbidden":
        name = loc[-2] if at_key else loc[-1]
        parent = find(root, loc[:-2] if at_key else loc[:-1])
        if isinstance(parent, Mapping) and name in parent.entries:
            place = parent.entries[str(name)][0].place
    if kind == MISTAKE:
        context = detail["ctx"]
        return Mistake(place, path, context["message"], context["hint"])
    if kind == "missing":
        fields = _fields(model, loc[:-1])
        return Mistake(
            place, path, f"the key {loc[-1]!r} is missing", _example(fields, str(loc[-1]))
        )
    if kind == "extra_forbidden":
        keys = _fields(model, loc[:-1])
        return Mistake(
            place,
            path,
            f"unknown key {quote(str(loc[-1]))}"
            + (suggestion(str(loc[-1]), keys) if suggest else ""),
            choices(keys, "keys here"),
        )
    if kind == "too_short":
        key = next(step for step in reversed(loc) if isinstance(step, str))
        return Mistake(
            place,
            path,
            "is empty" if isinstance(node, Sequence) and not node.items else "has too few items",
            _example(_fields(model, loc[: loc.index(key)]), key),
        )
    if isinstance(node, Scalar) and node.raw() is None:
        return Mistake(place, path, "has no value", "write one, or take the key out")
    wanted = {"list_type": "a list", "dict_type": "a mapping", "model_type": "a mapping"}.get(kind)
    if wanted is None:
        return Mistake(place, path, detail["msg"], "see the policy reference")
    found = {Scalar: "a single value", Sequence: "a list", Mapping: "a mapping"}[type(node)]
    return Mistake(
        place,
        path,
        f"must be {wanted}, not {found}",
        "write [a, b], or one item per line after a -"
        if wanted == "a list"
        else "write {key: value}, or one indented `key: value` per line",
    )


def _fields(model: type[BaseModel], loc: Steps[Step]) -> dict[str, Any]:
    """The keys that the model allows at ``loc``, each with its `FieldInfo`."""
    kind: Any = model
    for step in loc:
        kind = bare(kind)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            field = _aliased(kind).get(str(step))
            if field is None:
                return {}
            kind = field.annotation
        elif get_origin(kind) in (list, dict):
            kind = get_args(kind)[-1]
    kind = bare(kind)
    return _aliased(kind) if isinstance(kind, type) and issubclass(kind, BaseModel) else {}


def _aliased(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def bare(kind: Any) -> Any:
    """The annotation without ``Annotated`` and ``| None``."""
    while True:
        if get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
        elif get_origin(kind) in (Union, types.UnionType):
            kind = next(part for part in get_args(kind) if part is not type(None))
        else:
            return kind


def _example(fields: dict[str, Any], key: str) -> str:
    field = fields.get(key)
    if field is None or not field.examples:
        return f"write `{key}:`"
    example = field.examples[0]
    shown = f"[{', '.join(map(str, example))}]" if isinstance(example, list) else str(example)
    return f"write `{key}: {shown}`, say"
