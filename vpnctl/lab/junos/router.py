"""One router's configuration database: candidate, running, locks, commits and their history.

::

    running --copy--> candidate --load--> candidate' --check--> commit --> running'
                                                       \\-- confirmed: as before when time is up

What it is stricter in than the documentation demands: a lock is refused while a commit is under
way or somebody has changed the candidate, and a load that fails half-way leaves its first half.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from vpnctl.lab.junos.checks import Complaint, complaints
from vpnctl.lab.junos.comparing import comparison
from vpnctl.lab.junos.editing import Edit, EditError, Verb, apply
from vpnctl.lab.junos.faults import Faults
from vpnctl.lab.junos.hierarchy import CONFIGURATION, NOT_ON
from vpnctl.lab.junos.schema import Container, Tree

_HISTORY = 50
_TIME_IS_UP = "rollback unconfirmed configuration: time is up"


class RouterError(Exception):
    """The router says no.  ``tag``: RFC 6241 appendix A; ``session``: whose fault, if any."""

    def __init__(
        self, message: str, *, tag: str = "operation-failed", session: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.tag = tag
        self.session = session


class CheckError(RouterError):
    """The commit check has found something."""

    def __init__(self, found: tuple[Complaint, ...]) -> None:
        super().__init__("configuration check-out failed")
        self.complaints = found


@dataclass(frozen=True, slots=True)
class Commit:
    """An entry of the history.  ``minutes``: of a confirmed one, 0 of another."""

    time: datetime
    user: str
    client: str
    log: str
    minutes: float
    tree: Tree


@dataclass(slots=True)
class _Unconfirmed:
    """A confirmed commit that waits.  ``session``: with which it goes, ``None`` if it stays."""

    before: Tree
    persist: str | None
    session: int | None
    timer: asyncio.TimerHandle


@dataclass(slots=True)
class Session:
    """A client's; ``private``: its own candidate and what running was when it got it."""

    number: int
    user: str
    private: tuple[Tree, Tree] | None = None


#: Called with the tree that is in force from now on; the commit fails where it raises RouterError.
Activate = Callable[[Tree], Awaitable[None]]


