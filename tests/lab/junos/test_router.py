"""The configuration database: locks, candidates, commits that wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.lab.junos.sample import GROUND
from vpnctl.lab.junos.notation_set import set_edits, statements
from vpnctl.lab.junos.router import CheckError, Router, RouterError, Session

LONG = 3600.0


class Play:
    """A router with something in force, and two clients."""

    def __init__(self) -> None:
        self.router = Router("pe", minute=LONG)
        self.edit_running(GROUND)
        self.ada = self.router.log_in("ada")
        self.bob = self.router.log_in("bob")

    def edit_running(self, commands: str) -> None:
        self.router.configure(set_edits(commands, self.router.schema))

    def edit(self, session: Session, commands: str) -> None:
        found = set_edits(commands, self.router.schema)
        self.router.edit(session, found, missing_is_fine=False)

    async def commit(self, session: Session, **how: Any) -> None:
        await self.router.commit(session, client="test", **how)

    @property
    def name(self) -> str | None:
        for line in statements(self.router.running, self.router.schema):
            if line.startswith("system host-name "):
                return line.split()[-1]
        return None


def play(story: Callable[[Play], Coroutine[Any, Any, None]]) -> None:
    async def there() -> None:
        await story(Play())

    asyncio.run(there())


def test_a_lock_keeps_others_out_and_ends_with_its_session() -> None:
    async def story(it: Play) -> None:
        it.router.lock(it.ada)
        with pytest.raises(RouterError, match="locked by: ada"):
            it.router.lock(it.bob)
        with pytest.raises(RouterError, match="locked by: ada"):
            it.edit(it.bob, "set system host-name b")
        it.edit(it.ada, "set system host-name a")
        it.router.log_out(it.ada)
        assert not it.router.modified, "what was not committed is gone"
        it.router.lock(it.bob)

    play(story)


def test_no_lock_on_what_somebody_has_changed() -> None:
    async def story(it: Play) -> None:
        it.edit(it.bob, "set system host-name b")
        with pytest.raises(RouterError, match="database modified"):
            it.router.lock(it.ada)

    play(story)


def test_a_commit_that_is_checked_and_refused_changes_nothing() -> None:
    async def story(it: Play) -> None:
        it.edit(it.ada, "delete interfaces")
        with pytest.raises(CheckError) as refused:
            await it.commit(it.ada)
        assert refused.value.complaints
        assert len(it.router.history) == 2

    play(story)


def test_a_private_candidate_is_its_sessions_alone() -> None:
    async def story(it: Play) -> None:
        it.router.open_private(it.ada)
        it.edit(it.ada, "set system host-name a")
        assert not it.router.modified
        with pytest.raises(RouterError, match="not allowed in a private"):
            await it.commit(it.ada, confirm_s=LONG)
        await it.commit(it.ada)
        assert it.name == "a"

        it.edit(it.ada, "set system host-name again")
        it.edit(it.bob, "set system host-name b")
        await it.commit(it.bob)
        with pytest.raises(RouterError, match="conflict"):
            await it.commit(it.ada)

    play(story)


def test_what_is_not_confirmed_is_rolled_back_when_time_is_up() -> None:
    async def story(it: Play) -> None:
        it.edit(it.ada, "set system host-name a")
        await it.commit(it.ada, confirm_s=0.01, stays=True)
        assert it.name == "a"
        rolled_back = asyncio.Event()

        async def activate(_tree: object) -> None:
            rolled_back.set()

        it.router._activate = activate
        await rolled_back.wait()
        assert it.name is None
        assert not it.router.modified
        assert "time is up" in it.router.history[0].log

    play(story)


@pytest.mark.parametrize("who", ["ada", "bob"])
def test_any_commit_confirms_and_so_does_a_check(who: str) -> None:
    async def story(it: Play) -> None:
        for confirm in (lambda: it.commit(getattr(it, who)), lambda: check(it, who)):
            it.edit(it.ada, "set system host-name a")
            await it.commit(it.ada, confirm_s=LONG, stays=True)
            await confirm()
            assert it.router.unconfirmed is None
            assert it.name == "a"

    async def check(it: Play, who: str) -> None:
        it.router.check(getattr(it, who))

    play(story)


def test_a_commit_with_a_name_is_settled_by_that_name_only() -> None:
    async def story(it: Play) -> None:
        it.edit(it.ada, "set system host-name a")
        await it.commit(it.ada, confirm_s=LONG, persist="x")
        it.router.log_out(it.ada)
        assert it.name == "a", "it outlives its session"
        it.router.validate(it.bob)
        for wrong in (None, "y"):
            with pytest.raises(RouterError):
                await it.commit(it.bob, persist_id=wrong)
            with pytest.raises(RouterError):
                it.router.cancel(it.bob, wrong)
        it.router.cancel(it.bob, "x")
        assert it.name is None
        with pytest.raises(RouterError):
            it.router.cancel(it.bob, "x")

    play(story)


def test_a_commit_without_a_name_goes_with_its_session() -> None:
    async def story(it: Play) -> None:
        it.edit(it.ada, "set system host-name a")
        await it.commit(it.ada, confirm_s=LONG)
        it.router.log_out(it.ada)
        assert it.name is None

    play(story)


def test_the_clock_stands_while_a_confirming_commit_is_under_way() -> None:
    async def story(it: Play) -> None:
        it.edit(it.ada, "set system host-name a")
        await it.commit(it.ada, confirm_s=0.02, stays=True)
        it.router.commit_s = 0.1
        await it.commit(it.ada)
        assert it.name == "a"
        assert it.router.unconfirmed is None

    play(story)


def test_what_does_not_come_into_force_is_not_committed() -> None:
    async def story(it: Play) -> None:
        async def full(_tree: object) -> None:
            raise RouterError("No space left on device")

        it.router._activate = full
        it.edit(it.ada, "set system host-name a")
        with pytest.raises(RouterError, match="No space left"):
            await it.commit(it.ada)
        assert it.name is None

    play(story)


def test_older_configurations_can_be_loaded_again() -> None:
    async def story(it: Play) -> None:
        it.edit(it.ada, "set system host-name a")
        await it.commit(it.ada)
        it.router.roll_back(it.ada, 1)
        assert it.router.compare(it.ada).splitlines() == [
            "[edit]",
            "-   system {",
            "-       host-name a;",
            "-   }",
        ]
        await it.commit(it.ada)
        assert it.name is None
        with pytest.raises(RouterError, match="is not there"):
            it.router.roll_back(it.ada, 40)

    play(story)
