"""FRR, by vtysh and frr-reload.py, through an agent that lives on the router for a session.

FRR has no candidate, no lock and no confirmed commit.  The candidate is the running configuration
with ours in it, kept here; lock and confirmed commit are made by the agent (`frr_agent.py`, which
says what that cannot do).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from typing import Any

import asyncssh

from vpnctl.errors import (
    ConnectError,
    LockedError,
    OutcomeUnknownError,
    ProvisioningError,
    RejectedError,
)
from vpnctl.model import Pe
from vpnctl.provisioning.blocks import blocks_text, merge_blocks, owned_blocks_text, parse_blocks
from vpnctl.provisioning.driver import CommitState, Probe
from vpnctl.provisioning.drivers.frr_channel import Pipes, open_pipes
from vpnctl.provisioning.drivers.verifying import unverified
from vpnctl.provisioning.rendered import Rendered
from vpnctl.provisioning.words import legible, legible_lines

#: What an answer has one of.
_ANSWERS = frozenset(("ok", "refused", "locked"))


class FrrDriver:
    """One session with an FRR router; see `vpnctl.provisioning.driver.Driver` for the methods."""

    def __init__(self, pe: Pe) -> None:
        assert pe.frr is not None, f"{pe.name} has no access to FRR"
        self._pe = pe
        self._router = pe.name
        self._timeouts = pe.frr.timeouts
        self._pipes: Pipes | None = None
        self._locked = False
        #: Running as it was when ours was loaded, and with ours.
        self._before = ""
        self._candidate: str | None = None
        self._touched: tuple[str, ...] = ()

    async def connect(self) -> None:
        try:
            self._pipes = await asyncio.wait_for(open_pipes(self._pe), self._timeouts.connect)
            await self._answer("connect", self._timeouts.connect, effect=False)
        except ProvisioningError:
            raise
        except TimeoutError as error:
            raise ConnectError(
                f"{self._router} did not answer within {self._timeouts.connect:g} s",
                router=self._router, hint="is `frr:` in network.yaml right?",
            ) from error  # fmt: skip
        except (OSError, asyncssh.Error) as error:
            raise ConnectError(
                f"{self._router} cannot be reached: {legible(str(error))}",
                router=self._router, hint="is `frr:` in network.yaml right, and FRR running?",
            ) from error  # fmt: skip

    async def lock(self) -> None:
        await self._ask("lock")
        self._locked = True

    async def load(self, rendered: Rendered) -> None:
        self._before = await self._running()
        self._touched = (*rendered.owned, *rendered.delete)
        self._candidate = merge_blocks(
            self._before, rendered.content, rendered.owned, rendered.delete
        )

    async def diff(self) -> str:
        return legible_lines("\n".join(difference(self._before, self._loaded)))

    async def check(self) -> None:
        await self._ask("check", patience=self._timeouts.commit, config=self._loaded)

    async def commit_confirmed(self, persist: str, timeout_s: int) -> None:
        await self._ask(
            "commit", patience=self._timeouts.commit, effect=True,
            config=self._loaded, persist=persist, seconds=timeout_s,
        )  # fmt: skip

    async def verify(self) -> None:
        # FRR may take a line, say nothing, and not have it.
        wanted = owned_blocks_text(self._loaded, self._touched)
        there = await self.running(self._touched)
        if there != wanted:
            raise unverified(self._router, wanted, there)

    async def confirm(self, persist: str) -> None:
        await self._ask("confirm", patience=self._timeouts.commit, effect=True, persist=persist)

    async def cancel(self, persist: str) -> None:
        await self._ask("cancel", patience=self._timeouts.commit, effect=True, persist=persist)

    async def discard(self) -> None:
        self._candidate = None

    async def unlock(self) -> None:
        if self._locked:
            await self._ask("unlock")
            self._locked = False

    async def pending(self, persist: str) -> CommitState:
        waits = await self._ask("pending", persist=persist)
        return CommitState.PENDING if waits else CommitState.NONE

    async def running(self, owned: tuple[str, ...]) -> str:
        return owned_blocks_text(await self._running(), owned)

    async def configuration(self) -> str:
        return await self._running()

    async def probe(self) -> Probe:
        version = legible(str(await self._ask("version")))
        missing = []
        try:
            await self._ask("check", config=await self._running())
        except RejectedError as error:
            missing.append(str(error))
        obstacle = None
        if not self._locked:
            try:
                await self.lock()
                await self.unlock()
            except LockedError as error:
                obstacle = error
        return Probe("", version, (), rights=not missing, missing=tuple(missing), obstacle=obstacle)

    async def close(self) -> None:
        pipes, self._pipes = self._pipes, None
        if pipes is not None:
            await pipes.close()

    @property
    def _loaded(self) -> str:
        return self._before if self._candidate is None else self._candidate

    async def _running(self) -> str:
        return str(await self._ask("running"))

    async def _ask(
        self, request: str, *, patience: float | None = None, effect: bool = False, **more: Any
    ) -> Any:
        """Let the agent do something; ``effect``: no answer means that it may be done."""
        if self._pipes is None:
            raise ConnectError(f"the session with {self._router} is over", router=self._router)
        limit = patience or self._timeouts.rpc
        try:
            line = json.dumps({"do": request, **more}) + "\n"
            await asyncio.wait_for(self._pipes.write(line.encode()), limit)
            return await self._answer(request, limit, effect=effect)
        except (OSError, TimeoutError, asyncssh.Error) as error:
            why = legible(str(error)) or "no answer in time"
            raise await self._lost(request, effect, why) from error
        except asyncio.CancelledError:
            await self.close()
            raise

    async def _answer(self, request: str, limit: float, *, effect: bool) -> Any:
        assert self._pipes is not None
        try:
            line = await asyncio.wait_for(self._pipes.readline(), limit)
            if not line.endswith(b"\n"):
                raise await self._lost(request, effect, "the connection ended")
            answer = json.loads(line)
        except (ValueError, RecursionError) as error:  # too long, or no JSON
            raise await self._lost(request, effect, "it sent what is no answer") from error
        if not isinstance(answer, dict) or answer.keys().isdisjoint(_ANSWERS):
            raise await self._lost(request, effect, "it sent what is no answer")
        if "locked" in answer:
            raise LockedError(
                f"{self._router} is being configured by somebody else: {_told(answer, 'locked')}",
                router=self._router, hint="try again when they are done",
            )  # fmt: skip
        if "refused" in answer:
            raise RejectedError(
                f"{self._router} refuses `{request}`: {_told(answer, 'refused')}",
                router=self._router, hint="what it had before is in force",
            )  # fmt: skip
        return answer["ok"]

    async def _lost(self, request: str, effect: bool, why: str) -> ProvisioningError:
        await self.close()
        if effect:
            return OutcomeUnknownError(
                f"{self._router} did not answer `{request}`: {why}",
                router=self._router, hint="see `vpnctl doctor`",
            )  # fmt: skip
        return ConnectError(
            f"{self._router} did not answer `{request}`: {why}",
            router=self._router, hint="see `vpnctl doctor`",
        )  # fmt: skip


def _told(answer: dict[str, Any], kind: str) -> str:
    return legible(str(answer[kind]))


def difference(before: str, after: str) -> Iterator[str]:
    """Lines that go and come, under the blocks that they are in."""
    old, new = (blocks_text(parse_blocks(text)).splitlines() for text in (before, after))
    shown: tuple[str, ...] = ()
    for kind, old_from, old_to, new_from, new_to in SequenceMatcher(
        None, old, new, autojunk=False
    ).get_opcodes():
        if kind == "equal":
            continue
        for sign, lines, places in (
            ("-", old, range(old_from, old_to)),
            ("+", new, range(new_from, new_to)),
        ):
            for place in places:
                above = tuple(_above(lines, place))
                changed = {lines[one] for one in places}
                yield from (
                    f" {line}" for line in above if line not in shown and line not in changed
                )
                shown = above
                yield f"{sign}{lines[place]}"


def _above(lines: list[str], place: int) -> Iterable[str]:
    """The lines of the blocks that a line is in, the outermost first."""
    found: list[str] = []
    depth = _depth(lines[place])
    for line in reversed(lines[:place]):
        if _depth(line) < depth:
            found.append(line)
            depth = _depth(line)
    return reversed(found)


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())
