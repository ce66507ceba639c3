"""INSERT statements for valid rows of the source's tables, with any column replaced."""

from typing import Any

from psycopg import sql

from tests.support.migrated import NOW, TODAY


def insert(table: str, row: dict[str, Any], returning: str) -> tuple[sql.Composed, list[Any]]:
    statement = sql.SQL("INSERT INTO sales.{} ({}) VALUES ({}) RETURNING {}").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, row)),
        sql.SQL(", ").join([sql.Placeholder()] * len(row)),
        sql.SQL(returning),  # type: ignore[arg-type]  # the test's own text
    )
    return statement, list(row.values())


def order_row(*, returning: str = "order_id", **values: Any) -> tuple[sql.Composed, list[Any]]:
    row = {
        "tenant_id": "tenant",
        "order_month": TODAY.replace(day=1),
        "order_id": "order",
        "customer_id": "customer",
        "status": "placed",
        "total": "12.3400",
        "currency": "EUR",
        "placed_at": NOW,
    }
    return insert("orders", row | values, returning)


def payment_row(*, returning: str = "payment_id", **values: Any) -> tuple[sql.Composed, list[Any]]:
    row = {
        "tenant_id": "tenant",
        "payment_id": "payment",
        "order_month": TODAY.replace(day=1),
        "order_id": "order",
        "provider": "acme",
        "provider_status": "captured",
        "method": "card",
        "installments": 1,
        "amount": "12.34",
        "currency": "EUR",
        "paid_at": NOW,
    }
    return insert("payments", row | values, returning)


def line_row(*, returning: str = "line_no", **values: Any) -> tuple[sql.Composed, list[Any]]:
    row = {
        "tenant_id": "tenant",
        "order_month": TODAY.replace(day=1),
        "order_id": "order",
        "line_no": 1,
        "sku": "sku",
        "quantity": 1,
        "unit_price": "1",
        "freight": "0",
        "currency": "EUR",
        "priced_at": NOW,
    }
    return insert("order_lines", row | values, returning)


def outbox_row(*, returning: str = "event_id", **values: Any) -> tuple[sql.Composed, list[Any]]:
    row = {
        "event_id": "019ab0c4-7a56-7c3e-9f00-0123456789ab",
        "tenant_id": "tenant",
        "aggregate_type": "order",
        "aggregate_id": "order",
        "event_type": "order.placed",
        "payload": "{}",
        "occurred_at": NOW,
    }
    return insert("outbox_events", row | values, returning)


ROWS = {"orders": order_row, "order_lines": line_row, "payments": payment_row, "outbox_events": outbox_row}
