"""JSON values back into the frozen dataclasses they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


_known: dict[type[Any], dict[str, Any]] = {}


def _hints(kind: Any) -> dict[str, Any]:
    """The type of every field, looked up once for each class."""
    hints = _known.get(kind)
    if hints is None:
        named = get_type_hints(kind)
        hints = _known[kind] = {field.name: named[field.name] for field in fields(kind)}
    return hints


def decode(kind: type[T], value: Mapping[str, Any]) -> T:
    """``value`` as an instance of the dataclass ``kind``.

    Keys that the class does not have are skipped: a newer controller may tell more.  Raises
    `KeyError` for one that is missing.
    """
    return kind(**{name: _value(hint, value[name]) for name, hint in _hints(kind).items()})


def decode_all(kind: type[T], values: list[Mapping[str, Any]]) -> tuple[T, ...]:
    """Every one of ``values`` as an instance of ``kind``."""
    return tuple(decode(kind, value) for value in values)


def _value(hint: Any, value: Any) -> Any:
    if is_dataclass(hint) and isinstance(hint, type):
        return decode(hint, value)
    if get_origin(hint) is tuple:
        item = get_args(hint)[0]
        return tuple(_value(item, one) for one in value)
    return value
