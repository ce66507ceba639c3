"""The contract of every reporting database with the sink (sinks/reporting/port.py)."""

import re
import threading
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import uuid4

import pytest

from messaging.offsets import TopicReplaced
from schemas.change import Change, Op
from schemas.position import Position
from schemas.tables import EVENTS, ORDER_LINES, ORDERS
from sinks.reporting.bisect import bisect
from sinks.reporting.port import Batch, Checkpoint, Fenced, Landed, Partition, Poison
from sinks.reporting.retrying import RetryingReporting
from tests.support.stores import SqlStore, Store
from tests.support.trade import MONTH, NOON, Tenant, Worker


def statuses(store: Store, tenant: Tenant) -> dict[str, object]:
    """Order id → status, or "(deleted)"."""
    column = [each.name for each in ORDERS.columns].index("status")
    rows = store.rows(ORDERS, tenant.name)
    return {str(key[2]): "(deleted)" if row.row is None else row.row[column] for key, row in rows.items()}


def test_a_batch_lands_and_moves_its_checkpoint(store: Store, tenant: Tenant) -> None:
    reporting = store.reporting()
    worker = Worker(reporting, tenant)
    assert worker.land(tenant.order("a", 1), tenant.order("b", 2)) == Landed(folded=2, written=2)
    assert statuses(store, tenant) == {"a": "placed", "b": "placed"}
    assert reporting.checkpoint(tenant.partition) == Checkpoint(topic_id="id-1", next_offset=3, fence=1)


def test_a_new_partition_begins_where_its_log_does(store: Store, tenant: Tenant) -> None:
    assert store.reporting().claim(tenant.partition, "id-1", 40).next_offset == 40
    assert store.reporting().claim(tenant.partition, "id-1", 90).next_offset == 40


def test_a_partition_that_nobody_claimed_has_no_checkpoint(store: Store, tenant: Tenant) -> None:
    assert store.reporting().checkpoint(tenant.partition) is None


def test_a_stale_change_cannot_overwrite_a_newer_row(store: Store, tenant: Tenant) -> None:
    worker = Worker(store.reporting(), tenant)
    worker.land(tenant.order("a", 5, "shipped"))
    assert worker.land(tenant.order("a", 4, "placed")).written == 0
    assert statuses(store, tenant) == {"a": "shipped"}


def test_a_repeat_at_a_new_offset_is_skipped(store: Store, tenant: Tenant) -> None:
    worker = Worker(store.reporting(), tenant)
    worker.land(tenant.order("a", 1, "placed", at={"log": (100, 100)}))
    worker.land(tenant.order("a", 2, "shipped", at={"log": (200, 200)}))
    assert worker.land(tenant.order("a", 3, "placed", at={"log": (100, 100)})).written == 0
    assert worker.land(tenant.order("a", 4, "shipped", at={"log": (200, 200)})).written == 0
    assert statuses(store, tenant) == {"a": "shipped"}


def test_commit_order_beats_the_order_of_lsns(store: Store, tenant: Tenant) -> None:
    worker = Worker(store.reporting(), tenant)
    worker.land(tenant.order("a", 1, op=Op.DELETE, at={"log": (100, 900)}))
    worker.land(tenant.order("a", 2, "placed", at={"log": (200, 150)}))
    assert statuses(store, tenant) == {"a": "placed"}


def test_a_snapshot_read_replaces_and_keeps_the_log_position(store: Store, tenant: Tenant) -> None:
    worker = Worker(store.reporting(), tenant)
    worker.land(tenant.order("a", 1, "placed", at={"log": (100, 100)}))
    worker.land(tenant.order("a", 2, "paid", at={"log": (0, 0), "read": True}))
    assert statuses(store, tenant) == {"a": "paid"}
    (row,) = store.rows(ORDERS, tenant.name).values()
    assert row.position.log == (100, 100)
    worker.land(tenant.order("a", 3, "placed", at={"log": (100, 100)}))
    assert statuses(store, tenant) == {"a": "paid"}
    worker.land(tenant.order("a", 4, "shipped", at={"log": (100, 101)}))
    assert statuses(store, tenant) == {"a": "shipped"}


