"""Rows that have aged out stay out, whichever worker lands them and however setting a cutoff and landing interleave."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import overload

import pytest

from schemas.change import Change, Op
from schemas.tables import EVENTS, ORDER_LINES, ORDERS, PAYMENTS
from sinks.reporting.port import Landed
from tests.support.eventually import eventually
from tests.support.stores import SqlStore, Store
from tests.support.trade import MONTH, Tenant, Worker

NO_LOCKS = "Babelfish: a lock hint takes no lock"
AFTER = date(2026, 12, 1)
ONE, TWO = "0193a1b2-0000-7000-8000-000000000001", "0193a1b2-0000-7000-8000-000000000002"


def test_an_aged_row_is_refused_and_its_checkpoint_passes(store: Store, tenant: Tenant) -> None:
    store.retiring().set_cutoff(tenant.cutoff(AFTER))
    worker = Worker(reporting := store.reporting(), tenant)
    landed = worker.land(
        tenant.order("old", 1),
        tenant.order("old", 2, op=Op.DELETE),
        tenant.line("old", 3, version=1, status="enriched"),
        tenant.payment("old", 4),
        tenant.event(ONE, 5),
        tenant.order("young", 6, order_month=AFTER),
    )
    assert landed == Landed(folded=1, written=1, refused=5)
    assert [key[2] for key in store.rows(ORDERS, tenant.name)] == ["young"]
    assert not any(store.rows(table, tenant.name) for table in (ORDER_LINES, PAYMENTS, EVENTS))
    checkpoint = reporting.checkpoint(tenant.partition)
    assert checkpoint is not None
    assert checkpoint.next_offset == 7


def test_a_batch_of_nothing_but_aged_rows_moves_the_checkpoint(store: Store, tenant: Tenant) -> None:
    store.retiring().set_cutoff(tenant.cutoff(AFTER))
    worker = Worker(store.reporting(), tenant)
    assert worker.land(tenant.order("old", 1)) == Landed(folded=0, written=0, refused=1)
    assert store.reporting().claim(tenant.partition, tenant.topic_id, 0).next_offset == 2


def test_a_delete_whose_day_is_not_known_lands(store: Store, tenant: Tenant) -> None:
    store.retiring().set_cutoff(tenant.cutoff(AFTER))
    worker = Worker(store.reporting(), tenant)
    assert worker.land(tenant.payment("old", 1, op=Op.DELETE)) == Landed(folded=1, written=1)
    assert worker.land(tenant.payment("old", 0)).refused == 1


def test_a_legal_hold_lets_a_tenants_old_rows_land(store: Store, tenant: Tenant) -> None:
    retiring, worker = store.retiring(), Worker(store.reporting(), tenant)
    retiring.set_cutoff(tenant.cutoff(AFTER, tenant.name, 'another "one"'))
    assert worker.land(tenant.order("old", 1)) == Landed(folded=1, written=1)
    retiring.set_cutoff(tenant.cutoff(AFTER))
    assert worker.land(tenant.order("older", 2)).refused == 1
    assert [key[2] for key in store.rows(ORDERS, tenant.name)] == ["old"]


def test_a_cutoff_never_goes_back_while_holds_come_and_go(store: Store, tenant: Tenant) -> None:
    retiring = store.retiring()
    retiring.set_cutoff(tenant.cutoff(AFTER))
    retiring.set_cutoff(tenant.cutoff(MONTH, "a", "b"))
    assert retiring.cutoffs()[tenant.name] == tenant.cutoff(AFTER, "a", "b")
    retiring.set_cutoff(tenant.cutoff(AFTER, "b"))
    assert store.retiring().cutoffs()[tenant.name] == tenant.cutoff(AFTER, "b")


def test_one_part_of_the_policy_leaves_the_others_alone(store: Store, tenant: Tenant) -> None:
    store.retiring().set_cutoff(Tenant().cutoff(AFTER))
    assert Worker(store.reporting(), tenant).land(tenant.order("a", 1)).refused == 0


def test_an_erased_event_does_not_come_back(store: Store, tenant: Tenant) -> None:
    worker = Worker(store.reporting(), tenant)
    worker.land(tenant.event(ONE, 1), tenant.event(TWO, 2))
    assert store.retiring().erase_events(tenant.table(EVENTS), tenant.name, [ONE]) == 1
    worker.land(tenant.event(ONE, 1), tenant.event(ONE, 3, day=MONTH), tenant.event(TWO, 2))
    assert [key[2] for key in store.rows(EVENTS, tenant.name)] == [TWO]


def test_an_event_may_be_erased_before_it_lands_and_again(store: Store, tenant: Tenant) -> None:
    retiring = store.retiring()
    assert [retiring.erase_events(tenant.table(EVENTS), tenant.name, [ONE, ONE]) for _ in range(2)] == [0, 0]
    other = Tenant()
    assert Worker(store.reporting(), tenant).land(tenant.event(ONE, 1)).written == 0
    assert Worker(store.reporting(), other).land(other.event(ONE, 1)).written == 1


class Halting(Sequence[Change]):
    """Changes that are being landed (`reached`) and go on when they may (`go`)."""

    def __init__(self, *changes: Change) -> None:
        self._changes = changes
        self.reached, self.go = threading.Event(), threading.Event()

    def __iter__(self) -> Iterator[Change]:
        self.reached.set()
        assert self.go.wait(60)
        return iter(self._changes)

    def __len__(self) -> int:
        return len(self._changes)

    @overload
    def __getitem__(self, index: int) -> Change: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Change]: ...
    def __getitem__(self, index: int | slice) -> Change | Sequence[Change]:
        return self._changes[index]


def meet(store: Store, tenant: Tenant, change: Change, retire: Callable[[], int]) -> int:
    """Return the result of `retire` while a transaction that has read its cutoffs is landing `change`."""
    if store.locks_nothing:
        pytest.skip(NO_LOCKS)
    worker, changes = Worker(store.reporting(), tenant), Halting(change)
    with ThreadPoolExecutor(2) as pool:
        landing = pool.submit(worker.land_all, changes)
        assert changes.reached.wait(60)
        retiring = pool.submit(retire)
        try:
            eventually(lambda: retiring.done() or store.waited_for())
        finally:
            changes.go.set()
        assert landing.result().written == 1
        return retiring.result()


def test_a_cutoff_waits_for_what_is_landing_so_that_nothing_aged_stays_behind(store: Store, tenant: Tenant) -> None:
    retiring, others = store.retiring(), store.others(tenant.name)

    def retire() -> int:
        retiring.set_cutoff(tenant.cutoff(AFTER))
        return retiring.retire_rows(tenant.table(ORDERS), MONTH, others)

    assert meet(store, tenant, tenant.order("a", 1), retire) == 1
    assert store.rows(ORDERS, tenant.name) == {}


def test_erasing_waits_for_what_is_landing(store: Store, tenant: Tenant) -> None:
    retiring = store.retiring()
    event = tenant.event(ONE, 1)
    assert meet(store, tenant, event, lambda: retiring.erase_events(event.table, tenant.name, [ONE])) == 1
    assert store.rows(EVENTS, tenant.name) == {}


def test_what_lands_while_a_cutoff_is_being_set_waits_and_sees_it(database: SqlStore, tenant: Tenant) -> None:
    if database.locks_nothing:
        pytest.skip(NO_LOCKS)
    worker = Worker(database.reporting(), tenant)
    with database.setting(tenant.cutoff(AFTER)) as commit, ThreadPoolExecutor(1) as pool:
        landing = pool.submit(worker.land, tenant.order("a", 1))
        try:
            eventually(lambda: landing.done() or database.waited_for())
        finally:
            commit()
        assert landing.result() == Landed(folded=0, written=0, refused=1)


def test_two_that_set_a_cutoff_at_once_leave_the_later_day(store: Store, tenant: Tenant) -> None:
    if store.locks_nothing:
        pytest.skip(NO_LOCKS)
    days = [date(2026, 1, day) for day in range(1, 21)]

    def set_all(some: list[date]) -> None:
        retiring = store.retiring()
        for day in some:
            retiring.set_cutoff(tenant.cutoff(day))

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(set_all, days), pool.submit(set_all, days[::-1])]:
            done.result()
    assert store.retiring().cutoffs()[tenant.name].before == days[-1]
