"""Configuration as XML: what a client sends to edits, and a configuration to elements.

Elements may be without namespace, as Junos has them, or in one of Junos' own.
"""

from __future__ import annotations

from collections.abc import Iterator

from lxml import etree

from vpnctl.lab.junos.editing import Edit, EditError, Verb, child
from vpnctl.lab.junos.schema import Container, Empty, Kind, Leaf, LeafList, ListOf, Path, Tree

NETCONF = "urn:ietf:params:xml:ns:netconf:base:1.0"
_OURS = ("http://yang.juniper.net/junos/conf/", "http://xml.juniper.net/xnm/1.1/xnm")


def local_name(element: etree._Element) -> str:
    """An element's name without its namespace."""
    return str(etree.QName(element).localname)


def edits(element: etree._Element, root: Container, *, default: str = "merge") -> Iterator[Edit]:
    """What a ``<configuration>`` asks for.

    ``default``: ``merge``, ``replace`` or ``none``, of `RFC 6241 section 7.2`.  Raises `EditError`.
    """
    yield from _children(element, root, (), default)


def _children(element: etree._Element, kind: Kind, path: Path, operation: str) -> Iterator[Edit]:
    for one in element.iterchildren(tag=etree.Element):
        yield from _node(one, kind, path, operation)


def _node(element: etree._Element, parent: Kind, path: Path, inherited: str) -> Iterator[Edit]:
    name = _known_name(element, path)
    operation = _operation(element, path) or inherited
    kind = child(parent, name, path)
    here = (*path, name)
    text = (element.text or "").strip()
    if not isinstance(kind, Leaf | LeafList) and text:
        raise EditError("syntax error", path=here, element=text, tag="bad-element")
    match kind:
        case ListOf():
            found = [one for one in element if local_name(one) == kind.key]
            if not found:
                if operation == "delete":
                    yield Edit(Verb.DELETE, here)
                    return
                raise EditError(
                    "missing mandatory key", path=here, element=kind.key, tag="missing-element"
                )
            here = (*here, (found[0].text or "").strip())
            rest = [one for one in element.iterchildren(tag=etree.Element) if one is not found[0]]
        case Leaf() | LeafList():
            if len(element):
                raise EditError("syntax error", path=here, element=local_name(element[0]))
            if text:
                here = (*here, text)
            elif operation not in ("delete", "remove"):
                raise EditError("missing argument", path=path, element=name, tag="missing-element")
            rest = []
        case Empty() | Container():
            rest = list(element.iterchildren(tag=etree.Element))
    if operation in ("delete", "remove"):
        if isinstance(kind, Leaf):
            here = (*path, name)  # whatever its value is
        yield Edit(Verb(operation), here)
        return
    if operation == "replace":
        yield Edit(Verb.REMOVE, (*path, name) if isinstance(kind, Leaf) else here)
        operation = "merge"
    if operation == "create":
        yield Edit(Verb.CREATE, here)
        operation = "merge"
    elif operation == "merge" and (isinstance(kind, Leaf | LeafList | Empty | ListOf) or not rest):
        yield Edit(Verb.SET, here)
    for one in rest:
        yield from _node(one, kind, here, operation)


def _known_name(element: etree._Element, path: Path) -> str:
    namespace = etree.QName(element).namespace
    if namespace and namespace != NETCONF and not namespace.startswith(_OURS):
        raise EditError("unknown namespace", path=path, element=namespace, tag="unknown-namespace")
    return local_name(element)


def _operation(element: etree._Element, path: Path) -> str:
    """What the element's attributes ask for, in both spellings; "" for nothing."""
    found = ""
    for attribute, value in element.attrib.items():
        name = etree.QName(attribute)
        if name.localname == "operation":
            if value not in ("merge", "replace", "create", "delete", "remove"):
                raise EditError(
                    "bad attribute value", path=path, element=value, tag="bad-attribute"
                )
            found = value
        elif name.localname in ("replace", "delete") and value == name.localname:
            found = value
        elif name.namespace is None:
            raise EditError(
                "unknown attribute", path=path, element=name.localname, tag="unknown-attribute"
            )
    return found


def configuration(tree: Tree, root: Container) -> etree._Element:
    """A ``<configuration>``."""
    element = etree.Element("configuration")
    _entry(element, tree, root)
    return element


def _write(parent: etree._Element, name: str, node: object, kind: Kind) -> None:
    match kind, node:
        case (Leaf(), str()):
            etree.SubElement(parent, name).text = node
        case (LeafList(), list()):
            for value in node:
                etree.SubElement(parent, name).text = value
        case (Empty(), _):
            etree.SubElement(parent, name)
        case (ListOf(), dict()):
            for key, entry in node.items():
                element = etree.SubElement(parent, name)
                if kind.verb_first:
                    _entry(element, entry, kind)
                    etree.SubElement(element, kind.key).text = key
                else:
                    etree.SubElement(element, kind.key).text = key
                    _entry(element, entry, kind)
        case (Container(), dict()):
            _entry(etree.SubElement(parent, name), node, kind)


def _entry(element: etree._Element, entry: Tree, kind: Container | ListOf) -> None:
    for name, inner in kind.children.items():
        if name in entry:
            _write(element, name, entry[name], inner)
