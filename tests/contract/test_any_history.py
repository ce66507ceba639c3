"""Whatever a worker, its zombies and its restarts do: reporting = the log, folded to some point ≥ what is committed.

The model is landing each change by itself, in order, in memory.
"""

from collections.abc import Sequence
from itertools import cycle

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from stores import MemoryStore, Store
from trade import Tenant, Worker

from schemas.change import Change, Op
from schemas.tables import ORDERS
from sinks.port import Fenced, Reporting

KEYS = ("a", "b", "c")


class History(RuleBasedStateMachine):
    """One partition's log, growing; workers that land it, die and come back; zombies that land what they held."""

    def __init__(self, store: Store, adapters: Sequence[Reporting]) -> None:
        super().__init__()
        self.store = store
        self.adapters = cycle(adapters)
        self.tenant = Tenant()
        self.log: list[Change] = []
        self.lsn = 0
        self.epoch = 1
        self.worker = Worker(next(self.adapters), self.tenant)
        self.zombies: list[Worker] = []
        self.model = MemoryStore()
        self.modelled = Worker(self.model.reporting(), self.tenant)

    @rule(key=st.sampled_from(KEYS), op=st.sampled_from([Op.CREATE, Op.UPDATE, Op.DELETE]))
    def the_source_commits(self, key: str, op: Op) -> None:
        self.lsn += 10
        self._append(key, op=op, at={"log": (self.lsn, self.lsn)})

    @rule(key=st.sampled_from(KEYS))
    def a_snapshot_reads(self, key: str) -> None:
        self._append(key, at={"log": (0, 0), "read": True})

    @precondition(lambda self: any(not change.position.read for change in self.log))
    @rule(data=st.data())
    def capture_restarts_and_sends_again(self, data: st.DataObject) -> None:
        streamed = [change for change in self.log if not change.position.read]
        first = data.draw(st.integers(0, len(streamed) - 1))
        for change in streamed[first : first + 3]:
            op = Op.DELETE if change.row is None else change.op
            status = "gone" if change.row is None else str(change.row[4])
            at = {"log": change.position.log, "epoch": change.position.epoch}
            if change.position.epoch == self.epoch:
                self._append(str(change.key[2]), status, op=op, at=at)

    @rule()
    def the_source_history_restarts(self) -> None:
        self.epoch += 1
        self.lsn = 0

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

    def _append(self, key: str, status: str | None = None, *, op: Op | None = None, at: dict[str, object]) -> None:
        offset = len(self.log)
        changed = {"at": {"epoch": self.epoch} | at} | ({} if op is None else {"op": op})
        self.log.append(self.tenant.order(key, offset, status or f"at {offset}", **changed))


def test_reporting_is_the_log_folded_whatever_happens(store: Store) -> None:
    examples = {"memory": 150, "postgres": 40, "sqlserver": 8}[store.name]
    adapters = [store.reporting() for _ in range(3)]
    run_state_machine_as_test(
        lambda: History(store, adapters),
        settings=settings(
            max_examples=examples, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
