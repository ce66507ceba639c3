"""The contract of every reporting database with retention (sinks/reporting/retention.py)."""

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import Any

import pytest

from schemas.change import Op
from schemas.checksums import Sum, sum_of
from schemas.errors import Unproven
from schemas.tables import EVENTS, ORDER_LINES, ORDERS, PAYMENTS, Table
from sinks.reporting.cutoff import Cutoff
from sinks.reporting.retention import BATCH, NotCutOff, require_cut_off
from tests.support.eventually import eventually
from tests.support.stores import SqlStore, Store
from tests.support.trade import DAY, MONTH, Tenant, Worker

AFTER = date(2026, 12, 1)
LATER = date(2026, 11, 24)


def ids(count: int, prefix: int = 0) -> list[str]:
    return [f"0193a1b2-{prefix:04x}-7000-8000-{n:012x}" for n in range(count)]


def keys(store: Store, table: Table, tenant: Tenant) -> list[object]:
    return sorted(str(key[-1]) for key in store.rows(table, tenant.name))


def trading(store: Store, tenant: Tenant, some: Iterable[str], day: date = DAY) -> None:
    Worker(store.reporting(), tenant).land(*(tenant.event(each, n, day=day) for n, each in enumerate(some)))


# Events


def test_sums_are_those_that_the_archive_computes(store: Store, tenant: Tenant) -> None:
    first, second = ids(3), ids(2, prefix=1)
    trading(store, tenant, first)
    trading(store, tenant, second, day=LATER)
    other = Tenant()
    trading(store, other, first)
    mine = {DAY: sum_of(first), LATER: sum_of(second)}

    def found(before: date, *held: str) -> dict[date, Sum]:
        sums = store.retiring().event_sums(tenant.table(EVENTS), before, held)
        return {day: total for (day, name), total in sums.items() if name == tenant.name}

    assert found(AFTER) == mine
    assert found(LATER) == {DAY: mine[DAY]}
    assert found(AFTER, other.name) == mine
    assert found(AFTER, other.name, tenant.name) == {}


def test_a_sum_may_exceed_64_bits(store: Store, tenant: Tenant) -> None:
    many = ids(64)
    assert sum_of(many).total > 1 << 64
    trading(store, tenant, many)
    assert store.retiring().event_sums(tenant.table(EVENTS), AFTER, ())[DAY, tenant.name] == sum_of(many)


