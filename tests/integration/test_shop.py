"""Histories are written to real databases once, even if a run is repeated, killed, or concurrent with another."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import psycopg
import pymongo
import pytest
from pymongo.database import Database

from operations import connections, migrate
from operations.settings import Settings
from schemas.errors import HeadraceError, Unavailable
from shop import actions
from shop.events import event
from shop.generate import default_start, history
from shop.model import (
    History,
    ListProduct,
    MarkOrder,
    MovePayment,
    PlaceOrder,
    Step,
    TakePayment,
    WithdrawOrder,
)
from shop.writer import Loaded, load

ORDERS = 150
Rows = dict[Any, Any]

# Writes a history and reports each batch, so that the test can kill it midway.
PLAYER = """
import sys
from operations import connections, settings
from shop.generate import default_start, history
from shop.writer import load
from datetime import datetime
at = settings.load()
told = history(int(sys.argv[1]), int(sys.argv[2]), datetime.fromisoformat(sys.argv[3]))
load(told, conninfo=connections.oltp_conninfo(at, "app_writer"), catalog=connections.catalog(at),
     on_progress=lambda done, total: print(done, flush=True))
"""


@pytest.fixture(scope="module")
def start(settings: Settings) -> datetime:
    """Create the partitions of this module's histories; return their start."""
    start = default_start(datetime.now(UTC).date())
    told = history(ORDERS, 1, start)
    migrate.make_partitions(settings, told.first_day, told.last_day)
    return start


@pytest.fixture
def seed() -> int:
    """Return a seed that no other test and no other run uses: all ids derive from it."""
    return uuid4().int >> 65


@pytest.fixture
def told(start: datetime, seed: int) -> History:
    return history(ORDERS, seed, start)


