"""The requests that only Junos has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lxml import etree

from vpnctl.lab.junos.dialogue import Dialogue
from vpnctl.lab.junos.editing import Edit, EditError
from vpnctl.lab.junos.messages import Content, child, ok, only, rpc_error, text_of, wrap
from vpnctl.lab.junos.notation_set import blocks, set_edits, statements, text_edits
from vpnctl.lab.junos.notation_xml import configuration, edits, local_name
from vpnctl.lab.junos.router import Router
from vpnctl.lab.junos.subtree import filtered


async def lock_configuration(dialogue: Dialogue, _request: etree._Element) -> Content:
    dialogue.router.lock(dialogue.session)
    return ok()


async def unlock_configuration(dialogue: Dialogue, _request: etree._Element) -> Content:
    dialogue.router.unlock(dialogue.session)
    return ok()


async def open_configuration(dialogue: Dialogue, request: etree._Element) -> Content:
    only(request, "private", "exclusive")
    if child(request, "private") is not None:
        dialogue.router.open_private(dialogue.session)
    else:
        dialogue.router.lock(dialogue.session)
    return ok()


async def close_configuration(dialogue: Dialogue, _request: etree._Element) -> Content:
    if dialogue.session.private is not None:
        dialogue.session.private = None
    elif dialogue.router.locked_by is dialogue.session:
        dialogue.router.discard()
        dialogue.router.unlock(dialogue.session)
    return ok()


async def load_configuration(dialogue: Dialogue, request: etree._Element) -> Content:
    router, session = dialogue.router, dialogue.session
    number = request.get("rollback")
    if number is not None:
        router.roll_back(session, int(number))
        return [wrap("load-configuration-results", ok())]
    action = request.get("action", "merge")
    if action not in ("merge", "replace", "override", "set", "update"):
        raise EditError("bad attribute value", element=action, tag="bad-attribute")
    found: Iterable[Edit] = _loaded(request, router)
    if action in ("override", "update"):
        found = list(found)
        router.override(session)
    warnings = [
        rpc_error("operation-failed", said, severity="warning")
        for said in router.edit(session, found, missing_is_fine=True)
    ]
    return [wrap("load-configuration-results", [*warnings, *ok()])]


def _loaded(request: etree._Element, router: Router) -> Iterator[Edit]:
    for one in request.iterchildren(tag=etree.Element):
        match local_name(one):
            case "configuration":
                yield from edits(one, router.schema)
            case "configuration-text":
                yield from text_edits(one.text or "", router.schema)
            case "configuration-set":
                yield from set_edits(one.text or "", router.schema)
            case other:
                raise EditError("syntax error", element=other, tag="unknown-element")


async def get_configuration(dialogue: Dialogue, request: etree._Element) -> Content:
    router = dialogue.router
    if request.get("compare") == "rollback":
        output = wrap("configuration-information", [etree.Element("configuration-output")])
        output[0].text = "\n" + router.compare(dialogue.session, int(request.get("rollback", "0")))
        return [output]
    tree = (
        router.running if request.get("database") == "committed" else router.view(dialogue.session)
    )
    match request.get("format", "xml"):
        case "text":
            element = etree.Element("configuration-text")
            element.text = "\n".join(("", *blocks(tree, router.schema), ""))
        case "set":
            element = etree.Element("configuration-set")
            element.text = "\n".join(
                ("", *(f"set {one}" for one in statements(tree, router.schema)), "")
            )
        case "xml":
            element = configuration(tree, router.schema)
            only = child(request, "configuration")
            if only is not None:
                element = filtered(element, only)
        case other:
            raise EditError("bad attribute value", element=other, tag="bad-attribute")
    return [element]


async def commit_configuration(dialogue: Dialogue, request: etree._Element) -> Content:
    only(
        request,
        "check",
        "log",
        "confirmed",
        "confirm-timeout",
        "synchronize",
        "full",
        "force-synchronize",
    )
    router, session = dialogue.router, dialogue.session
    if child(request, "check") is not None:
        router.check(session)
        return [wrap("commit-results", [_engine("commit-check-success")])]
    confirmed = child(request, "confirmed") is not None
    text = text_of(request, "confirm-timeout") or "10"
    minutes = int(text) if confirmed and text.isdigit() else 0
    if confirmed and not 1 <= minutes <= 65535:
        raise EditError("confirm-timeout counts whole minutes", element=text, tag="bad-element")
    await router.commit(
        session,
        client="junoscript",
        log=text_of(request, "log") or "",
        confirm_s=minutes * router.minute if confirmed else None,
        minutes=minutes,
        stays=True,
    )
    return [wrap("commit-results", [_engine("commit-success"), *ok()])]


def _engine(what: str) -> etree._Element:
    engine = etree.Element("routing-engine")
    etree.SubElement(engine, "name").text = "re0"
    etree.SubElement(engine, what)
    return engine


async def get_commit_information(dialogue: Dialogue, _request: etree._Element) -> Content:
    information = etree.Element("commit-information")
    waiting = dialogue.router.unconfirmed
    for number, commit in enumerate(dialogue.router.history):
        entry = etree.SubElement(information, "commit-history")
        etree.SubElement(entry, "sequence-number").text = str(number)
        etree.SubElement(entry, "user").text = commit.user
        etree.SubElement(entry, "client").text = commit.client
        etree.SubElement(entry, "date-time").text = f"{commit.time:%Y-%m-%d %H:%M:%S} UTC"
        if commit.minutes:
            # It stays when the commit is confirmed; what tells one that waits comes last.
            words = f"commit confirmed, rollback in {commit.minutes:g}mins"
            etree.SubElement(entry, "comment").text = words
        if commit.log:
            etree.SubElement(entry, "log").text = commit.log
        if commit.minutes and number == 0 and waiting is not None:
            etree.SubElement(entry, "commit-confirmed").text = "rollback pending"
    return [information]


async def get_system_information(dialogue: Dialogue, _request: etree._Element) -> Content:
    information = etree.Element("system-information")
    for name, value in (
        ("hardware-model", f"lab-{dialogue.router.platform}"), ("os-name", "junos"),
        ("os-version", "23.4R2-lab"), ("serial-number", "LAB"), ("host-name", dialogue.router.name),
    ):  # fmt: skip
        etree.SubElement(information, name).text = value
    return [information]