def test_a_read_and_a_repeat_behind_it_in_one_batch_leave_the_read(store: Store, tenant: Tenant) -> None:
    worker = Worker(store.reporting(), tenant)
    worker.land(tenant.order("a", 1, "placed", at={"log": (100, 100)}))
    read = tenant.order("a", 2, "paid", at={"log": (0, 0), "read": True})
    worker.land(read, tenant.order("a", 3, "placed", at={"log": (100, 100)}))
    assert statuses(store, tenant) == {"a": "paid"}


def test_a_new_epoch_wins_whatever_its_offset(store: Store, tenant: Tenant) -> None:
    worker = Worker(store.reporting(), tenant)
    worker.land(tenant.order("a", 9, "shipped"))
    worker.land(tenant.order("a", 2, "placed", at={"epoch": 2, "log": (1, 1)}))
    assert statuses(store, tenant) == {"a": "placed"}
    (row,) = store.rows(ORDERS, tenant.name).values()
    assert row.position.log == (1, 1)


def test_an_old_insert_cannot_resurrect_a_deleted_row(store: Store, tenant: Tenant) -> None:
    worker = Worker(store.reporting(), tenant)
    worker.land(tenant.order("a", 1))
    worker.land(tenant.order("a", 2, op=Op.DELETE))
    assert statuses(store, tenant) == {"a": "(deleted)"}
    assert worker.land(tenant.order("a", 1)).written == 0
    assert statuses(store, tenant) == {"a": "(deleted)"}


def test_a_delete_lands_on_a_table_that_never_saw_the_row(store: Store, tenant: Tenant) -> None:
    worker = Worker(store.reporting(), tenant)
    worker.land(tenant.order("a", 2, op=Op.DELETE))
    assert worker.land(tenant.order("a", 1)).written == 0
    assert statuses(store, tenant) == {"a": "(deleted)"}


def test_a_row_may_be_born_again(store: Store, tenant: Tenant) -> None:
    worker = Worker(store.reporting(), tenant)
    worker.land(tenant.order("a", 1, op=Op.DELETE), tenant.order("a", 2, "placed again"))
    assert statuses(store, tenant) == {"a": "placed again"}


def test_a_primary_key_update_is_a_delete_and_a_create(store: Store, tenant: Tenant) -> None:
    worker = Worker(store.reporting(), tenant)
    worker.land(tenant.order("a", 1))
    worker.land(tenant.order("a", 2, op=Op.DELETE), tenant.order("b", 3, op=Op.CREATE))
    assert statuses(store, tenant) == {"a": "(deleted)", "b": "placed"}


def test_a_later_enrichment_of_one_record_wins_and_an_earlier_one_does_not(store: Store, tenant: Tenant) -> None:
    worker = Worker(store.reporting(), tenant)
    worker.land(tenant.line("a", 7, version=0, status="pending"))
    worker.land(tenant.line("a", 7, version=2001, status="enriched"))
    assert worker.land(tenant.line("a", 7, version=2000, status="provisional")).written == 0
    (row,) = store.rows(ORDER_LINES, tenant.name).values()
    assert row.row is not None
    assert row.row[-1] == "enriched"
    assert row.position.version == 2001


def test_an_event_is_inserted_once_and_never_changed(store: Store, tenant: Tenant) -> None:
    worker = Worker(store.reporting(), tenant)
    event_id = "0193a1b2-0000-7000-8000-000000000001"
    assert worker.land(tenant.event(event_id, 1, "placed"), tenant.event(event_id, 2, "changed")).written == 1
    assert worker.land(tenant.event(event_id, 3, "changed")).written == 0
    (row,) = store.rows(EVENTS, tenant.name).values()
    assert row.row is not None
    assert row.row[5] == "placed"


def test_tables_of_one_batch_land_together(store: Store, tenant: Tenant) -> None:
    worker = Worker(store.reporting(), tenant)
    landed = worker.land(
        tenant.order("a", 1),
        tenant.line("a", 2, version=1, status="enriched"),
        tenant.order("b", 3),
        tenant.event("e", 4),
    )
    assert landed == Landed(folded=4, written=4)
    assert len(store.rows(ORDERS, tenant.name)) == 2
    assert len(store.rows(ORDER_LINES, tenant.name)) == 1


