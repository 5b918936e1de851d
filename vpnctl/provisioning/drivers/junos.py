"""Junos, by PyEZ on a session of ours.

Junos' confirmed commit has no name.  It is written into the commit's log here, and found again in
the history, which any session can ask for, also after ours was lost.  That takes Junos' own
``<commit-configuration>``, which outlives its session and counts whole *minutes*, where the
standard's ``<commit>`` counts seconds; so a window is rounded up.

Any commit confirms, and so does a commit check.  So nothing is done to a router on which somebody
else's confirmed commit waits, and whether a confirmed commit was still there when it was confirmed
is looked up afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from jnpr.junos import Device
from jnpr.junos.exception import RpcError, RpcTimeoutError
from jnpr.junos.utils.config import Config
from lxml import etree
from ncclient.manager import Manager

from vpnctl.errors import LockedError, RejectedError
from vpnctl.provisioning.documents import JUNOS_XML, load_document, owned_text, subtree_filter
from vpnctl.provisioning.driver import CommitState
from vpnctl.provisioning.drivers.refusals import RefusedError, dirty, refusals
from vpnctl.provisioning.drivers.session_driver import SessionDriver
from vpnctl.provisioning.rendered import Rendered
from vpnctl.provisioning.words import legible

#: What Junos says of a statement that is to be deleted and is not there.
_GONE_ALREADY = "statement not found"
_SECONDS_IN_MINUTE = 60


class _Device(Device):  # type: ignore[misc]  # PyEZ has no types
    """PyEZ's device on a session that is there already, whose host key was verified."""

    def __init__(self, manager: Manager) -> None:
        super().__init__(host="router", gather_facts=False)
        self._conn = manager
        self._nc_transform = self.transform
        self._norm_transform = self.transform
        self.connected = True


class _Entry(NamedTuple):
    """A line of ``show system commit``."""

    user: str
    log: str
    waits: bool


class JunosDriver(SessionDriver):
    """One session with a Junos router."""

    device = "junos"
    _config: Config

    def _opened(self, manager: Manager) -> None:
        # Of its methods, those that keep a timeout apart from a refusal.
        self._config = Config(_Device(manager))

    def _translating(self) -> AbstractContextManager[None]:
        return _pyez()

    def _needed(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return (
            ("candidate", ("1.0",)),
            ("confirmed-commit", ("1.0", "1.1")),
            ("validate", ("1.0", "1.1")),
        )

    def _lock(self) -> None:
        self._config.rpc.lock_configuration()
        newest = self._history()[:1]
        if newest and newest[0].waits:
            self._config.rpc.unlock_configuration()
            raise LockedError(
                f"{self._router} has a confirmed commit of {newest[0].user} that waits: any commit"
                " of ours would confirm it",
                router=self._router,
                hint="confirm it there, or wait until it is rolled back; then try again",
            )  # fmt: skip

    def _unlock(self) -> None:
        self._config.rpc.unlock_configuration()

    def _load(self, rendered: Rendered) -> None:
        if self._loaded:
            self._discard()
        elif change := self._diff():
            raise dirty(self._router, change)
        self._loaded = True
        try:
            self._config.load(
                load_document(rendered), format="xml", ignore_warning=_GONE_ALREADY
            )  # without `merge` the marks of what is replaced are heeded
        except RpcError:
            # What stood before the mistake is in the candidate.
            self._discard()
            self._loaded = False
            raise

    def _diff(self) -> str:
        return (self._config.diff() or "").strip("\n")

    def _check(self) -> None:
        found = self._config.commit_check()
        if found is not True:  # PyEZ gives some errors back instead of raising them
            raise RefusedError((), str(found))

    def _commit(self, persist: str, timeout_s: int) -> None:
        self._config.commit(confirm=math.ceil(timeout_s / _SECONDS_IN_MINUTE), comment=persist)

    def _confirm(self, persist: str) -> None:
        if self._locked:
            self._keep(persist)
        elif self._pending(persist) is not CommitState.PENDING:
            raise self._not_there(persist)
        else:
            # Whoever changes the candidate now would have it committed with ours.
            self._config.rpc.lock_configuration()
            try:
                self._keep(persist)
            finally:
                self._config.rpc.unlock_configuration()

    def _keep(self, persist: str) -> None:
        """Any commit confirms; afterwards the history tells whether ours was still there."""
        ours = f"{persist} confirmed"
        self._config.commit(comment=ours)
        # A router may, or may not, note a commit that changes nothing but that it confirms.
        before = [entry for entry in self._history() if entry.log != ours][:1]
        if not before or before[0].log != persist or before[0].waits:
            raise self._not_there(persist)

    def _cancel(self, persist: str) -> None:
        if self._pending(persist) is not CommitState.PENDING:
            return
        held = self._locked
        if not held:
            self._config.rpc.lock_configuration()
        try:
            self._roll_back(persist)
            if self._history()[1].log != persist:
                # The router was faster, and we have rolled back its rolling back.
                self._roll_back(persist)
        finally:
            if not held:
                self._config.rpc.unlock_configuration()

    def _roll_back(self, persist: str) -> None:
        self._config.rollback(1)
        self._config.commit(comment=f"{persist} cancelled")

    def _discard(self) -> None:
        self._config.rollback(0)

    def _pending(self, persist: str) -> CommitState:
        newest = self._history()[:1]
        waits = bool(newest) and newest[0].waits and newest[0].log == persist
        return CommitState.PENDING if waits else CommitState.NONE

    def _history(self) -> list[_Entry]:
        """Newest first."""
        answer = self._config.rpc.get_commit_information()
        return [
            _Entry(
                legible(entry.findtext("user", "")),
                entry.findtext("log", "").strip(),
                # "rollback pending"; the comment "commit confirmed, ..." stays for good.
                entry.find("commit-confirmed") is not None,
            )
            for entry in answer.iter("commit-history")
        ]

    def _candidate(self, owned: tuple[str, ...]) -> str:
        return self._owned("candidate", owned)

    def _running(self, owned: tuple[str, ...]) -> str:
        return self._owned("committed", owned)

    def _owned(self, database: str, paths: tuple[str, ...]) -> str:
        """These nodes as a database of the router has them."""
        if not paths:
            return ""
        only = etree.fromstring(subtree_filter(JUNOS_XML, paths))
        found = self._config.rpc.get_config(filter_xml=only, options={"database": database})
        return owned_text(found, paths)

    def _configuration(self) -> str:
        # Also what instances have by `apply-groups`: a target there is as much in use.
        options = {"database": "committed", "inherit": "inherit"}
        found = self._config.rpc.get_config(options=options)
        return str(etree.tostring(found, encoding="unicode"))

    def _version(self) -> str:
        answer = self._config.rpc.get_system_information()
        words = (
            answer.findtext(name, "").strip()
            for name in ("os-name", "os-version", "hardware-model")
        )
        return " ".join(word for word in words if word)

    def _not_there(self, persist: str) -> RejectedError:
        return RejectedError(
            f"{self._router} has rolled back the commit {persist} before it was confirmed",
            router=self._router, hint="give the change more time with a longer window",
        )  # fmt: skip


@contextmanager
def _pyez() -> Iterator[None]:
    """Around requests: PyEZ's errors with the router's words."""
    try:
        yield
    except RpcTimeoutError:
        raise
    except RpcError as error:
        found = refusals(error.rsp) if isinstance(error.rsp, etree._Element) else ()
        raise RefusedError(found, str(error)) from error
