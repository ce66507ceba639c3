"""Whatever a worker, its zombies and its restarts do: reporting = the log, folded to some point ≥ what is committed.

The model is landing each change by itself, in order, in memory. And whatever capture sends again, or late: once all of
the log has landed, the rows are those of the source.
"""

import json
from collections.abc import Sequence
from itertools import cycle
from typing import NamedTuple

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from schemas.change import Change, Op
from schemas.decoders import postgres
from schemas.tables import ORDERS
from sinks.reporting.port import Fenced, Reporting
from tests.support.stores import MemoryStore, Store
from tests.support.trade import Tenant, Worker

KEYS = ("a", "b", "c")


class Sent(NamedTuple):
    """A change as it was streamed, which may be sent again."""

    key: str
    status: str | None
    commit: int | None  # the end of the previous commit
    lsn: int


class History(RuleBasedStateMachine):
    """One partition's log, growing; workers that land it, die and come back; zombies that land what they held."""

    def __init__(self, store: Store, adapters: Sequence[Reporting]) -> None:
        super().__init__()
        self.store = store
        self.adapters = cycle(adapters)
        self.tenant = Tenant()
        self.log: list[Change] = []
        self.source: dict[str, str | None] = {}  # each key's status; None once it is deleted
        self.sent: list[Sent] = []  # what the present slot has streamed
        self.committed: int | None = None  # the end of the previous commit, which a new slot doesn't know
        self.lsn = 0
        self.epoch = 1
        self.worker = Worker(next(self.adapters), self.tenant)
        self.zombies: list[Worker] = []
        self.model = MemoryStore()
        self.modelled = Worker(self.model.reporting(), self.tenant)

    @rule(keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=4), deletes=st.booleans())
    def the_source_commits(self, keys: list[str], deletes: bool) -> None:
        for key in keys:
            self.lsn += 10
            self.source[key] = None if deletes else f"at {self.lsn}"
            self.sent.append(Sent(key, self.source[key], self.committed, self.lsn))
            self._append(self.sent[-1])
        self.lsn += 10
        self.committed = self.lsn

    @rule(key=st.sampled_from(KEYS))
    def a_snapshot_reads(self, key: str) -> None:
        if (status := self.source.get(key)) is not None:
            self._append(Sent(key, status, None, 0), Op.READ)

    @rule()
    def capture_is_applied_again(self) -> None:
        """Use a slot of its own: Debezium knows no previous commit in its first transaction."""
        self.sent, self.committed = [], None
        self.lsn += 10
        for key in KEYS:
            self.a_snapshot_reads(key)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def capture_crashes_and_sends_a_suffix_again(self, data: st.DataObject) -> None:
        for each in self.sent[data.draw(st.integers(0, len(self.sent) - 1)) :]:
            self._append(each)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def a_paused_task_sends_late(self, data: st.DataObject) -> None:
        first = data.draw(st.integers(0, len(self.sent) - 1))
        for each in self.sent[first : first + data.draw(st.integers(1, 3))]:
            self._append(each)

    @rule()
    def the_source_history_restarts(self) -> None:
        self.epoch += 1
        self.lsn = 0
        self.capture_is_applied_again()

    @rule(take=st.integers(1, 6))
    def the_worker_lands(self, take: int) -> None:
        start = self.worker.checkpoint.next_offset
        batch = self.log[start : start + take]
        self.worker.land(*batch, upto=start + len(batch))
        for change in batch:
            self.modelled.land(change)

    @rule(back=st.integers(0, 30), take=st.integers(1, 10))
    def some_of_the_log_is_landed_again(self, back: int, take: int) -> None:
        landed = self.worker.checkpoint.next_offset
        start = max(0, landed - back)
        self.worker.land(*self.log[start : min(start + take, landed)], upto=landed)

    @rule()
    def the_worker_catches_up(self) -> None:
        while self.worker.checkpoint.next_offset < len(self.log):
            self.the_worker_lands(6)

    @rule()
    def the_worker_dies_and_another_claims(self) -> None:
        self.zombies.append(self.worker)
        self.worker = Worker(next(self.adapters), self.tenant)
        assert self.worker.checkpoint.next_offset == self.zombies[-1].checkpoint.next_offset

    @precondition(lambda self: self.zombies and self.log)
    @rule(data=st.data())
    def a_zombie_lands_what_it_held(self, data: st.DataObject) -> None:
        zombie = data.draw(st.sampled_from(self.zombies))
        start = data.draw(st.integers(0, len(self.log) - 1))
        with pytest.raises(Fenced):
            zombie.land(*self.log[start:])

    @invariant()
    def reporting_is_the_log_up_to_the_checkpoint(self) -> None:
        found = self.store.rows(ORDERS, self.tenant.name)
        assert found == self.model.rows(ORDERS, self.tenant.name)

    @invariant()
    def what_has_landed_whole_is_what_the_source_holds(self) -> None:
        if self.worker.checkpoint.next_offset < len(self.log):
            return
        seen = {key for change in self.log if change.position.epoch == self.epoch for key in [str(change.key[2])]}
        rows = self.store.rows(ORDERS, self.tenant.name)
        found = {str(key[2]): row.row and row.row[4] for key, row in rows.items() if key[2] in seen}
        assert found == {key: self.source[key] for key in seen}

    def _append(self, sent: Sent, op: Op = Op.UPDATE) -> None:
        op = Op.DELETE if sent.status is None else op
        commit = None if sent.commit is None else str(sent.commit)
        source = {"sequence": json.dumps([commit, str(sent.lsn)]), "lsn": sent.lsn}
        at = postgres.position(source, op, self.epoch, len(self.log))._asdict()
        self.log.append(self.tenant.order(sent.key, at.pop("offset"), sent.status or "gone", op=op, at=at))


def test_reporting_is_the_log_folded_whatever_happens(store: Store) -> None:
    examples = {"memory": 150, "postgres": 40, "sqlserver": 8}[store.name]
    adapters = [store.reporting() for _ in range(3)]
    run_state_machine_as_test(
        lambda: History(store, adapters),
        settings=settings(
            max_examples=examples, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