def test_an_empty_batch_moves_the_checkpoint_alone(store: Store, tenant: Tenant) -> None:
    reporting = store.reporting()
    worker = Worker(reporting, tenant)
    assert worker.land(upto=17) == Landed(folded=0, written=0)
    checkpoint = reporting.checkpoint(tenant.partition)
    assert checkpoint is not None
    assert checkpoint.next_offset == 17
    assert reporting.land(Batch(changes=(), checkpoints={})) == Landed(folded=0, written=0)


def test_landing_again_after_an_unknown_outcome_changes_nothing(store: Store, tenant: Tenant) -> None:
    worker = Worker(store.reporting(), tenant)
    changes = [tenant.order("a", 1), tenant.order("b", 2), tenant.order("a", 3, op=Op.DELETE)]
    worker.land(*changes)
    before = store.rows(ORDERS, tenant.name)
    assert worker.land(*changes).written == 0
    assert store.rows(ORDERS, tenant.name) == before


def test_a_zombie_is_fenced_and_its_batch_leaves_no_trace(store: Store, tenant: Tenant) -> None:
    zombie = Worker(store.reporting(), tenant)
    zombie.land(tenant.order("a", 1, "placed"))
    owner = Worker(store.reporting(), tenant)
    with pytest.raises(Fenced, match=r"runbook\.md#fenced"):
        zombie.land(tenant.order("a", 2, "from a zombie"), tenant.order("b", 3))
    assert statuses(store, tenant) == {"a": "placed"}
    owner.land(tenant.order("a", 2, "from the owner"))
    assert statuses(store, tenant) == {"a": "from the owner"}


def test_one_fenced_partition_rolls_the_whole_batch_back(store: Store, tenant: Tenant) -> None:
    reporting, other = store.reporting(), Partition(tenant.partition.topic, 1)
    held = {at: reporting.claim(at, "id-1", 0) for at in (tenant.partition, other)}
    store.reporting().claim(other, "id-1", 0)
    moved = {at: replace(checkpoint, next_offset=2) for at, checkpoint in held.items()}
    with pytest.raises(Fenced):
        reporting.land(Batch(changes=[tenant.order("a", 1)], checkpoints=moved))
    assert statuses(store, tenant) == {}
    assert reporting.checkpoint(tenant.partition) == held[tenant.partition]


def test_another_topic_id_refuses_the_claim(store: Store, tenant: Tenant) -> None:
    reporting = store.reporting()
    Worker(reporting, tenant).land(tenant.order("a", 1))
    with pytest.raises(TopicReplaced, match=r"runbook\.md#topic-replaced"):
        reporting.claim(tenant.partition, "id-2", 0)
    assert reporting.checkpoint(tenant.partition) == Checkpoint(topic_id="id-1", next_offset=2, fence=1)


def test_a_poisoned_batch_lands_nothing(store: Store, tenant: Tenant) -> None:
    reporting = store.reporting()
    worker = Worker(reporting, tenant)
    with pytest.raises(Poison):
        worker.land(tenant.order("a", 1), tenant.order("b", 2, customer_id=None))
    assert statuses(store, tenant) == {}
    checkpoint = reporting.checkpoint(tenant.partition)
    assert checkpoint is not None
    assert checkpoint.next_offset == 0


def test_a_refusal_quotes_no_value_of_the_row(database: SqlStore, tenant: Tenant) -> None:
    """Fails on Babelfish 4.4, which has no SQL Server number for the overflow of the amount."""
    worker = Worker(database.reporting(), tenant)
    for changed in ({"customer_id": None}, {"status": "x" * 50}, {"total": Decimal("1e15")}):
        with pytest.raises(Poison) as error:
            worker.land(tenant.order("secret-1", 1, **{"updated_by": "secret-2", **changed}))  # type: ignore[arg-type]
        assert not re.search(r"secret|xxxxx|1000000|1e\+?15", str(error.value), re.IGNORECASE)
        assert re.search(r"orders_complete|status|total|numeric|too long", str(error.value))  # which one, is said


def test_text_that_the_source_can_hold_lands_or_is_named(database: SqlStore, tenant: Tenant) -> None:
    """Postgres counts characters; NVARCHAR counts UTF-16 code units, of which an emoji has two."""
    worker = Worker(database.reporting(), tenant)
    if database.name == "sqlserver":
        with pytest.raises(Poison, match="status: expected at most 32 UTF-16 code units, got 64"):
            worker.land(tenant.order("a", 1, "😀" * 32))
        assert statuses(database, tenant) == {}
        worker.land(tenant.order("a", 1, "😀" * 16))
        return
    worker.land(tenant.order("a", 1, "😀" * 32))
    assert statuses(database, tenant) == {"a": "😀" * 32}


