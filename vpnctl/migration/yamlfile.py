"""A YAML file to a checked value, with every mistake at its place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from vpnctl.errors import DefinitionError
from vpnctl.model import Place
from vpnctl.yamltree.mistake import Mistake
from vpnctl.yamltree.tree import DocumentError, Genre, Mapping, decode, find, parse_text

_Value = TypeVar("_Value", bound=BaseModel)


def read_yaml(file: str, content: bytes, model: type[_Value], genre: Genre) -> _Value:
    """The ``model`` that ``content`` says; ``file`` is how mistakes call it.

    Raises `DefinitionError` with every mistake.
    """
    try:
        text = decode(file, content)
        root = parse_text(file, text, genre)
    except DocumentError as error:
        raise _error(error.mistakes) from None
    try:
        # Values as YAML has them: the models are strict, and 4 is no text.
        plain = yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise _error([_misread(file, error)]) from None
    try:
        return model.model_validate(plain)
    except ValidationError as found:
        mistakes = [
            _mistake(root, one["loc"], one["type"], one["msg"])
            for one in found.errors(include_url=False, include_context=False)
        ]
    raise _error(mistakes)


def _misread(file: str, error: Exception) -> Mistake:
    """Of what has the form of a value and is none, such as the 30th of February."""
    mark = getattr(error, "problem_mark", None)
    place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file, 1)
    return Mistake(place, "", f"a value is none: {getattr(error, 'problem', None) or error}")


def _error(mistakes: Iterable[Mistake]) -> DefinitionError:
    found = tuple(sorted(set(mistakes)))
    counted = "1 mistake" if len(found) == 1 else f"{len(found)} mistakes"
    shown = "; ".join(
        f"{one.place}: {one.path + ': ' if one.path else ''}{one.message}" for one in found
    )
    return DefinitionError(f"{counted}: {shown}", hint="correct them and try again", mistakes=found)


def _mistake(root: Mapping, loc: Sequence[int | str], kind: str, message: str) -> Mistake:
    """What pydantic found, in the operator's words."""
    parent = find(root, loc[:-1])
    if loc and isinstance(parent, Mapping) and loc[-1] in parent.entries:
        place = parent.entries[str(loc[-1])][0].place
    else:
        place = find(root, loc).place
    return Mistake(place, _path(loc), _words(kind, message))


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
