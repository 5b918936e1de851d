"""The policy directory on disk: reading it with care, and replacing a file in one step.

A thin edge around `vpnctl.ruleset`, which sees bytes only.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vpnctl.errors import UsageError
from vpnctl.model import Place
from vpnctl.ruleset import Mistake, policy_error
from vpnctl.yamltree.tree import MAX_FILE_SIZE, too_large

_SUFFIXES = (".yaml", ".yml")


#: What changes when a file does: its times, size, device and inode.  A change that keeps the times
#: has to keep the inode too.
_Stamp = tuple[int, int, int, int, int]


def _stamp(status: os.stat_result) -> _Stamp:
    return (
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_size,
        status.st_dev,
        status.st_ino,
    )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The files of a policy directory as they were read.

    ``files`` is keyed by the path as shown to the operator: ``str(directory / name)``.
    """

    directory: Path
    files: Mapping[str, bytes]
    _stamps: Mapping[str, _Stamp] = field(repr=False, compare=False)


class _RefusedError(Exception):
    """A file that is not read, with the mistake to report."""

    def __init__(self, mistake: Mistake) -> None:
        super().__init__(mistake.message)
        self.mistake = mistake


def is_policy_file(name: str) -> bool:
    """Whether a file of this name in a policy directory is part of the policy."""
    return name.endswith(_SUFFIXES) and not name.startswith(".")


def read(directory: Path, previous: Snapshot | None = None) -> Snapshot:
    """Every ``*.yaml`` and ``*.yml`` of the directory; hidden files and directories are not read.

    A file that did not change since ``previous`` is not opened, and its bytes are the same object.

    Raises `UsageError` where there is no such directory, and `PolicyError` with every file that
    cannot be read: too large, not a regular file, unreadable, or a link to the outside.
    """
    known = previous if previous is not None and previous.directory == directory else None
    try:
        names = sorted(entry.name for entry in os.scandir(directory) if is_policy_file(entry.name))
    except OSError as error:
        raise UsageError(
            f"{directory}: {_reason(error)}",
            hint="name the directory of the policy, or make one with `vpnctl init DIR`",
        ) from error
    root = os.path.realpath(directory)
    # As `directory / name` shows it: the present directory is not written.
    prefix = "" if directory == Path() else os.path.join(directory, "")  # noqa: PTH118 - text
    files: dict[str, bytes] = {}
    stamps: dict[str, _Stamp] = {}
    mistakes: list[Mistake] = []
    for name in names:
        shown = prefix + name
        if not name.isprintable():
            mistakes.append(
                Mistake(
                    Place(prefix + repr(name)[1:-1], 1),
                    "",
                    "the file's name has characters that cannot be shown",
                    "give it a name of letters, digits, - and _ in UTF-8",
                )
            )
            continue
        try:
            status = os.lstat(shown)
            stamp = _stamp(status)
            if known is None or known._stamps.get(shown) != stamp:
                status = _status(shown, status, root)
                stamp = _stamp(status)
            if known is not None and known._stamps.get(shown) == stamp:
                files[shown], stamps[shown] = known.files[shown], stamp
            else:
                files[shown], stamps[shown] = _content(shown)
        except _RefusedError as refused:
            mistakes.append(refused.mistake)
        except OSError as error:
            mistakes.append(
                Mistake(
                    Place(shown, 1),
                    "",
                    f"cannot be read: {_reason(error)}",
                    "let the user that runs vpnctl read it, or take it out of the directory",
                )
            )
    if mistakes:
        raise policy_error(mistakes)
    return Snapshot(directory, files, stamps)


def replace(path: Path, text: str) -> None:
    """Replace the file by ``text``, in UTF-8 and with the line endings as they are in it.

    At any moment, a crash included, the file is either the old one or the new one.  Its mode stays;
    where it is a symbolic link, what it points to is replaced.  Raises `OSError`.
    """
    target = path.resolve()
    try:
        mode = stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        mode = 0o644
    # A name that read() does not take for a policy file.
    descriptor, temporary = tempfile.mkstemp(
        dir=target.parent, prefix=f".{target.name}.", suffix=".tmp"
    )
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(text.encode("utf-8"))
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_directory(target.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _status(shown: str, status: os.stat_result, root: str) -> os.stat_result:
    """The status of the file itself or of the file in the directory that it links to."""
    if not stat.S_ISLNK(status.st_mode):
        _refuse_special(shown, status)
        return status
    target = os.path.realpath(shown)
    if os.path.commonpath((root, target)) != root:
        raise _RefusedError(
            Mistake(
                Place(shown, 1),
                "",
                "is a symbolic link that leads out of the directory",
                "copy the file into the directory",
            )
        )
    status = os.stat(shown)  # noqa: PTH116 - as above
    _refuse_special(shown, status)
    return status


def _refuse_special(shown: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file"
        raise _RefusedError(
            Mistake(Place(shown, 1), "", f"is {kind}", "take it out, or give it another name")
        )
    if status.st_size > MAX_FILE_SIZE:
        raise _RefusedError(too_large(shown, status.st_size))


def _content(shown: str) -> tuple[bytes, _Stamp]:
    """The bytes of a file and the stamp that they had; never more than the limit is read."""
    # Not blocking: the file may have become a FIFO since it was looked at.
    descriptor = os.open(shown, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(stream.fileno())
        _refuse_special(shown, status)
        content = stream.read(MAX_FILE_SIZE + 1)
    if len(content) > MAX_FILE_SIZE:
        raise _RefusedError(too_large(shown, len(content)))
    return content, _stamp(status)


def _reason(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "no such directory or file"
    return os.strerror(error.errno).lower() if error.errno else str(error)
