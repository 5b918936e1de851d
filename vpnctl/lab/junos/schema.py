"""Kinds of nodes of a router's configuration, and what they are called in its two notations.

In XML every node has its own element.  In the text and ``set`` notations some names are left out
(*elided* here): ``<vrf-target><community>target:1:2`` is ``vrf-target target:1:2``.

A configuration is nested dictionaries, in the order in which things were set: of a `Container` by
the child's name, of a `ListOf` by the entry's key; a `Leaf` is its text, a `LeafList` a list of
texts, an `Empty` is ``True``.  A *path* leads to a node by names and keys, and to a leaf by its
name and value::

    ("interfaces", "interface", "ge-0/0/1", "unit", "100", "vlan-id", "100")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: A node's value, by its kind as above.
Tree = dict[str, Any]
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value.  ``wrong`` says what is wrong with one, in the router's words; "" if nothing."""

    wrong: Callable[[str], str] = lambda _: ""
    elided: bool = False


@dataclass(frozen=True, slots=True)
class LeafList:
    """Values in order, each once."""

    wrong: Callable[[str], str] = lambda _: ""
    elided: bool = False


@dataclass(frozen=True, slots=True)
class Empty:
    """There or not."""

    elided: bool = False


@dataclass(frozen=True, slots=True)
class Container:
    """Children by name.  ``presence``: it means something without any child."""

    children: Mapping[str, Kind]
    presence: bool = False
    elided: bool = False


@dataclass(frozen=True, slots=True)
class ListOf:
    """Entries by key, each with children.

    ``verb_first``: the text notation has the only child before the key: ``community add RED``.
    """

    children: Mapping[str, Kind] = field(default_factory=dict)
    key: str = "name"
    elided: bool = False
    wrong: Callable[[str], str] = lambda _: ""
    verb_first: bool = False


Kind = Leaf | LeafList | Empty | Container | ListOf


def enum(*values: str) -> Callable[[str], str]:
    """Only these."""
    return lambda text: "" if text in values else f"invalid value '{text}'"


def number(first: int, last: int) -> Callable[[str], str]:
    """Only decimal numbers from ``first`` to ``last``."""

    def wrong(text: str) -> str:
        if not text.isascii() or not text.isdigit():
            return f"Invalid numeric value: '{text}'"
        if not first <= int(text) <= last:
            return f"Value {text} is not within range ({first}..{last})"
        return ""

    return wrong


def name(text: str) -> str:
    """An identifier: without blanks and without what the notations use for themselves."""
    if not text or len(text) > 255:
        return "Must be a string of 255 characters or less"
    if any(sign in '{}[];"#' or sign.isspace() or not sign.isprintable() for sign in text):
        return f"invalid character in '{text}'"
    return ""