@pytest.fixture
def sales(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    with connections.oltp(settings, "app_writer") as connection:
        yield connection


@pytest.fixture
def catalog(settings: Settings) -> Iterator[Database[dict[str, Any]]]:
    catalog = connections.catalog(settings)
    with catalog.client:
        yield catalog


def play(settings: Settings, told: History, catalog: Database[dict[str, Any]], **how: Any) -> Loaded:
    return load(told, conninfo=connections.oltp_conninfo(settings, "app_writer"), catalog=catalog, **how)


def there(sales: psycopg.Connection[Any], catalog: Database[dict[str, Any]], told: History) -> Rows:
    """Read the rows of a history from both databases."""
    steps = list(told.steps())
    orders = sorted({step.order.order_id for step in steps if isinstance(step, PlaceOrder)})
    skus = sorted({step.sku for step in steps if isinstance(step, ListProduct)})
    mine = {"mine": orders}
    queries = {
        "orders": "SELECT order_id, status, total, deleted_at FROM sales.orders WHERE order_id = ANY(%(mine)s)",
        "lines": "SELECT order_id, line_no, sku, quantity, unit_price, priced_at, deleted_at FROM sales.order_lines "
        "WHERE order_id = ANY(%(mine)s)",
        "payments": "SELECT payment_id, provider_status, amount, deleted_at FROM sales.payments "
        "WHERE order_id = ANY(%(mine)s)",
        "events": "SELECT event_id, event_type, occurred_at FROM sales.outbox_events "
        "WHERE payload ->> 'order_id' = ANY(%(mine)s)",
    }
    rows: Rows = {name: sorted(sales.execute(query, mine).fetchall(), key=repr) for name, query in queries.items()}
    history_of = catalog.price_history.find({"sku": {"$in": skus}})
    rows["prices"] = sorted((e["tenant_id"], e["sku"], e["valid_from"], e["price"].to_decimal()) for e in history_of)
    products = catalog.products.find({"sku": {"$in": skus}})
    rows["products"] = sorted((p["tenant_id"], p["sku"], p["price"].to_decimal()) for p in products)
    return rows


def expected(told: History) -> Rows:
    """Compute the expected rows of a history with plain dictionaries."""
    orders: Rows = {}
    lines: Rows = {}
    payments: Rows = {}
    prices: list[Any] = []
    products: Rows = {}
    events = []
    for step in told.steps():
        if isinstance(step, ListProduct):
            prices.append((step.tenant_id, step.sku, step.at, step.price))
            products[step.tenant_id, step.sku] = step.price
            continue
        made, order_id = event(step), step.order.order_id
        events.append((made.event_id, made.event_type, step.at))
        _tell(step, order_id, orders, lines, payments)
    return {
        "orders": sorted(((key, *row) for key, row in orders.items()), key=repr),
        "lines": sorted(((*key, *row) for key, row in lines.items()), key=repr),
        "payments": sorted(((key, *row) for key, (_, *row) in payments.items()), key=repr),
        "events": sorted(events, key=repr),
        "prices": sorted(prices),
        "products": sorted((*key, price) for key, price in products.items()),
    }


def _tell(step: Step, order_id: str, orders: Rows, lines: Rows, payments: Rows) -> None:
    match step:
        case PlaceOrder():
            orders[order_id] = ["placed", _money(step.total), None]
            for line in step.lines:
                row = [line.sku, line.quantity, _money(line.unit_price), step.at, None]
                lines[order_id, line.line_no] = row
        case MarkOrder():
            orders[order_id][0] = step.status.value
        case TakePayment():
            payments[step.payment_id] = [order_id, step.status.value, _money(step.amount), None]
        case MovePayment():
            payments[step.payment_id][1] = step.status.value
        case WithdrawOrder():
            rows = [orders[order_id], *(row for (order, _), row in lines.items() if order == order_id)]
            rows += [row for row in payments.values() if row[0] == order_id]
            for row in rows:
                row[-1] = step.at


def _money(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.0001"))


def test_a_history_is_written_in_full_and_a_second_time_changes_nothing(
    settings: Settings, told: History, sales: psycopg.Connection[Any], catalog: Database[dict[str, Any]]
) -> None:
    seen: list[tuple[int, int]] = []
    first = play(settings, told, catalog, on_progress=lambda done, total: seen.append((done, total)))
    assert (first.orders, first.written) == (ORDERS, first.steps)
    assert seen[-1] == (ORDERS, ORDERS)
    assert there(sales, catalog, told) == expected(told)

    versions = "SELECT order_id, xmin FROM sales.orders WHERE order_id LIKE %s ORDER BY 1"
    run = next(step.order.order_id for step in told.steps() if isinstance(step, PlaceOrder)).split("-")[0] + "%"
    before = sales.execute(versions, (run,)).fetchall()
    second = play(settings, told, catalog)
    assert (second.orders, second.written) == (ORDERS, 0)
    assert there(sales, catalog, told) == expected(told)
    assert sales.execute(versions, (run,)).fetchall() == before


def test_events_that_retention_has_dropped_do_not_come_back(
    settings: Settings, told: History, sales: psycopg.Connection[Any], catalog: Database[dict[str, Any]]
) -> None:
    play(settings, told, catalog)
    run = next(step.order.order_id for step in told.steps() if isinstance(step, PlaceOrder)).split("-")[0] + "%"
    with connections.oltp(settings, "migrator") as owner:
        owner.execute("DELETE FROM sales.outbox_events WHERE payload ->> 'order_id' LIKE %s", (run,))
    play(settings, told, catalog)
    assert there(sales, catalog, told) == expected(told) | {"events": []}


def test_a_run_killed_midway_is_finished_by_the_next(
    settings: Settings, start: datetime, seed: int, sales: psycopg.Connection[Any], catalog: Database[dict[str, Any]]
) -> None:
    orders = 600
    told = history(orders, seed, start)
    command = [sys.executable, "-c", PLAYER, str(orders), str(seed), start.isoformat()]
    with subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE, text=True) as player:
        assert player.stdout is not None
        done = next(int(line) for line in player.stdout if int(line) > 0)
        player.kill()
    assert 0 < done < orders
    rest = play(settings, told, catalog)
    assert 0 < rest.written < rest.steps
    assert there(sales, catalog, told) == expected(told)


def test_two_concurrent_runs_write_the_history_once(
    settings: Settings, told: History, sales: psycopg.Connection[Any], catalog: Database[dict[str, Any]]
) -> None:
    with ThreadPoolExecutor(2) as threads:
        for run in [threads.submit(play, settings, told, catalog) for _ in range(2)]:
            run.result()
    assert there(sales, catalog, told) == expected(told)


def test_a_late_product_is_listed_after_the_order_that_sold_it(
    settings: Settings, told: History, sales: psycopg.Connection[Any], catalog: Database[dict[str, Any]]
) -> None:
    steps = list(told.steps())
    until = next(index for index, step in enumerate(steps) if isinstance(step, ListProduct) and step.late)
    late = steps[until]
    assert isinstance(late, ListProduct)
    play(settings, replace(told, steps=lambda: iter(steps[:until])), catalog)
    assert sales.execute("SELECT count(*) FROM sales.order_lines WHERE sku = %s", (late.sku,)).fetchone() == (1,)
    assert catalog.products.find_one({"sku": late.sku}) is None
    play(settings, told, catalog)
    assert there(sales, catalog, told) == expected(told)


def test_a_rate_or_a_speedup_writes_the_same_history(
    settings: Settings, start: datetime, seed: int, sales: psycopg.Connection[Any], catalog: Database[dict[str, Any]]
) -> None:
    told = history(20, seed, start)
    steps = list(told.steps())
    half = replace(told, steps=lambda: iter(steps[: len(steps) // 2]))
    play(settings, half, catalog, rate=1_000)
    play(settings, told, catalog, speedup=86_400 * 100)
    assert there(sales, catalog, told) == expected(told)


@pytest.mark.parametrize("how", [{"rate": -1}, {"speedup": -1}, {"rate": 1, "speedup": 1}])
def test_a_pace_that_is_none_is_named(
    settings: Settings, told: History, catalog: Database[dict[str, Any]], how: dict[str, float]
) -> None:
    with pytest.raises(HeadraceError, match="expected one of them above 0, or both 0"):
        play(settings, told, catalog, **how)


def test_a_month_without_partitions_is_named(settings: Settings, seed: int, catalog: Database[dict[str, Any]]) -> None:
    told = history(5, seed, datetime(1999, 1, 1, tzinfo=UTC))
    with pytest.raises(HeadraceError, match=r"no partition of relation .* create the partitions of this history first"):
        play(settings, told, catalog)


def test_a_database_that_is_away_is_named(settings: Settings, told: History, catalog: Database[dict[str, Any]]) -> None:
    away = connections.oltp_conninfo(settings, "app_writer") + " port=1"
    with pytest.raises(Unavailable, match=r"Postgres, the shop's database: .*check that it runs"):
        load(told, conninfo=away, catalog=catalog)
    with pymongo.MongoClient[dict[str, Any]]("mongodb://127.0.0.1:1", serverSelectionTimeoutMS=100) as client:
        nobody = client["catalog"]
        with pytest.raises(Unavailable, match=r"MongoDB, the shop's catalog: .*check that it runs"):
            play(settings, told, nobody)


def test_single_actions_can_be_found_by_the_rows_that_they_return(
    settings: Settings, told: History, sales: psycopg.Connection[Any], catalog: Database[dict[str, Any]]
) -> None:
    play(settings, told, catalog)

    priced = actions.change_price(catalog)
    product = catalog.products.find_one({"_id": dict(priced.key)})
    assert product is not None
    assert product["price"].to_decimal() == priced.price
    newest = catalog.price_history.find_one(dict(priced.key), sort=[("valid_from", -1)])
    assert newest is not None
    assert newest["price"].to_decimal() == priced.price

    cancelled = actions.cancel_order(sales)
    status = "SELECT status, cancelled_at IS NOT NULL FROM sales.orders WHERE tenant_id = %(tenant_id)s "
    status += "AND order_month = %(order_month)s AND order_id = %(order_id)s"
    assert sales.execute(status, cancelled.key).fetchone() == ("cancelled", True)

    sold = actions.sell_unlisted(sales)
    tenant_id = sold.key["tenant_id"]
    assert catalog.products.find_one({"_id": {"tenant_id": tenant_id, "sku": sold.sku}}) is None
    actions.list_late(catalog, sold)
    assert catalog.products.find_one({"_id": {"tenant_id": tenant_id, "sku": sold.sku}}) is not None
