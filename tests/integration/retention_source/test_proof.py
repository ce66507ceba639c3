"""Nothing leaves Postgres without an exact proof of what the archive holds."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import errors

from operations.months import month as month_of
from operations.retention.source import OltpRetention
from schemas.checksums import Sum
from schemas.errors import Unproven
from schemas.tables import EVENTS
from tests.support.source_rows import (
    TRADE,
    Connection,
    counts,
    event,
    event_ids,
    event_proof,
    late_line,
    late_order,
    late_payment,
    leaf_of,
    order,
    partitions,
    proof,
    rows,
    trade,
)


def test_a_month_of_trade_leaves_together(retention: OltpRetention, shop: Connection, month: date) -> None:
    trade(shop, month, "o1")
    trade(shop, month, "o2", "another")
    other = month_of(month, -1)
    before = partitions(shop, month)
    assert month in retention.months(TRADE, month_of(month, 1), [])
    gone = retention.retire_rows(month, TRADE, [], proof(retention, month))
    assert gone == {"payments": 2, "order_lines": 2, "orders": 2}
    assert counts(shop, month) == [0, 0, 0]
    assert set(before) - set(partitions(shop, month)) == {f"{name}_{month:%Y_%m}" for name in ("orders", "order_lines")}
    assert month not in retention.months(TRADE, month_of(month, 1), [])
    assert other not in retention.months(TRADE, other, [])


def wrong_counts(right: dict[str, Sum]) -> dict[str, Sum]:
    return right | {"orders": Sum(right["orders"].count + 1, right["orders"].total)}


def wrong_sums(right: dict[str, Sum]) -> dict[str, Sum]:
    return right | {"payments": Sum(right["payments"].count, right["payments"].total + 1)}


def lines_missing(right: dict[str, Sum]) -> dict[str, Sum]:
    return {name: claim for name, claim in right.items() if name != "order_lines"}


@pytest.mark.parametrize("held", [(), ("another",)], ids=["a drop", "a delete"])
@pytest.mark.parametrize(
    ("wrong", "named"), [(wrong_counts, "orders"), (wrong_sums, "payments"), (lines_missing, "order_lines")]
)
def test_a_wrong_proof_leaves_all_three_tables_as_they_are(  # noqa: PLR0917
    retention: OltpRetention, shop: Connection, month: date, held: tuple[str, ...], wrong: Any, named: str
) -> None:
    trade(shop, month)
    trade(shop, month, "o2", "another")
    claims = wrong(proof(retention, month, held))
    with pytest.raises(Unproven, match=f"^{month:%Y-%m}: count and sum of {named} are .* proven"):
        retention.retire_rows(month, TRADE, held, claims)
    assert counts(shop, month) == [2, 2, 2]


@pytest.mark.parametrize("held", [(), ("another",)], ids=["a drop", "a delete"])
@pytest.mark.parametrize(
    "change",
    [
        late_order,
        late_line,
        late_payment,
        lambda shop, month: shop.execute("UPDATE sales.payments SET amount = 2 WHERE order_month = %s", [month]),
        lambda shop, month: shop.execute("UPDATE sales.orders SET status = 'x' WHERE order_month = %s", [month]),
    ],
    ids=["order", "line", "payment", "payment changed", "order changed"],
)
def test_what_came_after_the_proof_is_noticed(
    retention: OltpRetention, shop: Connection, month: date, held: tuple[str, ...], change: Any
) -> None:
    trade(shop, month)
    trade(shop, month, "o2", "another")
    claims = proof(retention, month, held)
    change(shop, month)
    there = counts(shop, month)
    with pytest.raises(Unproven):
        retention.retire_rows(month, TRADE, held, claims)
    assert counts(shop, month) == there


def test_an_undeclared_column_keeps_its_rows_in_postgres(
    retention: OltpRetention, shop: Connection, owner: Connection, month: date
) -> None:
    trade(shop, month)
    claims = proof(retention, month)
    owner.execute("ALTER TABLE sales.order_lines ADD COLUMN gift_note text")
    try:
        with pytest.raises(Unproven, match="order_lines"):
            retention.retire_rows(month, TRADE, [], claims)
        assert counts(shop, month) == [1, 1, 1]
    finally:
        owner.execute("ALTER TABLE sales.order_lines DROP COLUMN gift_note")
    assert retention.retire_rows(month, TRADE, [], claims)["order_lines"] == 1


@pytest.mark.parametrize("held", [(), ("another",)], ids=["a drop", "a delete"])
def test_rows_that_an_unnamed_table_refers_to_stay(
    retention: OltpRetention, shop: Connection, month: date, held: tuple[str, ...]
) -> None:
    trade(shop, month, "order-4711", "tenant-4711")
    trade(shop, month, "o2", "another")
    claims = proof(retention, month, held)
    with pytest.raises(Unproven, match=r"sales\.payments.*foreign key payments_") as refused:
        retention.retire_rows(month, TRADE[1:], held, {table.name: claims[table.name] for table in TRADE[1:]})
    assert "4711" not in str(refused.value)  # a key's values are the tenant's
    assert counts(shop, month) == [2, 2, 2]


def test_a_held_tenants_rows_stay(retention: OltpRetention, shop: Connection, month: date) -> None:
    trade(shop, month, "o1")
    trade(shop, month, "o2", "held")
    assert month in retention.months(TRADE, month_of(month, 1), ["t"])
    gone = retention.retire_rows(month, TRADE, ["held"], proof(retention, month, ("held",)))
    assert gone == {"payments": 1, "order_lines": 1, "orders": 1}
    for table in TRADE:
        assert rows(shop, table.relation, month) == [("held", "o2")]
    assert month not in retention.months(TRADE, month_of(month, 1), ["held"])
    assert retention.retire_rows(month, TRADE, [], proof(retention, month))["orders"] == 1
    assert f"orders_{month:%Y_%m}" not in partitions(shop, month)


def test_a_leaf_of_events_goes_and_its_month_with_the_last_one(
    retention: OltpRetention, shop: Connection, day: datetime
) -> None:
    event(shop, day)
    leaf = leaf_of(retention, day)
    assert retention.retire_events(leaf, [], event_proof(retention, leaf, "t")) == 1
    rest = [leaf for leaf in retention.leaves(EVENTS) if month_of(leaf.start.date()) == day.date().replace(day=1)]
    assert leaf.name not in [leaf.name for leaf in rest]
    assert f"outbox_events_{day:%Y_%m}" in partitions(shop, day.date())
    assert [retention.retire_events(leaf, [], {}) for leaf in rest] == [0] * len(rest)
    assert f"outbox_events_{day:%Y_%m}" not in partitions(shop, day.date())


def test_a_month_of_old_events_is_one_leaf_and_goes(retention: OltpRetention, shop: Connection, month: date) -> None:
    at = datetime(month.year, month.month, 3, tzinfo=UTC)
    event(shop, at)
    leaf = leaf_of(retention, at)
    assert (leaf.start.date(), leaf.end.date()) == (month, month_of(month, 1))
    assert leaf.bytes > 0
    assert retention.retire_events(leaf, [], event_proof(retention, leaf, "t")) == 1
    assert leaf.name not in [leaf.name for leaf in retention.leaves(EVENTS)]


def test_leaves_are_named_oldest_first(retention: OltpRetention, day: datetime) -> None:
    leaves = retention.leaves(EVENTS)
    assert leaves == sorted(leaves, key=lambda leaf: leaf.start)
    assert leaf_of(retention, day).end - leaf_of(retention, day).start == timedelta(days=1)


@pytest.mark.parametrize("held", [(), ("held",)], ids=["a drop", "a delete"])
@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (lambda right: right | {"b": Sum(2, right["b"].total)}, "b"),
        (lambda right: right | {"b": Sum(1, right["b"].total + 1)}, "b"),
        (lambda right: {"b": right["b"]}, "a"),
        (lambda right: right | {"c": Sum(1, 1)}, "c"),
    ],
    ids=["count", "sum", "a tenant missing", "a tenant too many"],
)
def test_events_that_are_not_proven_stay(  # noqa: PLR0917
    retention: OltpRetention, shop: Connection, day: datetime, held: tuple[str, ...], wrong: Any, named: str
) -> None:
    for tenant in ("a", "b", "held"):
        event(shop, day, tenant)
    leaf = leaf_of(retention, day)
    right = event_proof(retention, leaf, *({"a", "b", "held"} - set(held)))
    with pytest.raises(Unproven, match=f"{leaf.name}: count and sum of {named} are"):
        retention.retire_events(leaf, held, wrong(right))
    assert set(retention.event_sums(EVENTS, leaf, [])) == {"a", "b", "held"}


def test_an_event_after_the_proof_is_noticed(retention: OltpRetention, shop: Connection, day: datetime) -> None:
    event(shop, day)
    leaf = leaf_of(retention, day)
    claims = event_proof(retention, leaf, "t")
    event(shop, day)
    with pytest.raises(Unproven, match="count and sum of t are"):
        retention.retire_events(leaf, [], claims)
    assert retention.event_sums(EVENTS, leaf, [])["t"].count == 2


def test_a_held_tenants_events_stay(retention: OltpRetention, shop: Connection, day: datetime) -> None:
    event(shop, day)
    kept = event(shop, day, "held")
    leaf = leaf_of(retention, day)
    assert retention.retire_events(leaf, ["held"], event_proof(retention, leaf, "t")) == 1
    assert event_ids(retention, leaf, "held") == [kept]
    assert retention.event_sums(EVENTS, leaf, []) == event_proof(retention, leaf, "held")


def test_a_null_among_the_held_hides_nothing_from_the_proof(
    role: Connection, shop: Connection, day: datetime, month: date
) -> None:
    event(shop, day)
    order(shop, month)
    for held in ("NULL", "'{NULL}'"):
        with pytest.raises(psycopg.DatabaseError) as refused:
            role.execute(f"SELECT sales.retire_events('outbox_events_{day:%Y_%m_%d}', {held}, '{{}}')".encode())
        assert refused.value.sqlstate == "HR001"
        with pytest.raises(psycopg.DatabaseError) as refused:
            nothing = '{"orders": [0, 0]}'
            role.execute(
                f"SELECT sales.retire_rows('{month}', '{{orders}}', '{{order_month}}', {held}, '{nothing}')".encode()
            )
        assert refused.value.sqlstate == "HR001"


@pytest.mark.parametrize("claim", ["NULL", "'{}'", "'[]'", "'{\"t\": null}'", "'{\"t\": {}}'", '\'{"t": ["x", 1]}\''])
def test_a_malformed_proof_proves_nothing(role: Connection, shop: Connection, day: datetime, claim: str) -> None:
    event(shop, day)
    with pytest.raises(psycopg.DatabaseError):
        role.execute(f"SELECT sales.retire_events('outbox_events_{day:%Y_%m_%d}', '{{}}', {claim})".encode())
    assert shop.execute("SELECT count(*) FROM sales.outbox_events WHERE occurred_at = %s", [day]).fetchone() == (1,)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("sales.retire_events('outbox_events', '{}', '{}')", errors.UndefinedTable),
        ("sales.retire_events('orders_1990_01_0', '{}', '{}')", errors.UndefinedTable),
        ("sales.retire_events('x; DROP TABLE sales.orders', '{}', '{}')", errors.UndefinedTable),
        ("sales.retire_events('heartbeat', '{}', '{}')", errors.UndefinedTable),
        ("sales.retire_sessions('outbox_events_1990_01', now(), '{}')", errors.UndefinedTable),
        ("sales.row_sums('pg_class', 'relname', '2000-01-01', '{}')", errors.UndefinedColumn),
        ("sales.row_sums('orders_1990_01', 'order_month', '2000-01-01', '{}')", errors.UndefinedColumn),
        ("sales.row_sums('orders', 'placed_at', '2000-01-01', '{}')", errors.UndefinedColumn),
        ("sales.row_sums('orders', 'order_month) --', '2000-01-01', '{}')", errors.UndefinedColumn),
        ("sales.row_sums('orders', 'order_month', '2000-01-02', '{}')", errors.RaiseException),
        ("sales.retire_rows('2000-01-01', '{orders}', '{}', '{}', '{}')", errors.UndefinedColumn),
    ],
)
def test_nothing_but_a_leaf_or_a_table_that_ages_is_touched(role: Connection, call: str, error: Any) -> None:
    with pytest.raises(error):
        role.execute(f"SELECT {call}".encode())
