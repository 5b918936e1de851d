"""A site's half of the commit protocol, as it happens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import StrEnum
from typing import Generic, TypeVar, cast

from vpnctl.migration.agent.site import Site
from vpnctl.migration.commit import Action, Event, Step
from vpnctl.migration.ledger import ArrivalRecord, DepartureRecord

_State = TypeVar("_State", bound=StrEnum)
_Record = TypeVar("_Record", bound=DepartureRecord | ArrivalRecord)


class Half(ABC, Generic[_Record, _State]):
    """``record``: what is known of the migration; ``table``: what follows from an event."""

    def __init__(
        self, site: Site, record: _Record, table: Callable[[_State, Event], Step[_State]]
    ) -> None:
        self.record = record
        self._site = site
        self._table = table

    async def _happens(self, event: Event) -> None:
        """Take a step of the protocol, and those that follow from it."""
        following: Event | None = event
        while following is not None:
            # A record's state is one of its own half's.
            step = self._table(self.record.state, following)  # type: ignore[arg-type]
            self.record = cast("_Record", self.record.model_copy(update={"state": step.state}))
            following = None
            for action in step.actions:
                following = await self._act(action) or following

    @abstractmethod
    async def _act(self, action: Action) -> Event | None:
        """Do it; what follows from that, if anything does."""
