"""The policy that a request would make the applied one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from vpnctl.controller.requests import PlanRequest
from vpnctl.errors import NotFoundError, UsageError
from vpnctl.model import Allocation
from vpnctl.ruleset import Compiled, load
from vpnctl.ruleset.edit import extend, retract
from vpnctl.ruleset.network import is_network

#: Octets of policy that are checked between two turns of the event loop, some 50 ms of work.
_AT_ONCE = 16 * 1024


@dataclass(frozen=True, slots=True)
class Applied:
    """The policy in force: ``files`` by the path to show, and what they compile to.

    ``number`` and ``compiled`` are None only until the first policy was taken up.
    """

    number: int | None
    files: Mapping[str, bytes]
    compiled: Compiled | None

    @property
    def policy(self) -> Compiled:
        """What the files compile to, once there are any."""
        assert self.compiled is not None
        return self.compiled


NOTHING = Applied(None, {}, None)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A policy to apply.

    ``writes``: files that differ from the applied ones and are not on disk like this yet; None
    for one to delete.  ``among``: the only files that may differ from the applied ones; None: any.
    """

    kind: str
    summary: str
    files: Mapping[str, bytes]
    compiled: Compiled
    writes: Mapping[str, bytes | None]
    restores: int | None = None
    among: Collection[str] | None = None


def from_files(
    kind: str,
    summary: str,
    files: Mapping[str, bytes],
    applied: Applied,
    allocations: tuple[Allocation, ...] = (),
    among: Collection[str] | None = None,
) -> Candidate:
    """A candidate whose files are on disk already; raises `PolicyError`."""
    kept = applied.compiled.allocations if applied.compiled else allocations
    compiled = load(files, kept, applied.compiled, among)
    return Candidate(kind, summary, files, compiled, {}, among=among)


async def beside(
    files: Mapping[str, bytes | None], applied: Applied, make: Callable[[], Candidate]
) -> Candidate:
    """What ``make`` gives, in a thread where that is much work, so that routes go on meanwhile.

    ``files``: those that may differ from the applied ones.
    """
    known = applied.files
    differing = [path for path, content in files.items() if known.get(path) is not content]
    octets = sum(len(files[path] or b"") for path in differing)
    if any(is_network(path) for path in differing):
        octets += sum(map(len, known.values()))  # every VPN is checked against it
    return make() if octets <= _AT_ONCE else await asyncio.to_thread(make)


def some_files(on_disk: Mapping[str, bytes | None], applied: Applied) -> Candidate:
    """The applied policy with some files as they are on disk now, and others left for later.

    ``on_disk``: by the path to show; None for a file that is to go.  Raises `PolicyError`.
    """
    files = dict(applied.files)
    for path, content in on_disk.items():
        if content is not None:
            files[path] = content
        elif files.pop(path, None) is None:
            raise NotFoundError(
                f"there is no policy file {path}", hint="name files of the policy directory"
            )
    return from_files("apply", f"apply {', '.join(on_disk)}", files, applied, among=tuple(on_disk))


def edited(
    request: PlanRequest, applied: Applied, on_disk: Callable[[str], bytes | None]
) -> Candidate:
    """The applied policy with a site added to, or taken from, a VPN (extend, retract).

    The edit is made in the operator's own file, which must be as it was applied; ``on_disk`` gives
    a file by its path.  Raises `NotFoundError`, `UsageError` or `PolicyError`.
    """
    ruleset = applied.compiled.ruleset if applied.compiled else None
    vpn = ruleset.vpns.get(request.vpn) if ruleset else None
    if ruleset is None or vpn is None:
        names = ", ".join(sorted(ruleset.vpns)) if ruleset else ""
        raise NotFoundError(
            f"no VPN is called {request.vpn!r}", hint=f"there are: {names}" if names else ""
        )
    if request.site not in ruleset.network.sites:
        raise NotFoundError(
            f"no site is called {request.site!r}",
            hint=f"there are: {', '.join(sorted(ruleset.network.sites))}",
        )
    path = vpn.place.file
    try:
        present = on_disk(path)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", hint="it is to be edited: mend it first"
        ) from error
    if present != applied.files[path]:
        raise UsageError(
            f"{path} has edits that were not applied",
            hint="look at them with 'vpnctl plan', then apply or undo them first",
        )
    change = extend if request.kind == "extend" else retract
    text = change(applied.files[path].decode(), request.vpn, request.site)
    files = {**applied.files, path: text.encode()}
    verb = "extend {} to {}" if request.kind == "extend" else "retract {} from {}"
    summary = verb.format(vpn.name, request.site)
    candidate = from_files(request.kind, summary, files, applied, among=(path,))
    return replace(candidate, writes={path: files[path]})


def restored(kind: str, revision: int, files: Mapping[str, bytes], applied: Applied) -> Candidate:
    """The policy of an earlier revision; raises `PolicyError` if it no longer passes the checks."""
    candidate = from_files(kind, f"roll back to revision {revision}", files, applied)
    changed = {
        path: files.get(path)
        for path in files.keys() | applied.files.keys()
        if files.get(path) != applied.files.get(path)
    }
    return replace(candidate, writes=changed, restores=revision)
