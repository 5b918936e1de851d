"""What a client may ask for.

Requests are recognized by their names, with and without namespace, as Junos does; one that is not
here is answered with ``operation-not-supported``, and an element in it that is not known with
``unknown-element``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from lxml import etree

from vpnctl.lab.junos import rpcs_junos, rpcs_standard
from vpnctl.lab.junos.dialogue import Dialogue
from vpnctl.lab.junos.editing import EditError
from vpnctl.lab.junos.messages import Content, rpc_error, within_results
from vpnctl.lab.junos.notation_xml import local_name
from vpnctl.lab.junos.router import CheckError, RouterError

Handler = Callable[[Dialogue, etree._Element], Awaitable[Content]]
_STANDARD: dict[str, Handler] = {
    "lock": rpcs_standard.lock,
    "unlock": rpcs_standard.unlock,
    "edit-config": rpcs_standard.edit_config,
    "get-config": rpcs_standard.get_config,
    "validate": rpcs_standard.validate,
    "commit": rpcs_standard.commit,
    "cancel-commit": rpcs_standard.cancel_commit,
    "discard-changes": rpcs_standard.discard_changes,
    "close-session": rpcs_standard.close_session,
}
_JUNOS: dict[str, Handler] = _STANDARD | {
    "lock-configuration": rpcs_junos.lock_configuration,
    "unlock-configuration": rpcs_junos.unlock_configuration,
    "open-configuration": rpcs_junos.open_configuration,
    "close-configuration": rpcs_junos.close_configuration,
    "load-configuration": rpcs_junos.load_configuration,
    "get-configuration": rpcs_junos.get_configuration,
    "commit-configuration": rpcs_junos.commit_configuration,
    "get-commit-information": rpcs_junos.get_commit_information,
    "get-system-information": rpcs_junos.get_system_information,
}


async def answer(dialogue: Dialogue, request: etree._Element) -> Content:
    """The content of the reply; errors are in it."""
    name = local_name(request)
    handler = (_STANDARD if dialogue.standard else _JUNOS).get(name)
    if handler is None:
        words = f"syntax error, expecting <command>: {name}"
        return [rpc_error("operation-not-supported", words, element=name)]
    try:
        return await handler(dialogue, request)
    except CheckError as error:
        found = [
            rpc_error("operation-failed", one.message, path=f"[edit {one.where}]")
            for one in error.complaints
        ]
        return within_results(name, found)
    except EditError as error:
        path = " ".join(("[edit", *error.path)) + "]"
        said = rpc_error(error.tag, error.message, path=path, element=error.element)
        return within_results(name, [said])
    except RouterError as error:
        return [rpc_error(error.tag, error.message, session=error.session)]
