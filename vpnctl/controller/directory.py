"""The operator's policy directory: read with care, written only where nothing of theirs is lost."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

from vpnctl import policyfiles
from vpnctl.controller.candidate import Applied, Candidate
from vpnctl.errors import StoreError, UsageError
from vpnctl.store import Revision, Store
from vpnctl.yamltree.tree import MAX_FILE_SIZE

_Content = TypeVar("_Content")


def _not_blocking(path: str, flags: int) -> int:
    """Open a file that the operator may have replaced by a FIFO, or by worse."""
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return descriptor


def _no_link(path: str, flags: int) -> int:
    """Like `_not_blocking`, but a symbolic link is read with the whole directory only."""
    try:
        return _not_blocking(path, flags | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        text = "a symbolic link is read with the whole directory"
        raise OSError(errno.ELOOP, text, path) from error


class PolicyDirectory:
    """The directory at ``path``.

    A file has two names: the one *shown* to the operator, which begins with the directory as it
    was given, and the one *stored* with a revision, which does not, so that the directory can be
    moved.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._snapshot: policyfiles.Snapshot | None = None

    def read(self) -> Mapping[str, bytes]:
        """Every file by the name to show; raises `UsageError` or `PolicyError`.

        Files that did not change since the last time are not opened and are the same objects.
        """
        self._snapshot = policyfiles.read(self.path, self._snapshot)
        return self._snapshot.files

    @staticmethod
    def content(path: str, opener: Callable[[str, int], int] = _not_blocking) -> bytes | None:
        """One file as it is now, by the name to show; None where there is none.

        Raises `OSError`, also for what is no regular file.
        """
        try:
            with open(path, "rb", opener=opener) as file:
                return file.read(MAX_FILE_SIZE + 1)
        except FileNotFoundError:
            return None

    def some(self, names: Iterable[str]) -> dict[str, bytes | None]:
        """Some files as they are now, by the names to show; None for one that is not there.

        Raises `UsageError` for what cannot be a policy file or cannot be read.
        """
        found = {}
        for name in names:
            path = str(self.path / name)
            if "/" in name or not policyfiles.is_policy_file(name):
                raise UsageError(
                    f"{name!r} is not the name of a policy file",
                    hint=f"name files of {self.path} such as e1.yaml",
                )
            try:
                found[path] = self.content(path, opener=_no_link)
            except OSError as error:
                raise UsageError(
                    f"{path} cannot be read: {error.strerror}", hint="see 'vpnctl check'"
                ) from error
        return found

    def shown(self, stored: Mapping[str, _Content]) -> dict[str, _Content]:
        """Contents by the names to show."""
        return {str(self.path / name): content for name, content in stored.items()}

    def stored(self, shown: Mapping[str, _Content]) -> dict[str, _Content]:
        """Contents by the names to store."""
        return {Path(path).name: content for path, content in shown.items()}

    def write(
        self,
        wanted: Mapping[str, bytes | None],
        known: Mapping[str, Collection[bytes | None]],
    ) -> tuple[str, ...]:
        """Bring files to disk, None for one to delete, and give those that were left alone.

        ``known``: contents that may be overwritten; a file that is otherwise has edits of the
        operator's.  Raises `OSError`.
        """
        left_alone = []
        for path, content in sorted(wanted.items()):
            present = self.content(path)
            if present == content:
                continue
            if present not in known[path]:
                left_alone.append(path)
            elif content is None:
                Path(path).unlink()
            else:
                policyfiles.replace(Path(path), content.decode())
        return tuple(left_alone)


@dataclass(frozen=True, slots=True)
class Written:
    """What became of files: those left alone for the operator's edits, and what went wrong."""

    left_alone: tuple[str, ...] = ()
    error: str = ""


class AppliedFiles:
    """Keeps the policy directory as the applied revision has it, across crashes and full disks.

    A revision that changes files begins an operation of the journal with its commit, and that is
    finished when they are on disk.  ``behind``: some could not be written.  May be used in a
    thread, by one at a time.
    """

    #: Journal entry of a revision whose files have to be written.
    OPERATION: ClassVar[Mapping[str, object]] = {"work": "write policy files"}

    def __init__(self, directory: PolicyDirectory, store: Store) -> None:
        self._directory = directory
        self._store = store
        self.behind = False

    def write(self, candidate: Candidate, before: Applied, revision: Revision) -> Written:
        """Bring the files that a revision changed to disk; what fails is done the next time."""
        if self.behind:
            now = Applied(revision.number, candidate.files, candidate.compiled)
            return self.complete(now)
        known = {path: (before.files.get(path),) for path in candidate.writes}
        operations = [revision.operation] if revision.operation is not None else []
        return self._write(candidate.writes, known, operations)

    def complete(self, applied: Applied) -> Written:
        """Bring to disk what committed revisions changed and a crash or an error kept off it."""
        assert applied.number is not None
        try:
            begun = [work for work in self._store.pending() if work.revision is not None]
            first = min((work.revision or 1 for work in begun), default=applied.number + 1)
            older = self._store.files(first - 1) if first > 1 else {}
            # Any content that such a file had since then is ours; another one is the operator's.
            known: dict[str, set[bytes | None]] = {}
            for number in range(first, applied.number + 1):
                for name, content in self._store.changed_files(number).items():
                    known.setdefault(name, {older.get(name)}).add(content)
        except StoreError as error:
            return self._failed(error.message)
        shown = self._directory.shown(known)
        wanted = {path: applied.files.get(path) for path in shown}
        return self._write(wanted, shown, [work.id for work in begun])

    def _write(
        self,
        wanted: Mapping[str, bytes | None],
        known: Mapping[str, Collection[bytes | None]],
        operations: list[int],
    ) -> Written:
        try:
            left_alone = self._directory.write(wanted, known)
            for operation in operations:
                self._store.journal_finish(operation)
        except StoreError as error:
            return self._failed(error.message)
        except OSError as error:
            return self._failed(str(error))
        self.behind = False
        return Written(left_alone)

    def _failed(self, reason: str) -> Written:
        self.behind = True
        return Written(
            error=f"{self._directory.path}: not all files of the applied policy could be written:"
            f" {reason} (it is done with the next change, or at the next start)"
        )
