"""NETCONF's messages as XML: greetings, answers, errors (RFC 6241 sections 4 and 8)."""

from __future__ import annotations

from lxml import etree

from vpnctl.lab.junos.editing import EditError
from vpnctl.lab.junos.notation_xml import NETCONF, local_name

_BASE = "urn:ietf:params:netconf:"
#: What Junos says it can; no base:1.1, and a confirmed commit without name.
JUNOS = (
    f"{_BASE}base:1.0",
    f"{_BASE}capability:candidate:1.0",
    f"{_BASE}capability:confirmed-commit:1.0",
    f"{_BASE}capability:validate:1.0",
    f"{_BASE}capability:url:1.0?scheme=http,ftp,file",
    "http://xml.juniper.net/netconf/junos/1.0",
    "http://xml.juniper.net/dmi/system/1.0",
)
#: What a router that keeps to RFC 6241 says it can.
STANDARD = (
    f"{_BASE}base:1.0",
    f"{_BASE}base:1.1",
    f"{_BASE}capability:candidate:1.0",
    f"{_BASE}capability:confirmed-commit:1.1",
    f"{_BASE}capability:validate:1.1",
    f"{_BASE}capability:rollback-on-error:1.0",
)
#: Namespace of the configuration of a router that keeps to RFC 6241.
MODEL = "http://yang.juniper.net/junos/conf/root"

Content = list[etree._Element]


def rpc_error(
    tag: str,
    message: str,
    *,
    path: str = "",
    element: str = "",
    session: int | None = None,
    severity: str = "error",
) -> etree._Element:
    """``session``: who has what was asked for, 0 for nobody over NETCONF."""
    error = etree.Element("rpc-error")
    etree.SubElement(error, "error-type").text = (
        "protocol" if session is not None else "application"
    )
    etree.SubElement(error, "error-tag").text = tag
    etree.SubElement(error, "error-severity").text = severity
    if path:
        etree.SubElement(error, "error-path").text = path
    etree.SubElement(error, "error-message").text = message
    if element or session is not None:
        info = etree.SubElement(error, "error-info")
        if element:
            etree.SubElement(info, "bad-element").text = element
        if session is not None:
            etree.SubElement(info, "session-id").text = str(session)
    return error


def wrap(name: str, content: Content) -> etree._Element:
    """An element of that name around all of it."""
    element = etree.Element(name)
    element.extend(content)
    return element


def ok() -> Content:
    """It is done."""
    return [etree.Element("ok")]


def child(request: etree._Element, *names: str) -> etree._Element | None:
    """The first child of one of these names."""
    return next(
        (one for one in request.iterchildren(tag=etree.Element) if local_name(one) in names), None
    )


def text_of(request: etree._Element, name: str) -> str | None:
    """The text of the child of that name."""
    found = child(request, name)
    return None if found is None else (found.text or "").strip()


def only(request: etree._Element, *names: str) -> None:
    """Raises `EditError` where a request has a child that it cannot have."""
    for one in request.iterchildren(tag=etree.Element):
        if local_name(one) not in names:
            raise EditError("syntax error", element=local_name(one), tag="unknown-element")


def datastore(request: etree._Element, name: str) -> str:
    """The datastore in its child of that name: ``running``, say."""
    holder = child(request, name)
    if holder is None or not len(holder):
        raise EditError("missing element", element=name, tag="missing-element")
    return local_name(holder[0])


def within_results(request: str, errors: Content) -> Content:
    """Errors as the answer to a request of that name has them."""
    match request:
        case "commit-configuration":
            return [wrap("commit-results", errors)]
        case "load-configuration":
            return [wrap("load-configuration-results", errors)]
    return errors


def reply(message_id: str | None, content: Content) -> bytes:
    """An ``<rpc-reply>``."""
    element = etree.Element(f"{{{NETCONF}}}rpc-reply", nsmap={None: NETCONF})
    if message_id is not None:
        element.set("message-id", message_id)
    for one in content:
        for inner in one.iter(tag=etree.Element):
            if etree.QName(inner).namespace is None:
                inner.tag = f"{{{NETCONF}}}{inner.tag}"
        element.append(one)
    return bytes(etree.tostring(element))


def hello(session: int, *, standard: bool) -> bytes:
    """The server's greeting."""
    element = etree.Element(f"{{{NETCONF}}}hello", nsmap={None: NETCONF})
    capabilities = etree.SubElement(element, f"{{{NETCONF}}}capabilities")
    for capability in STANDARD if standard else JUNOS:
        etree.SubElement(capabilities, f"{{{NETCONF}}}capability").text = capability
    etree.SubElement(element, f"{{{NETCONF}}}session-id").text = str(session)
    return bytes(etree.tostring(element))
