"""One change's work at the routers: its transaction, and its journal in the store."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vpnctl.controller.progress import Timeline
from vpnctl.model import Pe
from vpnctl.provisioning import access
from vpnctl.provisioning.driver import Driver
from vpnctl.provisioning.intent import RouterIntent
from vpnctl.provisioning.journal import SAME, SETTLED, Note, Phase, RouterChange
from vpnctl.provisioning.participants import Witness
from vpnctl.provisioning.transaction import Patience, Transaction
from vpnctl.store import Operation, OperationState, Store

#: The journal's word for this kind of operation.
KIND = "provision"

_ENDS = {Phase.DONE: OperationState.DONE, Phase.UNDONE: OperationState.ABORTED}

#: Takes back what a work's revision wanted, for a reason.
Undo = Callable[["Work", str], Awaitable[None]]

#: Makes a session with a router, not connected yet; the format is that of what it is to load.
OpenRouter = Callable[[Pe, str], Driver]


class StoreJournal:
    """A transaction's journal as an operation of the store, begun with its first phase."""

    def __init__(
        self, store: Store, payload: Mapping[str, Any], operation: int | None = None
    ) -> None:
        self._store = store
        self._payload = payload
        self.operation = operation

    async def enter(self, phase: Phase, notes: Iterable[Note]) -> None:
        """See `vpnctl.provisioning.journal.Journal`."""
        if self.operation is None:
            self.operation = await asyncio.to_thread(
                self._store.journal_begin, KIND, self._payload, phase.value
            )
            return
        told = [(note.router, note.step, note.outcome) for note in notes]
        await asyncio.to_thread(
            self._store.journal_enter, self.operation, phase.value, told, ends=_ENDS.get(phase)
        )


@dataclass
class Work:
    """What a change does at routers; ``pes`` has each of them.

    ``shall``: the intents that the routers have when it is done, None for what is left without;
    ``revision``: the one that decided it, once there is one; ``left``: whether the change that it
    belongs to is over, and it is resumed on its own.
    """

    transaction: Transaction
    journal: StoreJournal
    changes: tuple[RouterChange, ...]
    pes: Mapping[str, Pe]
    shall: Mapping[str, RouterIntent | None]
    revision: int | None = None
    left: bool = False

    @property
    def decides(self) -> int | None:
        """The operation that the revision's commit has to decide; None where nothing waits."""
        return None if self.transaction.finished else self.journal.operation

    @property
    def going_back(self) -> bool:
        """Whether the routers are brought back, or were, though it had been decided."""
        return self.transaction.phase in (Phase.COMPENSATE, Phase.UNDONE)

    @property
    def routers(self) -> frozenset[str]:
        """Names of the routers that it may still change."""
        if self.transaction.phase is None:
            return frozenset(self.pes)
        return self.transaction.concerned

    async def put_in_force(self, witnesses: Mapping[str, Witness] | None = None) -> None:
        """Prepare, commit and verify, on all or on none; ``witnesses``: see `Transaction.verify`.

        Raises `ProvisioningError` or `StoreError`.
        """
        try:
            await self.transaction.prepare()
            await self.transaction.commit()
            await self.transaction.verify(witnesses)
        except BaseException:
            if not self.transaction.finished and self.transaction.phase is not None:
                await self.transaction.abort()
            raise

    async def decide(self) -> None:
        """Decide to keep it, where no revision does."""
        if not self.transaction.finished:
            await self.journal.enter(Phase.DECIDED, ())
            self.transaction.decided()

    def record(self, timeline: Timeline) -> None:
        """Add what was done to a timeline of the same clock."""
        for step in self.transaction.steps:
            timeline.add(step.name, step.begin_ns, step.end_ns, step.failure, step.router)


def begin(
    store: Store,
    changes: Iterable[RouterChange],
    pes: Mapping[str, Pe],
    shall: Mapping[str, RouterIntent | None],
    open_router: OpenRouter,
    *,
    undo: Undo,
    clock: Callable[[], int],
    patience: Patience,
) -> Work:
    """Work that has not begun yet; ``pes`` has every router of ``changes``."""
    changes = tuple(changes)
    persist = f"vpnctl-{secrets.token_hex(8)}"
    payload = {
        "persist": persist,
        "changes": [change.document() for change in changes],
        "access": {change.router: access.document(pes[change.router]) for change in changes},
    }
    journal = StoreJournal(store, payload)
    transaction = Transaction(
        changes,
        lambda change: open_router(pes[change.router], change.after.format),
        journal,
        persist=persist,
        undecide=lambda reason: undo(work, reason),
        patience=patience,
        clock=clock,
    )
    work = Work(transaction, journal, changes, pes, shall)
    return work


def taken_up(
    store: Store,
    operation: Operation,
    open_router: OpenRouter,
    *,
    undo: Undo,
    patience: Patience,
) -> Work:
    """Work that an earlier controller has left; it is to be resumed."""
    payload: Mapping[str, Any] = operation.payload
    pes = {name: access.pe_of(document) for name, document in payload["access"].items()}
    entries = store.journal_log(operation.id)
    log = [entry for entry in entries if not entry.place]
    dropped_out = {entry.place for entry in entries if entry.outcome in (SAME, SETTLED)}
    decided = next((entry.outcome for entry in log if entry.phase == Phase.DECIDED.value), "")
    changes = tuple(
        RouterChange.from_document(document)
        for document in payload["changes"]
        if document["router"] not in dropped_out
    )
    transaction = Transaction(
        changes,
        lambda change: open_router(pes[change.router], change.after.format),
        journal := StoreJournal(store, payload, operation.id),
        persist=payload["persist"],
        phase=Phase(log[-1].phase),
        undecide=lambda reason: undo(work, reason),
        patience=patience,
    )
    revision = int(decided) if decided else None
    work = Work(transaction, journal, changes, pes, {}, revision, left=True)
    return work
