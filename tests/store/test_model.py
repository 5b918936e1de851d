"""Any sequence of commits, refusals and reopenings gives what plain dicts would."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.store.commits import target
from vpnctl.errors import StaleError, StoreError
from vpnctl.model import Allocation
from vpnctl.store import FOLLOWING_STATES, RevisionState, Store

PATHS = st.sampled_from(["network.yaml", "e1.yaml", "e2.yaml", "größe/e3.yaml"])
FILES = st.dictionaries(PATHS, st.none() | st.binary(max_size=4), max_size=3)
POOLS = ("route-target", "ve-id/E1")
ALLOCATIONS = st.lists(
    st.builds(
        Allocation,
        pool=st.sampled_from(POOLS),
        owner=st.sampled_from(["E1/hq", "E1/c1", "E2/hq"]),
        number=st.integers(1, 4),
        released=st.booleans(),
    ),
    max_size=5,
    unique=True,
)


def _collide(allocations: list[Allocation]) -> bool:
    owners = {(one.pool, one.owner) for one in allocations}
    numbers = {(one.pool, one.number) for one in allocations}
    return not len(owners) == len(numbers) == len(allocations)


class StoreMachine(RuleBasedStateMachine):
    """The store beside lists and dicts that say what it should hold."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.store = Store.open(url)
        self.snapshots: list[dict[str, bytes]] = []
        self.states: list[RevisionState] = []
        self.allocations: list[Allocation] = []
        self.begun: list[int] = []

    def teardown(self) -> None:
        self.store.close()

    @property
    def base(self) -> int | None:
        return len(self.snapshots) or None

    def _commit(
        self,
        base: int | None,
        files: dict[str, bytes | None],
        allocations: list[Allocation],
        journal: dict[str, object] | None,
    ) -> None:
        revision = self.store.commit(
            base=base,
            files=files,
            allocations=allocations,
            summary="",
            author="",
            kind="apply",
            journal=journal,
        )
        now = dict(self.snapshots[-1]) if self.snapshots else {}
        for path, content in files.items():
            now.pop(path, None)
            if content is not None:
                now[path] = content
        self.snapshots.append(now)
        self.states.append(revision.state)
        self.allocations = allocations
        if revision.operation is not None:
            self.begun.append(revision.operation)

    @rule(files=FILES, allocations=ALLOCATIONS, journal=st.none() | st.just({"n": 1}))
    def commit_another_set(
        self,
        files: dict[str, bytes | None],
        allocations: list[Allocation],
        journal: dict[str, object] | None,
    ) -> None:
        if not _collide(allocations):
            self._commit(self.base, files, allocations, journal)
            return
        try:
            self._commit(self.base, files, allocations, journal)
        except StoreError:
            return
        raise AssertionError(f"collision not refused: {allocations}")

    @rule(files=FILES, owner=st.sampled_from(["E1/hq", "E3/hq"]), number=st.integers(1, 6))
    def commit_one_more(self, files: dict[str, bytes | None], owner: str, number: int) -> None:
        kept = [one for one in self.store.allocations() if one.owner != owner]
        wanted = [*kept, target(owner, number)]
        if not _collide(wanted):
            self._commit(self.base, files, wanted, None)

    @rule(files=FILES, other=st.none() | st.integers(0, 30))
    def commit_on_another_base(self, files: dict[str, bytes | None], other: int | None) -> None:
        if other == self.base:
            return
        try:
            self._commit(other, files, [], {"never": True})
        except StaleError:
            return
        raise AssertionError(f"base {other} was taken on {self.base}")

    @precondition(lambda self: self.snapshots)
    @rule(data=st.data(), state=st.sampled_from(list(RevisionState)))
    def move_state(self, data: st.DataObject, state: RevisionState) -> None:
        index = data.draw(st.integers(0, len(self.states) - 1))
        before = self.states[index]
        try:
            self.store.set_state(index + 1, state)
        except StoreError:
            assert state not in FOLLOWING_STATES[before] | {before}
        else:
            assert state in FOLLOWING_STATES[before] | {before}
            self.states[index] = state

    @precondition(lambda self: self.begun)
    @rule(data=st.data(), finish=st.booleans())
    def end_operation(self, data: st.DataObject, finish: bool) -> None:
        operation = data.draw(st.sampled_from(self.begun))
        (self.store.journal_finish if finish else self.store.journal_abort)(operation)
        self.begun.remove(operation)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = Store.open(self.url)

    @invariant()
    def holds_what_it_should(self) -> None:
        assert sorted(self.store.allocations()) == sorted(self.allocations)
        assert [one.id for one in self.store.pending()] == self.begun
        history = self.store.history()
        assert [one.number for one in history] == list(range(len(self.snapshots), 0, -1))
        assert [one.state for one in reversed(history)] == self.states
        for number, files in enumerate(self.snapshots, start=1):
            assert self.store.files(number) == files


def test_the_store_behaves_like_its_model(new_url: Callable[[], str]) -> None:
    class Machine(StoreMachine):
        def __init__(self) -> None:
            super().__init__(new_url())

    run_state_machine_as_test(
        Machine,
        settings=settings(
            # A new PostgreSQL database takes a while to be made.
            max_examples=8 if new_url().startswith("postgresql") else 30,
            stateful_step_count=25,
            deadline=None,
            phases=set(Phase) - {Phase.explain},
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
