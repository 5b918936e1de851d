"""XML configurations: which nodes are ours, what to load, what to ask for, what to compare.

A template marks each node that is ours, and with it everything below, by the attribute by which
the router replaces it: ``replace="replace"`` in Junos' own XML, ``nc:operation="replace"`` in that
of RFC 6241.  What has no such mark is merged, shared with others and never taken away.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from lxml import etree

from vpnctl.provisioning.paths import (
    Step,
    children,
    is_element,
    key_leaf,
    local_name,
    parse_path,
    path_text,
    step_of,
)
from vpnctl.provisioning.rendered import Rendered

JUNOS_XML = "junos-xml"
NETCONF_XML = "netconf-xml"

#: Namespace of NETCONF itself (RFC 6241 section 3.1).
BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"
_OPERATION = f"{{{BASE}}}operation"
#: What a list's key is called where nobody said otherwise.
KEYS = ("name", "id")

# By format: the mark on what is ours, and on what is to be taken away; RFC 6241 section 7.2 has
# "remove" for what may be gone already.
_OURS = {JUNOS_XML: ("replace", "replace"), NETCONF_XML: (_OPERATION, "replace")}
_GONE = {JUNOS_XML: ("delete", "delete"), NETCONF_XML: (_OPERATION, "remove")}


def parse_document(content: str | bytes) -> etree._Element:
    """The root of a document; raises `lxml.etree.XMLSyntaxError` where it is none.

    No entity is resolved and nothing is fetched, whatever a router sends.
    """
    octets = content.encode() if isinstance(content, str) else content
    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_blank_text=True)
    return etree.fromstring(octets, parser)


def owned_paths(root: etree._Element, form: str, keys: Collection[str]) -> tuple[str, ...]:
    """The paths of the nodes that are marked as ours, in the order of the document.

    The envelope of RFC 6241 is no part of a path.
    """
    mark, value = _OURS[form]
    above: tuple[Step, ...] = (step_of(root, keys),) if form == JUNOS_XML else ()
    return tuple(path_text(steps) for steps in _owned(root, above, (mark, value), keys))


def fold(root: etree._Element, form: str, keys: Collection[str]) -> None:
    """Make one of what stands several times: a container, or an entry of a list with one key.

    So a template can go through the endpoints, and write for each all the way that leads to what
    it has.  What is ours is left as it is.
    """
    mark, value = _OURS[form]
    seen: dict[Step, etree._Element] = {}
    for child in list(children(root)):
        step = step_of(child, keys)
        if child.get(mark) == value or next(children(child), None) is None:
            continue
        first = seen.setdefault(step, child)
        if first is not child:
            key = key_leaf(child, keys)
            first.extend([one for one in children(child) if one is not key])
            root.remove(child)
    for child in seen.values():
        fold(child, form, keys)


def load_document(rendered: Rendered) -> str:
    """What to load: the content, and the order to take away what is not ours any more."""
    root = parse_document(rendered.content)
    mark, value = _GONE[rendered.format]
    for path in rendered.delete:
        _put(root, _below_root(parse_path(path), rendered.format)).set(mark, value)
    return str(etree.tostring(root, encoding="unicode", pretty_print=True))


def subtree_filter(form: str, paths: Iterable[str]) -> str:
    """The subtree filter (RFC 6241 section 6) that selects these nodes, a ``<configuration>`` for
    Junos and a ``<filter>`` else."""
    root = (
        etree.Element("configuration")
        if form == JUNOS_XML
        else etree.Element(f"{{{BASE}}}filter", {"type": "subtree"})
    )
    for path in paths:
        _put(root, _below_root(parse_path(path), form))
    return str(etree.tostring(root, encoding="unicode"))


def owned_text(document: str | bytes | etree._Element, owned: Iterable[str]) -> str:
    """The owned nodes of a configuration, one line per leaf, sorted: equal text, equal content.

    ``document``: a rendered content, or what a router answered, in whatever envelope.  A node
    that is not there has no lines.
    """
    root = document if isinstance(document, etree._Element) else parse_document(document)
    lines: set[str] = set()
    for path in owned:
        steps = parse_path(path)
        keys = {*KEYS, *(key for step in steps for key, _ in step.keys)}
        for element in _find(root, steps):
            words = [word for step in steps for word in _words(step)]
            lines.update(_lines(element, words, keys))
    return "".join(f"{line}\n" for line in sorted(lines))


def _owned(
    element: etree._Element, steps: tuple[Step, ...], mark: tuple[str, str], keys: Collection[str]
) -> Iterator[tuple[Step, ...]]:
    """The steps to every marked node below; one within another goes with it."""
    for child in children(element):
        here = (*steps, step_of(child, keys))
        if child.get(mark[0]) == mark[1]:
            yield here
        else:
            yield from _owned(child, here, mark, keys)


def _below_root(steps: tuple[Step, ...], form: str) -> tuple[Step, ...]:
    return steps[1:] if form == JUNOS_XML else steps


def _put(element: etree._Element, steps: Iterable[Step]) -> etree._Element:
    """The element at the end of the steps, made with what leads to it where it is missing."""
    for step in steps:
        found = next((child for child in children(element) if step.matches(child)), None)
        if found is None:
            found = etree.SubElement(element, step.tag, nsmap=_default_namespace(element, step))
            for key, value in step.keys:
                etree.SubElement(found, step.qualified(key)).text = value
        element = found
    return element


def _default_namespace(parent: etree._Element, step: Step) -> dict[str | None, str] | None:
    inherited = etree.QName(parent).namespace
    return None if step.namespace in (None, inherited) else {None: step.namespace}


def _find(root: etree._Element, steps: tuple[Step, ...]) -> list[etree._Element]:
    """The elements at the end of the steps, which begin wherever the first one is."""
    first = next((one for one in root.iter() if is_element(one) and steps[0].matches(one)), None)
    found = [] if first is None else [first]
    for step in steps[1:]:
        found = [child for one in found for child in children(one) if step.matches(child)]
    return found


def _words(step: Step) -> list[str]:
    return [step.name, *(_quoted(value) for _, value in step.keys)]


def _lines(element: etree._Element, words: list[str], keys: Collection[str]) -> Iterator[str]:
    key = key_leaf(element, keys)
    below = [child for child in children(element) if child is not key]
    if not below:
        text = "" if key is not None else (element.text or "").strip()
        yield " ".join([*words, _quoted(text)] if text else words)
    for child in below:
        child_key = key_leaf(child, keys)
        own = [] if child_key is None else [_quoted((child_key.text or "").strip())]
        yield from _lines(child, [*words, local_name(child), *own], keys)


def _quoted(text: str) -> str:
    """In quotes where a word would not be one."""
    plain = text and not any(character.isspace() or character in "\"'" for character in text)
    return text if plain else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
