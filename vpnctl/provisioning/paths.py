"""Paths of nodes in an XML configuration: ``/configuration/interfaces/interface[name='lo0']``.

Every predicate is a key of a list.  A namespace stands where it changes, as in
``/{urn:ietf:params:xml:ns:yang:ietf-interfaces}interfaces/interface[name='eth0']``; Junos' own XML
has none.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from lxml import etree

_STEP = re.compile(
    r"/(?:\{(?P<namespace>[^}]*)\})?(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)"
    r"(?P<keys>(?:\[[A-Za-z_][A-Za-z0-9_.-]*=(?:'[^']*'|\"[^\"]*\")\])*)"
)
_KEY = re.compile(r"\[([^=]+)=(?:'([^']*)'|\"([^\"]*)\")\]")


@dataclass(frozen=True, slots=True)
class Step:
    """One element on the way; ``namespace`` is `None` where there is none at all."""

    namespace: str | None
    name: str
    keys: tuple[tuple[str, str], ...] = ()

    @property
    def tag(self) -> str:
        return self.qualified(self.name)

    def qualified(self, name: str) -> str:
        """A name in the namespace of this step, as lxml writes it."""
        return name if self.namespace is None else f"{{{self.namespace}}}{name}"

    def matches(self, element: etree._Element) -> bool:
        """Whether it is this one; without a namespace here, any will do there."""
        if not is_element(element) or local_name(element) != self.name:
            return False
        if self.namespace is not None and etree.QName(element).namespace != self.namespace:
            return False
        return all(key_value(element, key) == value for key, value in self.keys)


def parse_path(path: str) -> tuple[Step, ...]:
    """The steps of a path; raises `ValueError` where it is none."""
    steps: list[Step] = []
    namespace: str | None = None
    position = 0
    while position < len(path):
        match = _STEP.match(path, position)
        if match is None:
            raise ValueError(f"{path!r} is no path, from {path[position:]!r} on")
        if match["namespace"] is not None:
            namespace = match["namespace"] or None
        keys = tuple((key, one or other) for key, one, other in _KEY.findall(match["keys"]))
        steps.append(Step(namespace, match["name"], keys))
        position = match.end()
    if not steps:
        raise ValueError("an empty path")
    return tuple(steps)


def path_text(steps: Collection[Step]) -> str:
    """The path of these steps; raises `ValueError` for a key with both kinds of quotes."""
    namespace: str | None = None
    written = []
    for step in steps:
        shown = "" if step.namespace == namespace else f"{{{step.namespace or ''}}}"
        namespace = step.namespace
        written.append(f"/{shown}{step.name}{''.join(_predicate(*key) for key in step.keys)}")
    return "".join(written)


def step_of(element: etree._Element, keys: Collection[str]) -> Step:
    """The step that leads to an element: with a key where its first child is a leaf named so."""
    qualified = etree.QName(element)
    key = key_leaf(element, keys)
    pairs = () if key is None else ((local_name(key), (key.text or "").strip()),)
    return Step(qualified.namespace, qualified.localname, pairs)


def key_leaf(element: etree._Element, keys: Collection[str]) -> etree._Element | None:
    """The child that is the key of the list of which ``element`` is an entry, if it is one."""
    first = next(children(element), None)
    if first is None or local_name(first) not in keys or next(children(first), None) is not None:
        return None
    return first


def children(element: etree._Element) -> Iterator[etree._Element]:
    """The elements in it, without comments and processing instructions."""
    return (child for child in element if is_element(child))


def is_element(node: etree._Element) -> bool:
    """Whether it is an element and not a comment, say."""
    return isinstance(node.tag, str)


def local_name(element: etree._Element) -> str:
    """Its name without the namespace."""
    return str(etree.QName(element).localname)


def key_value(element: etree._Element, key: str) -> str | None:
    """What a leaf in it says; None where there is none of that name."""
    for child in children(element):
        if local_name(child) == key:
            return (child.text or "").strip()
    return None


def _predicate(key: str, value: str) -> str:
    quote = "'" if "'" not in value else '"'
    if quote in value:
        raise ValueError(f"{value!r} has both kinds of quotes")
    return f"[{key}={quote}{value}{quote}]"