def test_poisoned_rows_are_bisected_and_the_rest_lands(store: Store, tenant: Tenant) -> None:
    worker = Worker(store.reporting(), tenant)
    bad = {7, 8, 30}
    changes = [tenant.order(f"o{n}", n, **({"customer_id": None} if n in bad else {})) for n in range(40)]
    found = bisect(lambda some: worker.land(*some, upto=0), changes)
    assert [change.position.offset for change, _ in found] == sorted(bad)
    assert set(statuses(store, tenant)) == {f"o{n}" for n in range(40)} - {f"o{n}" for n in bad}


def test_a_bad_change_does_not_hold_up_later_ones_of_its_key(store: Store, tenant: Tenant) -> None:
    worker = Worker(store.reporting(), tenant)
    changes = [
        tenant.order("a", 1, "placed"),
        tenant.order("a", 2, "bad", customer_id=None),
        tenant.order("b", 3),
        tenant.order("a", 4, "shipped"),
    ]
    bisect(lambda some: worker.land(*some, upto=0), changes)
    assert statuses(store, tenant) == {"a": "shipped", "b": "placed"}


def test_readers_see_the_rows_that_are_there_and_no_system_columns(store: Store, tenant: Tenant) -> None:
    worker = Worker(store.reporting(), tenant)
    kept = tenant.order("kept", 1)
    gone, hidden = tenant.order("gone", 2, op=Op.DELETE), tenant.order("hidden", 3, deleted_at=NOON, deleted_by="shop")
    worker.land(kept, gone, hidden, tenant.event("e", 4))
    assert store.view(ORDERS, tenant.name) == [kept.row]
    assert len(store.view(EVENTS, tenant.name)) == 1


def test_values_come_back_as_they_went_in(store: Store, tenant: Tenant) -> None:
    worker = Worker(store.reporting(), tenant)
    odd = {
        "customer_id": "quote' percent% {brace} $1 semicolon; --",
        "status": "żółć 漢字 😀 é",
        "total": Decimal("-999999999999999.9999"),
        "currency": "",
        "placed_at": datetime(2026, 3, 29, 1, 30, 0, 1, tzinfo=UTC),
        "approved_at": datetime(1970, 1, 1, tzinfo=UTC),
        "shipped_at": datetime(1, 1, 1, tzinfo=UTC),
        "delivered_at": datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    }
    change = tenant.order("o-漢-😀", 1, **odd)
    worker.land(change)
    (row,) = store.rows(ORDERS, tenant.name).values()
    assert row.row == change.row
    assert row.source_time == NOON
    assert row.position == change.position


@pytest.mark.parametrize("text", ["back\\slash", 'double "quote"', "tab\t", "line\n return\r", "\\N", "\x01\x7f"])
def test_text_that_formats_escape_comes_back_as_it_went_in(store: Store, tenant: Tenant, text: str) -> None:
    """COPY and JSON both escape."""
    change = tenant.order(f"o-{text}", 1, customer_id=text)
    Worker(store.reporting(), tenant).land(change)
    (row,) = store.rows(ORDERS, tenant.name).values()
    assert row.row == change.row


def test_numbers_keep_every_digit(store: Store, tenant: Tenant) -> None:
    worker = Worker(store.reporting(), tenant)
    big = (1 << 63) - 1
    line = tenant.line("a", big, version=big, status="enriched")
    worker.land(line, upto=big)
    (row,) = store.rows(ORDER_LINES, tenant.name).values()
    assert row.row == line.row
    assert row.position == line.position


def test_keys_that_differ_in_case_alone_are_two_rows(store: Store, tenant: Tenant) -> None:
    worker = Worker(store.reporting(), tenant)
    worker.land(tenant.order("a", 1, "one"), tenant.order("A", 2, "two"), tenant.order("á", 3, "three"))
    assert statuses(store, tenant) == {"a": "one", "A": "two", "á": "three"}


