"""The requests of RFC 6241."""

from __future__ import annotations

from lxml import etree

from vpnctl.lab.junos.dialogue import Dialogue
from vpnctl.lab.junos.editing import EditError
from vpnctl.lab.junos.messages import MODEL, Content, child, datastore, ok, only, rpc_error, text_of
from vpnctl.lab.junos.notation_xml import configuration, edits
from vpnctl.lab.junos.router import RouterError
from vpnctl.lab.junos.subtree import filtered


async def lock(dialogue: Dialogue, request: etree._Element) -> Content:
    if datastore(request, "target") == "running":
        dialogue.router.lock_running(dialogue.session)
    else:
        dialogue.router.lock(dialogue.session)
    return ok()


async def unlock(dialogue: Dialogue, request: etree._Element) -> Content:
    if datastore(request, "target") == "running":
        if dialogue.router.running_locked_by is not dialogue.session:
            raise RouterError("running is not locked by this session")
        dialogue.router.running_locked_by = None
    else:
        dialogue.router.unlock(dialogue.session)
    return ok()


async def edit_config(dialogue: Dialogue, request: etree._Element) -> Content:
    only(
        request,
        "target",
        "default-operation",
        "test-option",
        "error-option",
        "config",
        "config-text",
    )
    if datastore(request, "target") != "candidate":
        raise RouterError("only the candidate can be edited", tag="operation-not-supported")
    holder = child(request, "config")
    given = None if holder is None else child(holder, "configuration")
    if given is None:
        raise EditError("missing element", element="configuration", tag="missing-element")
    router = dialogue.router
    found = edits(given, router.schema, default=text_of(request, "default-operation") or "merge")
    router.edit(dialogue.session, found, missing_is_fine=False)
    return ok()


async def get_config(dialogue: Dialogue, request: etree._Element) -> Content:
    only(request, "source", "filter")
    router = dialogue.router
    running = datastore(request, "source") == "running"
    tree = router.running if running else router.view(dialogue.session)
    data = etree.Element("data")
    found = configuration(tree, router.schema)
    wanted = child(request, "filter")
    if wanted is not None:
        found = filtered(found, child(wanted, "configuration"))
    if dialogue.standard:
        for one in found.iter(tag=etree.Element):
            one.tag = f"{{{MODEL}}}{one.tag}"
    data.append(found)
    return [data]


async def validate(dialogue: Dialogue, request: etree._Element) -> Content:
    if datastore(request, "source") != "candidate":
        raise RouterError("only the candidate can be validated", tag="operation-not-supported")
    dialogue.router.validate(dialogue.session)
    return ok()


async def commit(dialogue: Dialogue, request: etree._Element) -> Content:
    names = ["confirmed", "confirm-timeout"]
    only(request, *names, *(("persist", "persist-id") if dialogue.standard else ()))
    seconds = float(text_of(request, "confirm-timeout") or 600)
    await dialogue.router.commit(
        dialogue.session,
        client="netconf",
        confirm_s=seconds if child(request, "confirmed") is not None else None,
        minutes=seconds / 60 if child(request, "confirmed") is not None else 0,
        persist=text_of(request, "persist"),
        persist_id=text_of(request, "persist-id"),
    )
    return ok()


async def cancel_commit(dialogue: Dialogue, request: etree._Element) -> Content:
    only(request, "persist-id")
    if not dialogue.standard:
        return [rpc_error("operation-not-supported", "syntax error", element="cancel-commit")]
    dialogue.router.cancel(dialogue.session, text_of(request, "persist-id"))
    return ok()


async def discard_changes(dialogue: Dialogue, _request: etree._Element) -> Content:
    router = dialogue.router
    if router.locked_by not in (None, dialogue.session):
        raise RouterError("configuration database locked", tag="in-use")
    router.discard()
    return ok()


async def close_session(dialogue: Dialogue, _request: etree._Element) -> Content:
    dialogue.ended = True
    return ok()