class Router:
    """``minute``: how many seconds a minute of a confirmed commit has, for impatient tests;
    ``commit_s``: what a commit takes.
    """

    def __init__(
        self,
        name: str,
        *,
        platform: str = "mx",
        commit_s: float = 0.0,
        minute: float = 60.0,
        activate: Activate | None = None,
    ) -> None:
        self.name = name
        self.platform = platform
        self.commit_s = commit_s
        self.minute = minute
        self.faults = Faults()
        self.schema = Container(
            {
                key: kind
                for key, kind in CONFIGURATION.children.items()
                if key not in NOT_ON[platform]
            }
        )
        self.running: Tree = {}
        self.candidate: Tree = {}
        self.locked_by: Session | None = None
        self.running_locked_by: Session | None = None
        self.history: list[Commit] = []
        self.sessions: dict[int, Session] = {}
        self.unconfirmed: _Unconfirmed | None = None
        self._activate = activate
        self._committing = False
        self._rolling_back: asyncio.Future[None] | None = None
        self._numbers = 100
        self._note("root", "other", "", 0)

    # Sessions

    def log_in(self, user: str) -> Session:
        """A new session."""
        self._numbers += 1
        session = Session(self._numbers, user)
        self.sessions[session.number] = session
        return session

    def log_out(self, session: Session) -> None:
        """Its locks go, and with them what it did not commit."""
        self.sessions.pop(session.number, None)
        session.private = None
        if self.locked_by is session:
            self.locked_by = None
            self.discard()
        if self.running_locked_by is session:
            self.running_locked_by = None
        if self.unconfirmed is not None and self.unconfirmed.session == session.number:
            self._roll_back("rollback unconfirmed configuration: its session has ended")

    # The candidate

    @property
    def modified(self) -> bool:
        """Whether the shared candidate has what running has not."""
        return self.candidate != self.running

    def lock(self, session: Session) -> None:
        """The shared candidate for one session."""
        if self.locked_by is session:
            raise RouterError(
                "configuration database is locked by this session already",
                tag="lock-denied",
                session=session.number,
            )
        if self.locked_by is not None:
            raise self._taken(self.locked_by, "lock-denied")
        if self._committing:
            raise RouterError(
                "configuration database locked by: a commit in progress",
                tag="lock-denied",
                session=0,
            )
        if self.modified:
            raise RouterError("configuration database modified", tag="lock-denied", session=0)
        self.locked_by = session

    def _taken(self, holder: Session, tag: str) -> RouterError:
        said = f"configuration database locked by: {holder.user} (session {holder.number})"
        return RouterError(said, tag=tag, session=holder.number)

    def lock_running(self, session: Session) -> None:
        """Not while a confirmed commit waits (RFC 6241 section 7.5)."""
        if self.running_locked_by is not None:
            raise RouterError(
                "running is locked", tag="lock-denied", session=self.running_locked_by.number
            )
        if self.unconfirmed is not None:
            raise RouterError(
                "a confirmed commit is waiting",
                tag="lock-denied",
                session=self.unconfirmed.session or 0,
            )
        self.running_locked_by = session

    def unlock(self, session: Session) -> None:
        """Give the shared candidate back; changes stay in it."""
        if self.locked_by is not session:
            raise RouterError("configuration database is not locked by this session")
        self.locked_by = None

    def open_private(self, session: Session) -> None:
        """A candidate of the session's own."""
        if session.private is not None:
            raise RouterError("private configuration is open already")
        if self.locked_by is not None:
            raise self._taken(self.locked_by, "lock-denied")
        session.private = (copy.deepcopy(self.running), copy.deepcopy(self.running))

    def view(self, session: Session) -> Tree:
        """The candidate that a session works on."""
        return session.private[0] if session.private is not None else self.candidate

    def edit(
        self, session: Session, edits: Iterable[Edit], *, missing_is_fine: bool
    ) -> tuple[str, ...]:
        """Change the session's candidate; warnings.  Raises `EditError`, what came before stays."""
        tree = self._writable(session)
        warnings = []
        for edit in edits:
            try:
                apply(tree, self.schema, edit)
            except EditError as error:
                if not (
                    missing_is_fine and error.tag == "data-missing" and edit.verb is Verb.DELETE
                ):
                    raise
                warnings.append(f"statement not found: {' '.join(edit.path)}")
        return tuple(warnings)

    def override(self, session: Session) -> None:
        """Empty the session's candidate: what is loaded then is all of it."""
        self._writable(session).clear()

    def _writable(self, session: Session) -> Tree:
        if session.private is None and self.locked_by is not None and self.locked_by is not session:
            raise self._taken(self.locked_by, "in-use")
        return self.view(session)

    def compare(self, session: Session, number: int = 0) -> str:
        """What the session's candidate would change; ``number``: against an older commit."""
        before = self.running if number == 0 else self._old(number)
        return comparison(before, self.view(session), self.schema)

    def discard(self) -> None:
        """The shared candidate is what is running."""
        self.candidate = copy.deepcopy(self.running)

    def roll_back(self, session: Session, number: int) -> None:
        """Load an older commit into the session's candidate."""
        tree = self._writable(session)
        old = copy.deepcopy(self.running if number == 0 else self._old(number))
        tree.clear()
        tree.update(old)

    def _old(self, number: int) -> Tree:
        if not 0 <= number < len(self.history):
            raise RouterError(f"rollback {number} is not there")
        return self.history[number].tree

    # Commits

    def check(self, session: Session) -> None:
        """Raises `CheckError`.  Within the window of a confirmed commit this confirms it."""
        self._check(self.view(session))
        if self.unconfirmed is not None and self.unconfirmed.persist is None:
            self._confirmed()

    def validate(self, session: Session) -> None:
        """RFC 6241 section 8.6: check, and nothing else."""
        self._check(self.view(session))

    def _check(self, tree: Tree) -> None:
        if found := complaints(tree, self.platform):
            raise CheckError(found)

    def may_commit(self, session: Session, persist_id: str | None) -> None:
        """Raises `RouterError` where a commit of this session is not in order."""
        if session.private is None and self.locked_by is not None and self.locked_by is not session:
            raise self._taken(self.locked_by, "in-use")
        if self._committing:
            raise RouterError("commit in progress: configuration database locked", tag="in-use")
        waiting = self.unconfirmed
        if persist_id is not None and (waiting is None or waiting.persist != persist_id):
            raise RouterError("no confirmed commit with this persist-id", tag="invalid-value")
        if persist_id is None and waiting is not None and waiting.persist is not None:
            raise RouterError("a confirmed commit with a persist-id is waiting", tag="in-use")

    async def commit(
        self,
        session: Session,
        *,
        client: str,
        log: str = "",
        confirm_s: float | None = None,
        minutes: float = 0,
        persist: str | None = None,
        persist_id: str | None = None,
        stays: bool = False,
    ) -> None:
        """Put the session's candidate in force, or confirm what waits.

        ``confirm_s``: it is a confirmed one, with this window in seconds; ``stays``: beyond its
        session.  Raises `RouterError`.
        """
        self.may_commit(session, persist_id)
        wanted = copy.deepcopy(self._merged(session))
        if confirm_s is not None and session.private is not None:
            raise RouterError("commit confirmed is not allowed in a private configuration")
        self._check(wanted)
        waiting = self.unconfirmed
        await self._put_in_force(wanted, waiting)
        before = waiting.before if waiting is not None else self.running
        self._confirmed()
        clean = not self.modified or session.private is None
        self.running = wanted
        if clean:
            self.discard()
        if session.private is not None:
            session.private = (copy.deepcopy(wanted), copy.deepcopy(wanted))
        self._note(session.user, client, log, minutes)
        if confirm_s is not None:
            timer = asyncio.get_running_loop().call_later(confirm_s, self._roll_back, _TIME_IS_UP)
            bound = None if stays or persist is not None else session.number
            self.unconfirmed = _Unconfirmed(before, persist, bound, timer)

    async def _put_in_force(self, wanted: Tree, waiting: _Unconfirmed | None) -> None:
        """A commit under way stops the clock of the one that it confirms."""
        loop = asyncio.get_running_loop()
        left = 0.0
        if waiting is not None:
            waiting.timer.cancel()
            left = waiting.timer.when() - loop.time()
        self._committing = True
        try:
            await asyncio.sleep(self.commit_s)
            if self._activate is not None and wanted != self.running:
                await self._activate(wanted)
        except RouterError:
            if waiting is not None:
                waiting.timer = loop.call_later(left, self._roll_back, _TIME_IS_UP)
            raise
        finally:
            self._committing = False

    def _merged(self, session: Session) -> Tree:
        if session.private is None:
            return self.candidate
        tree, base = session.private
        if base != self.running:
            raise RouterError("private edits conflict: running has changed meanwhile")
        return tree

    def cancel(self, session: Session, persist_id: str | None) -> None:
        """RFC 6241 section 8.4.4.1."""
        waiting = self.unconfirmed
        if waiting is None or waiting.persist != persist_id:
            raise RouterError("no confirmed commit of this name", tag="invalid-value")
        if persist_id is None and waiting.session != session.number:
            raise RouterError("the confirmed commit is another session's", tag="invalid-value")
        self._roll_back("cancel-commit")

    def _confirmed(self) -> None:
        if self.unconfirmed is not None:
            self.unconfirmed.timer.cancel()
            self.unconfirmed = None

    def _roll_back(self, why: str) -> None:
        waiting = self.unconfirmed
        if waiting is None:
            return
        self._confirmed()
        clean = not self.modified
        self.running = waiting.before
        if clean:
            self.discard()
        self._note("root", "other", why, 0)
        if self._activate is not None:
            self._rolling_back = asyncio.ensure_future(self._activate(self.running))

    def _note(self, user: str, client: str, log: str, minutes: float) -> None:
        self.history.insert(
            0, Commit(datetime.now(UTC), user, client, log, minutes, copy.deepcopy(self.running))
        )
        del self.history[_HISTORY:]

    async def start(self) -> None:
        """Do what the configuration says that is there at the beginning."""
        if found := complaints(self.running, self.platform):
            raise RouterError("; ".join(f"[edit {one.where}] {one.message}" for one in found))
        if self._activate is not None:
            await self._activate(self.running)

    # From outside, as somebody at the console does

    def configure(self, edits: Iterable[Edit]) -> None:
        """Running and candidate have this, without a commit's time."""
        for edit in edits:
            apply(self.running, self.schema, edit)
        self.discard()
        self._note("root", "cli", "", 0)

    def dirty(self, edits: Iterable[Edit]) -> None:
        """Somebody else's changes, in the candidate and not committed."""
        for edit in edits:
            apply(self.candidate, self.schema, edit)
