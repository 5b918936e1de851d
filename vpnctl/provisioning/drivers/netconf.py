"""A router that keeps to RFC 6241: candidate, validate, and confirmed commits with a name.

The standard has no comparison, so what the candidate would change is told line by line from both
configurations, in the paths of the router's own model.  Nor has it a question for a commit that
waits: one keeps running from being locked, and that is how it is asked.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

from lxml import etree
from ncclient.operations import RPCError

from vpnctl.errors import RejectedError
from vpnctl.provisioning.documents import NETCONF_XML, load_document, owned_text, subtree_filter
from vpnctl.provisioning.driver import CommitState
from vpnctl.provisioning.drivers.refusals import dirty, refused
from vpnctl.provisioning.drivers.session_driver import SessionDriver
from vpnctl.provisioning.paths import children, path_text, step_of
from vpnctl.provisioning.rendered import Rendered

_ROLLBACK_ON_ERROR = ":rollback-on-error"


class NetconfDriver(SessionDriver):
    """One session with a router of RFC 6241."""

    device = "default"
    #: The name of the confirmed commit that this session made and has not settled.
    _ours = ""

    def _translating(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _needed(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return ("candidate", ("1.0",)), ("confirmed-commit", ("1.1",)), ("validate", ("1.0", "1.1"))

    def _lock(self) -> None:
        self._manager.lock("candidate")

    def _unlock(self) -> None:
        self._manager.unlock("candidate")

    def _load(self, rendered: Rendered) -> None:
        if self._loaded:
            self._discard()
        elif change := self._diff():
            raise dirty(self._router, change)
        self._loaded = True
        whole = _ROLLBACK_ON_ERROR in self._manager.server_capabilities
        try:
            self._manager.edit_config(
                load_document(rendered),
                target="candidate",
                error_option="rollback-on-error" if whole else None,
            )
        except RPCError:
            self._discard()
            self._loaded = False
            raise

    def _diff(self) -> str:
        before, after = (self._lines(source) for source in ("running", "candidate"))
        lines = difflib.unified_diff(before, after, n=0, lineterm="")
        return "\n".join(line for line in lines if not line.startswith(("---", "+++", "@@")))

    def _lines(self, source: str) -> list[str]:
        return _text(self._manager.get_config(source=source).data_ele).splitlines()

    def _check(self) -> None:
        self._manager.validate("candidate")

    def _commit(self, persist: str, timeout_s: int) -> None:
        self._manager.commit(confirmed=True, timeout=str(timeout_s), persist=persist)
        self._ours = persist

    def _confirm(self, persist: str) -> None:
        try:
            self._manager.commit(persist_id=persist)
        except RPCError as error:
            if _no_such_commit(error):
                raise RejectedError(
                    f"{self._router} has no commit {persist} that waits to be confirmed",
                    router=self._router, hint="it was rolled back: give the change a longer window",
                ) from error  # fmt: skip
            raise
        self._ours = ""

    def _cancel(self, persist: str) -> None:
        try:
            self._manager.cancel_commit(persist_id=persist)
        except RPCError as error:
            if not _no_such_commit(error):
                raise
        self._ours = ""

    def _discard(self) -> None:
        self._manager.discard_changes()

    def _pending(self, persist: str) -> CommitState:
        try:
            self._manager.lock("running")
        except RPCError as error:
            found = refused(error).found
            if not any(one.tag == "lock-denied" for one in found):
                return CommitState.UNKNOWN
            # Another session's lock has its number; a commit that waits has none.
            by_session = any(one.session > 0 for one in found)
            return CommitState.UNKNOWN if by_session else CommitState.PENDING
        self._manager.unlock("running")
        # It is other sessions' commits that keep a session from locking.
        return CommitState.UNKNOWN if self._ours == persist else CommitState.NONE

    def _candidate(self, owned: tuple[str, ...]) -> str:
        return self._owned("candidate", owned)

    def _running(self, owned: tuple[str, ...]) -> str:
        return self._owned("running", owned)

    def _owned(self, source: str, paths: tuple[str, ...]) -> str:
        """These nodes as a datastore has them."""
        if not paths:
            return ""
        only = etree.fromstring(subtree_filter(NETCONF_XML, paths))
        return owned_text(self._manager.get_config(source=source, filter=only).data_ele, paths)

    def _configuration(self) -> str:
        data = self._manager.get_config(source="running").data_ele
        return str(etree.tostring(data, encoding="unicode"))

    def _version(self) -> str:
        return "NETCONF 1.1" if ":base:1.1" in self._manager.server_capabilities else "NETCONF 1.0"


def _text(data: etree._Element) -> str:
    """Everything in a ``<data>``, one line for each leaf."""
    return owned_text(data, _roots(data))


def _roots(data: etree._Element) -> Iterator[str]:
    for one in children(data):
        yield path_text((step_of(one, ()),))


def _no_such_commit(error: RPCError) -> bool:
    """RFC 6241 section 8.4.4.1 and appendix A: no commit of that name is ``invalid-value``."""
    return any(one.tag == "invalid-value" for one in refused(error).found)
