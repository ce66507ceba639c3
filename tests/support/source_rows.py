"""Write rows into the source as its shop does, and read what retention left of them."""

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg import sql

from operations.retention.proof import proven_event_of
from operations.retention.source import Leaf, OltpRetention
from schemas.checksums import Sum, row_text, sum_of
from schemas.tables import EVENTS, ORDER_LINES, ORDERS, PAYMENTS, Column, Source, Table
from schemas.types import Boolean, Date, Integer, Json, Numeric, Text, Timestamp, Uuid

Connection = psycopg.Connection[Any]
TRADE = (PAYMENTS, ORDER_LINES, ORDERS)  # children first
NOW = datetime.now(UTC)
ODD = datetime(1969, 12, 31, 23, 59, 59, 999999, UTC)


def insert(connection: Connection, table: str, row: dict[str, Any]) -> None:
    connection.execute(
        sql.SQL("INSERT INTO sales.{} ({}) VALUES ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, row)),
            sql.SQL(", ").join([sql.Placeholder()] * len(row)),
        ),
        list(row.values()),
    )


def order(shop: Connection, month: date, order_id: str = "o", tenant: str = "t", **values: Any) -> None:
    row = {"tenant_id": tenant, "order_month": month, "order_id": order_id, "customer_id": "c", "status": "placed"}
    insert(shop, "orders", row | {"total": "12.34", "currency": "EUR", "placed_at": NOW} | values)


def line(shop: Connection, month: date, order_id: str = "o", tenant: str = "t", **values: Any) -> None:
    row = {"tenant_id": tenant, "order_month": month, "order_id": order_id, "line_no": 1, "sku": "s", "quantity": 1}
    insert(shop, "order_lines", row | {"unit_price": 1, "freight": 0, "currency": "EUR", "priced_at": NOW} | values)


def payment(shop: Connection, month: date, order_id: str = "o", tenant: str = "t", **values: Any) -> None:
    row = {"tenant_id": tenant, "payment_id": f"{month}-{order_id}", "order_month": month, "order_id": order_id}
    method = {"provider": "p", "provider_status": "paid", "method": "card", "installments": 1}
    insert(shop, "payments", row | method | {"amount": 1, "currency": "EUR", "paid_at": NOW} | values)


def trade(shop: Connection, month: date, order_id: str = "o", tenant: str = "t") -> None:
    """Write an order with a line and a payment."""
    order(shop, month, order_id, tenant)
    line(shop, month, order_id, tenant)
    payment(shop, month, order_id, tenant)


def late_order(shop: Connection, month: date) -> None:
    order(shop, month, "late")


def late_line(shop: Connection, month: date) -> None:
    line(shop, month, line_no=2)


def late_payment(shop: Connection, month: date) -> None:
    payment(shop, month, payment_id=f"{month}-late")


def event(shop: Connection, at: datetime, tenant: str = "t", event_id: UUID | None = None, **values: Any) -> str:
    event_id = event_id or uuid4()
    row = {"event_id": event_id, "tenant_id": tenant, "aggregate_type": "order", "aggregate_id": "o"}
    insert(shop, "outbox_events", row | {"event_type": "e", "payload": "{}", "occurred_at": at} | values)
    return str(event_id)


def proof(retention: OltpRetention, month: date, held: tuple[str, ...] = ()) -> dict[str, Sum]:
    """Return the proof of an archive that holds exactly the present rows."""
    return {table.name: sum_of(map(row_text(table.columns), retention.rows(table, month, held))) for table in TRADE}


def event_proof(retention: OltpRetention, leaf: Leaf, *tenants: str) -> dict[str, Sum]:
    text = row_text(EVENTS.columns)
    return {tenant: sum_of(map(text, retention.events(EVENTS, leaf, tenant))) for tenant in tenants}


def event_ids(retention: OltpRetention, leaf: Leaf, tenant: str) -> list[str]:
    return [proven_event_of(EVENTS)(row).id for row in retention.events(EVENTS, leaf, tenant)]


def leaf_of(retention: OltpRetention, at: datetime) -> Leaf:
    (found,) = (leaf for leaf in retention.leaves(EVENTS) if leaf.start <= at < leaf.end)
    return found


def rows(connection: Connection, table: str, month: date) -> list[tuple[str, str]]:
    """Return (tenant, order) of the rows of a month."""
    return connection.execute(
        f"SELECT tenant_id, order_id FROM sales.{table} WHERE order_month = %s ORDER BY 1, 2".encode(), [month]
    ).fetchall()


def counts(connection: Connection, month: date) -> list[int]:
    return [len(rows(connection, table.relation, month)) for table in TRADE]


def partitions(connection: Connection, month: date) -> list[str]:
    found = connection.execute(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relname ~ %s ORDER BY 1", [f"_{month:%Y_%m}$"]
    )
    return [name for (name,) in found]


def blocked_by(watch: Connection, holder: Connection) -> bool:
    """Tell whether a session waits for a lock of `holder`."""
    blocked = "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))"
    return watch.execute(blocked, [holder.info.backend_pid]).fetchone() != (0,)


NOTES = Table(
    name="notes",
    source=Source.POSTGRES,
    schema="sales",
    key=("note_id",),
    columns=(
        Column(name="note_id", type=Uuid()),
        Column(name="tenant_id", type=Text(64)),
        Column(name="on_day", type=Date()),
        Column(name="document", type=Json(), nullable=True),
        Column(name="done", type=Boolean(), nullable=True),
        Column(name="size", type=Integer(big=True)),
        Column(name="rate", type=Numeric(38, 10)),
        Column(name="Said", type=Text(), nullable=True),
        Column(name="at", type=Timestamp(), nullable=True),
    ),
    ages_by="on_day",
    retention="notes",
)


def note(owner: Connection, on_day: date, tenant: str = "t", **values: Any) -> None:
    row = {"note_id": uuid4(), "tenant_id": tenant, "on_day": on_day, "size": -1, "rate": "-0.0000000001"}
    insert(owner, "notes", row | values)