def test_event_ids_are_those_of_the_day_and_the_tenant_in_order(
    store: Store, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    for dialect in ("postgres", "sqlserver"):
        monkeypatch.setattr(f"sinks.reporting.{dialect}.retention_sql.PAGE", 3)
    trading(store, tenant, ids(7))
    trading(store, tenant, ids(2, prefix=1), day=LATER)
    trading(store, Tenant(), ids(2, prefix=2))
    assert list(store.retiring().event_ids(tenant.table(EVENTS), DAY, tenant.name)) == ids(7)
    assert list(store.retiring().event_ids(tenant.table(EVENTS), MONTH, tenant.name)) == []


def test_a_day_that_is_proven_goes_and_its_neighbours_stay(store: Store, tenant: Tenant) -> None:
    trading(store, tenant, ids(5))
    trading(store, tenant, later := ids(2, prefix=1), day=LATER)
    other = Tenant()
    trading(store, other, ids(3))
    retiring = store.retiring()
    retiring.set_cutoff(tenant.cutoff(AFTER))
    assert retiring.retire_events(tenant.table(EVENTS), DAY, {tenant.name: sum_of(ids(5))}) == 5
    assert keys(store, EVENTS, tenant) == later
    assert keys(store, EVENTS, other) == ids(3)


@pytest.mark.parametrize(
    "proven", [sum_of(ids(4)), sum_of(ids(6)), sum_of(ids(5, prefix=1)), Sum()], ids=["fewer", "more", "other", "none"]
)
def test_events_that_the_archive_is_not_proven_to_hold_stay_and_are_named(
    store: Store, tenant: Tenant, proven: Sum
) -> None:
    other = Tenant()
    trading(store, tenant, ids(5))
    trading(store, other, ids(3))
    retiring = store.retiring()
    retiring.set_cutoff(tenant.cutoff(AFTER))
    with pytest.raises(Unproven, match=rf"{tenant.name} on {DAY}.*runbook\.md#unproven"):
        retiring.retire_events(tenant.table(EVENTS), DAY, {other.name: sum_of(ids(3)), tenant.name: proven})
    assert (keys(store, EVENTS, tenant), keys(store, EVENTS, other)) == (ids(5), ids(3))


def test_a_day_retired_again_after_an_unknown_outcome_is_passed_over(store: Store, tenant: Tenant) -> None:
    trading(store, tenant, ids(5))
    retiring = store.retiring()
    retiring.set_cutoff(tenant.cutoff(AFTER))
    proven = {tenant.name: sum_of(ids(5))}
    assert [retiring.retire_events(tenant.table(EVENTS), DAY, proven) for _ in range(2)] == [5, 0]
    assert retiring.retire_events(tenant.table(EVENTS), DAY, {}) == 0


def test_a_day_larger_than_a_batch_goes_at_once(store: Store, tenant: Tenant) -> None:
    many = ids(2 * BATCH + 500)
    trading(store, tenant, many)
    retiring = store.retiring()
    retiring.set_cutoff(tenant.cutoff(AFTER))
    with pytest.raises(Unproven):
        retiring.retire_events(tenant.table(EVENTS), DAY, {tenant.name: sum_of(many[1:])})
    assert keys(store, EVENTS, tenant) == many
    assert retiring.retire_events(tenant.table(EVENTS), DAY, {tenant.name: sum_of(many)}) == len(many)


def test_erased_events_leave_every_day(store: Store, tenant: Tenant) -> None:
    trading(store, tenant, ids(3))
    trading(store, tenant, ids(2, prefix=1), day=LATER)
    other = Tenant()
    trading(store, other, ids(3))
    gone = [ids(3)[0], ids(2, prefix=1)[1], "0193a1b2-ffff-7000-8000-000000000000"]
    assert store.retiring().erase_events(tenant.table(EVENTS), tenant.name, gone) == 2
    assert keys(store, EVENTS, tenant) == sorted([*ids(3)[1:], ids(2, prefix=1)[0]])
    assert keys(store, EVENTS, other) == ids(3)


# Rows


def test_a_months_rows_go_the_deleted_ones_included(store: Store, tenant: Tenant) -> None:
    before, held = date(2026, 10, 1), Tenant()
    worker = Worker(store.reporting(), tenant)
    worker.land(
        tenant.order("a", 1),
        tenant.order("b", 2, op=Op.DELETE),
        tenant.order("c", 3, order_month=date(2026, 11, 30)),
        tenant.order("before", 4, order_month=before),
        tenant.order("after", 5, order_month=AFTER),
        tenant.line("a", 6, version=1, status="enriched"),
        tenant.payment("p", 7),
        tenant.payment("q", 8, op=Op.DELETE),
        tenant.payment("before", 9, order_month=before),
    )
    Worker(store.reporting(), held).land(held.order("kept", 1))
    retiring, others = store.retiring(), [held.name, *store.others(tenant.name)]
    retiring.set_cutoff(tenant.cutoff(AFTER, held.name))
    gone = [retiring.retire_rows(tenant.table(each), MONTH, others) for each in (ORDERS, ORDER_LINES, PAYMENTS)]
    assert gone == [3, 1, 1]
    assert keys(store, ORDERS, tenant) == ["after", "before"]
    assert keys(store, PAYMENTS, tenant) == ["before", "q"]  # a delete's month isn't known
    assert keys(store, ORDERS, held) == ["kept"]
    assert retiring.retire_rows(tenant.table(ORDERS), MONTH, others) == 0


def test_more_rows_than_a_batch_go(store: Store, tenant: Tenant) -> None:
    count = 2 * BATCH + 1
    Worker(store.reporting(), tenant).land(*(tenant.order(f"o{n}", n) for n in range(count)))
    retiring = store.retiring()
    retiring.set_cutoff(tenant.cutoff(AFTER))
    assert retiring.retire_rows(tenant.table(ORDERS), MONTH, store.others(tenant.name)) == count
    assert keys(store, ORDERS, tenant) == []


def test_deletes_are_forgotten_by_their_keys_and_live_rows_stay(store: Store, tenant: Tenant) -> None:
    Worker(store.reporting(), tenant).land(
        tenant.payment("gone", 1, op=Op.DELETE), tenant.payment("other", 2, op=Op.DELETE), tenant.payment("alive", 3)
    )
    listed = [(tenant.name, name) for name in ("gone", "alive", "never")]
    assert store.retiring().purge_deleted(tenant.table(PAYMENTS), iter(listed)) == 1
    assert keys(store, PAYMENTS, tenant) == ["alive", "other"]
    assert store.retiring().purge_deleted(tenant.table(PAYMENTS), listed) == 0


def test_more_deletes_than_a_batch_are_forgotten(store: Store, tenant: Tenant) -> None:
    names = [f"p{n}" for n in range(BATCH + 1)]
    Worker(store.reporting(), tenant).land(*(tenant.payment(name, n, op=Op.DELETE) for n, name in enumerate(names)))
    listed = ((tenant.name, name) for name in names)
    assert store.retiring().purge_deleted(tenant.table(PAYMENTS), listed) == len(names)
    assert store.retiring().purge_deleted(tenant.table(PAYMENTS), ()) == 0


def test_only_old_deletes_are_swept(store: Store, tenant: Tenant) -> None:
    held, ages = Tenant(), datetime(2026, 10, 31, 23, 59, 59, tzinfo=UTC)
    old = date(2026, 10, 1)
    Worker(store.reporting(), tenant).land(
        tenant.order("old", 1, order_month=old, op=Op.DELETE),
        tenant.order("old and alive", 2, order_month=old),
        tenant.order("young", 3, op=Op.DELETE),
        tenant.payment("old", 4, op=Op.DELETE, at=ages),
        tenant.payment("old and alive", 5, order_month=old, at=ages),
        tenant.payment("young", 6, op=Op.DELETE, at=datetime(2026, 11, 1, tzinfo=UTC)),
    )
    Worker(store.reporting(), held).land(held.order("old", 1, order_month=old, op=Op.DELETE))
    retiring = store.retiring()
    retiring.set_cutoff(tenant.cutoff(AFTER, held.name, *store.others(tenant.name)))
    assert [retiring.purge_deleted_before(tenant.table(table), MONTH) for table in (ORDERS, PAYMENTS)] == [1, 1]
    assert keys(store, ORDERS, tenant) == ["old and alive", "young"]
    assert keys(store, PAYMENTS, tenant) == ["old and alive", "young"]
    assert keys(store, ORDERS, held) == ["old"]


# Rows that a sink would accept again stay


def test_what_repairs_have_kept_is_erased_row_by_row(store: Store, tenant: Tenant) -> None:
    first, second = (f'{{"tenant_id":"{tenant.name}","note":"{note}"}}' for note in ("Ação", "AÇÃO"))
    for table, row in ((ORDERS, first), (ORDERS, second), (EVENTS, first)):
        store.keep_repaired(table, row)
    retiring = store.retiring()
    assert {first, second} <= set(retiring.repaired(ORDERS))
    assert retiring.erase_repaired(ORDERS, [first]) == 1
    assert retiring.erase_repaired(ORDERS, [first]) == 0
    assert set(retiring.repaired(ORDERS)) & {first, second} == {second}
    assert first in retiring.repaired(EVENTS)


def test_nothing_goes_that_no_cutoff_refuses(store: Store, tenant: Tenant) -> None:
    trading(store, tenant, ids(1))
    Worker(store.reporting(), tenant).land(tenant.order("a", 10), tenant.order("b", 11, op=Op.DELETE))
    retiring, proven = store.retiring(), {tenant.name: sum_of(ids(1))}
    for _ in range(2):
        with pytest.raises(NotCutOff):
            retiring.retire_events(tenant.table(EVENTS), DAY, proven)
        with pytest.raises(NotCutOff):
            retiring.retire_rows(tenant.table(ORDERS), MONTH, ())
        with pytest.raises(NotCutOff):
            retiring.purge_deleted_before(tenant.table(ORDERS), AFTER)
        retiring.set_cutoff(tenant.cutoff(DAY))  # neither the day nor the whole month
    assert (keys(store, EVENTS, tenant), keys(store, ORDERS, tenant)) == (ids(1), ["a", "b"])


def test_a_legal_hold_keeps_what_an_older_plan_would_delete(store: Store, tenant: Tenant) -> None:
    trading(store, tenant, ids(1))
    Worker(store.reporting(), tenant).land(tenant.order("a", 10))
    retiring = store.retiring()
    retiring.set_cutoff(tenant.cutoff(AFTER, tenant.name))
    with pytest.raises(NotCutOff, match=f"held: {tenant.name}"):
        retiring.retire_events(tenant.table(EVENTS), DAY, {tenant.name: sum_of(ids(1))})
    with pytest.raises(NotCutOff, match=f"held: {tenant.name}"):
        retiring.retire_rows(tenant.table(ORDERS), MONTH, ())
    assert (keys(store, EVENTS, tenant), keys(store, ORDERS, tenant)) == (ids(1), ["a"])


def test_a_legal_hold_that_comes_between_two_batches_keeps_the_rest(
    database: SqlStore, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    if database.locks_nothing:
        pytest.skip("Babelfish: a lock hint takes no lock")
    Worker(database.reporting(), tenant).land(tenant.order("a", 1), tenant.order("b", 2))
    others, (retiring, counsel) = database.others(tenant.name), (database.retiring(), database.retiring())
    retiring.set_cutoff(tenant.cutoff(AFTER))
    seen: list[Future[None]] = []

    def hold_after_the_first(*given: Any) -> Cutoff:
        if len(seen) < 2:  # the list is made, then a batch is deleted
            seen.append(pool.submit(counsel.set_cutoff, tenant.cutoff(AFTER, *[tenant.name] * len(seen))))
            eventually(database.waited_for)
        return require_cut_off(*given)

    monkeypatch.setattr("sinks.reporting.sql_retention.BATCH", 1)
    monkeypatch.setattr("sinks.reporting.sql_retention.require_cut_off", hold_after_the_first)
    with ThreadPoolExecutor(1) as pool, pytest.raises(NotCutOff, match=f"held: {tenant.name}"):
        retiring.retire_rows(tenant.table(ORDERS), MONTH, others)
    assert keys(database, ORDERS, tenant) == ["b"]
