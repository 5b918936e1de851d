"""A YAML file to a checked value, with every mistake at its place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from vpnctl.errors import DefinitionError
from vpnctl.model import Place

#: Octets; the largest honest file is a few thousand.
LARGEST = 256 * 1024

_Value = TypeVar("_Value", bound=BaseModel)


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """What is wrong, where (``path`` like ``disks[0].file``), and what to do about it."""

    place: Place
    path: str
    message: str
    hint: str = ""


def read_yaml(file: str, content: bytes, model: type[_Value]) -> _Value:
    """The ``model`` that ``content`` says; ``file`` is how mistakes call it.

    Raises `DefinitionError` with every mistake.
    """
    if len(content) > LARGEST:
        raise _error([Mistake(Place(file, 1), "", f"the file is larger than {LARGEST} octets")])
    try:
        text = content.decode("utf-8")
        root = yaml.compose(text, yaml.SafeLoader)
        plain = yaml.safe_load(text)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise _error([Mistake(Place(file, 1), "", f"this is no YAML: {error}")]) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file, 1)
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise _error([Mistake(place, "", f"this is no YAML: {problem}")]) from None
    if not isinstance(plain, dict):
        raise _error([Mistake(Place(file, 1), "", "a mapping is expected", "write `key: value`")])
    try:
        return model.model_validate(plain)
    except ValidationError as found:
        mistakes = [
            Mistake(
                _place(file, root, one["loc"]), _path(one["loc"]), _words(one["type"], one["msg"])
            )
            for one in found.errors(include_url=False, include_context=False)
        ]
    raise _error(mistakes)


def _error(mistakes: Iterable[Mistake]) -> DefinitionError:
    found = tuple(sorted(set(mistakes)))
    counted = "1 mistake" if len(found) == 1 else f"{len(found)} mistakes"
    shown = "; ".join(
        f"{one.place}: {one.path + ': ' if one.path else ''}{one.message}" for one in found
    )
    return DefinitionError(f"{counted}: {shown}", hint="correct them and try again", mistakes=found)


def _words(kind: str, message: str) -> str:
    match kind:
        case "extra_forbidden":
            return "there is no such key"
        case "missing":
            return "this key is missing"
    return message.removeprefix("Value error, ").replace("Input should be", "this should be")


def _path(loc: Sequence[int | str]) -> str:
    path = ""
    for step in loc:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return path


def _place(file: str, node: yaml.Node | None, loc: Sequence[int | str]) -> Place:
    """Where ``loc`` is, or what comes nearest above it."""
    mark = node.start_mark if node is not None else None
    for step in loc:
        following: yaml.Node | None = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(step):
                    mark, following = key.start_mark, value
        elif (
            isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value)
        ):
            following = node.value[step]
            mark = following.start_mark
        if following is None:
            break
        node = following
    return Place(file, mark.line + 1, mark.column + 1) if mark else Place(file, 1)