def test_a_trailing_space_in_a_key_never_mixes_two_rows(store: Store, tenant: Tenant) -> None:
    """SQL Server's primary key holds them equal: there the second one is refused, and becomes a dead letter."""
    worker = Worker(store.reporting(), tenant)
    worker.land(tenant.order("a", 1, "one"))
    refused = bisect(lambda some: worker.land(*some), [tenant.order("a ", 2, "two")])
    expected = {"a": "one"} if refused else {"a": "one", "a ": "two"}
    assert statuses(store, tenant) == expected


def test_one_tenant_with_a_hundred_times_the_load_lands_with_the_others(store: Store, tenant: Tenant) -> None:
    others = [Tenant() for _ in range(5)]
    crowd = [tenant.order(f"o{n}", n) for n in range(2_000)]
    few = [each.order(f"o{n}", n) for each in others for n in range(20)]
    mixed = [change for pair in zip(crowd[::20], few, strict=True) for change in pair]
    landed = Worker(store.reporting(), tenant).land(*mixed, *crowd)
    assert landed.folded == 2_100
    assert len(statuses(store, tenant)) == 2_000
    assert all(len(statuses(store, each)) == 20 for each in others)


def test_two_workers_on_one_key_leave_the_newest_change(store: Store, tenant: Tenant) -> None:
    partitions = [Partition(tenant.partition.topic, number) for number in range(2)]
    rounds, keys = 15, 20
    failures: list[BaseException] = []

    def drain(number: int) -> None:
        try:
            reporting = RetryingReporting(store.reporting(), patience=60)
            held = reporting.claim(partitions[number], "id-1", 0)
            for turn in range(rounds):
                offset = turn * 2 + number + 1
                names = [f"o{n}" for n in range(keys)]
                ordered = names if number else names[::-1]
                changes: list[Change] = [tenant.order(name, offset, f"at {offset}") for name in ordered]
                moved = replace(held, next_offset=offset)
                reporting.land(Batch(changes=changes, checkpoints={partitions[number]: moved}))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=drain, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert statuses(store, tenant) == {f"o{n}": f"at {rounds * 2}" for n in range(keys)}


def test_dates_of_the_whole_calendar_can_be_keys(store: Store, tenant: Tenant) -> None:
    worker = Worker(store.reporting(), tenant)
    days = [date(1, 1, 1), MONTH, date(9999, 12, 31)]
    worker.land(*(tenant.order("a", n, order_month=day) for n, day in enumerate(days)))
    assert sorted(key[1] for key in store.rows(ORDERS, tenant.name)) == days  # type: ignore[type-var]


def test_the_first_epoch_is_known_whether_or_not_one_was_noted(store: Store) -> None:
    assert 1 in store.reporting().epochs()


def test_an_epoch_that_was_noted_is_known(store: Store) -> None:
    reporting = store.reporting()
    assert 0 not in reporting.epochs()
    with store.noted_epoch(0):
        assert 0 in reporting.epochs()


def test_a_row_says_where_it_stands(store: Store, tenant: Tenant) -> None:
    reporting = store.reporting()
    order, event = tenant.order("a", 7), tenant.event(str(uuid4()), 5)
    line = tenant.line("a", 3, version=9, status="enriched")
    for change in (order, line, event):
        assert reporting.position_of(change.table, change.key) is None
    Worker(reporting, tenant).land(order, line, event)
    found = [reporting.position_of(change.table, change.key) for change in (order, line, event)]
    assert found == [order.position, line.position, Position(0, 0)]


def test_a_deleted_row_stands_where_it_was_deleted(store: Store, tenant: Tenant) -> None:
    reporting = store.reporting()
    deleted = tenant.order("a", 8, op=Op.DELETE)
    Worker(reporting, tenant).land(tenant.order("a", 7), deleted)
    assert reporting.position_of(deleted.table, deleted.key) == deleted.position


def test_a_change_that_comes_beside_the_partitions_moves_no_checkpoint(store: Store, tenant: Tenant) -> None:
    reporting = store.reporting()
    Worker(reporting, tenant).land(tenant.order("a", 7))
    before = reporting.checkpoint(tenant.partition)
    late = tenant.order("b", 2)
    assert reporting.land(Batch(changes=[late, tenant.order("a", 3)], checkpoints={})).written == 1
    assert reporting.position_of(late.table, late.key) == late.position
    assert reporting.checkpoint(tenant.partition) == before
