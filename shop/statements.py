"""Each business step as one SQL statement, and so one transaction: its rows, and its event in the outbox.

A statement is idempotent: it begins with an INSERT or UPDATE that changes nothing the second time, and the rest,
including the event, depends on the rows which that one returned. No I/O.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, assert_never

import orjson

from shop.events import SCHEMA_VERSION, Event
from shop.model import MarkOrder, MovePayment, OrderKey, OrderStatus, OrderStep, PlaceOrder, TakePayment, WithdrawOrder

ACTOR = "shop"


class Statement(NamedTuple):
    """SQL in psycopg's notation, and its parameters."""

    sql: str
    parameters: Mapping[str, Any]


_EVENT = """
INSERT INTO sales.outbox_events (event_id, tenant_id, aggregate_type, aggregate_id, event_type, schema_version,
    payload, headers, traceparent, occurred_at)
SELECT %(event_id)s, %(event_tenant)s, %(aggregate_type)s, %(aggregate_id)s, %(event_type)s, %(schema_version)s,
    %(payload)s::jsonb, %(headers)s::jsonb, %(traceparent)s, %(occurred_at)s
FROM step ON CONFLICT DO NOTHING
"""
_ORDER = "tenant_id = %(tenant_id)s AND order_month = %(order_month)s AND order_id = %(order_id)s"
_TOUCHED = "updated_at = %(at)s, updated_by = %(actor)s"

PLACE = f"""
WITH step AS (
    INSERT INTO sales.orders (tenant_id, order_month, order_id, customer_id, status, total, currency, placed_at,
        created_at, created_by, updated_at, updated_by)
    VALUES (%(tenant_id)s, %(order_month)s, %(order_id)s, %(customer_id)s, 'placed', %(total)s, %(currency)s, %(at)s,
        %(at)s, %(actor)s, %(at)s, %(actor)s)
    ON CONFLICT DO NOTHING
    RETURNING tenant_id, order_month, order_id
), lines AS (
    INSERT INTO sales.order_lines (tenant_id, order_month, order_id, line_no, sku, quantity, unit_price, freight,
        currency, priced_at, created_at, created_by, updated_at, updated_by)
    SELECT step.*, line.*, %(currency)s, %(at)s, %(at)s, %(actor)s, %(at)s, %(actor)s
    FROM step, unnest(%(line_nos)s::integer[], %(skus)s::text[], %(quantities)s::integer[],
        %(unit_prices)s::numeric[], %(freights)s::numeric[]) AS line
)
{_EVENT}"""

# A cancelled order changes no more, and each status is set at most once.
MARK: dict[OrderStatus, str] = {
    status: f"""
WITH step AS (
    UPDATE sales.orders SET status = '{status.value}', {status.value}_at = %(moment)s, {_TOUCHED}
    WHERE {_ORDER} AND {status.value}_at IS NULL AND cancelled_at IS NULL AND deleted_at IS NULL
    RETURNING 1
)
{_EVENT}"""
    for status in OrderStatus
    if status is not OrderStatus.PLACED
}

WITHDRAW = f"""
WITH step AS (
    UPDATE sales.orders SET deleted_at = %(at)s, deleted_by = %(actor)s, {_TOUCHED}
    WHERE {_ORDER} AND deleted_at IS NULL
    RETURNING 1
), lines AS (
    UPDATE sales.order_lines SET deleted_at = %(at)s, deleted_by = %(actor)s, {_TOUCHED}
    WHERE {_ORDER} AND deleted_at IS NULL AND EXISTS (SELECT FROM step)
), payments AS (
    UPDATE sales.payments SET deleted_at = %(at)s, deleted_by = %(actor)s, {_TOUCHED}
    WHERE {_ORDER} AND deleted_at IS NULL AND EXISTS (SELECT FROM step)
)
{_EVENT}"""

TAKE_PAYMENT = f"""
WITH step AS (
    INSERT INTO sales.payments (tenant_id, payment_id, order_month, order_id, provider, provider_status, method,
        method_token, installments, amount, currency, paid_at, created_at, created_by, updated_at, updated_by)
    VALUES (%(tenant_id)s, %(payment_id)s, %(order_month)s, %(order_id)s, %(provider)s, %(status)s, %(method)s,
        %(method_token)s, %(installments)s, %(amount)s, %(currency)s, %(at)s, %(at)s, %(actor)s, %(at)s, %(actor)s)
    ON CONFLICT DO NOTHING
    RETURNING 1
)
{_EVENT}"""

# Only failed → captured → refunded is possible, so a repeated step matches no row.
MOVE_PAYMENT = f"""
WITH step AS (
    UPDATE sales.payments SET provider_status = %(status)s, {_TOUCHED}
    WHERE tenant_id = %(tenant_id)s AND payment_id = %(payment_id)s
        AND (provider_status, %(status)s) IN (('failed', 'captured'), ('captured', 'refunded'))
    RETURNING 1
)
{_EVENT}"""


def statement(step: OrderStep, event: Event) -> Statement:
    """Return the statement that executes `step` and writes `event`."""
    parameters: dict[str, Any] = {"at": step.at, "actor": ACTOR, **_key(step.order), **_event(event)}
    match step:
        case PlaceOrder():
            return Statement(PLACE, parameters | _placed(step))
        case MarkOrder():
            return Statement(MARK[step.status], parameters | {"moment": step.moment})
        case WithdrawOrder():
            return Statement(WITHDRAW, parameters)
        case TakePayment():
            return Statement(TAKE_PAYMENT, parameters | _payment(step))
        case MovePayment():
            moved = {"payment_id": step.payment_id, "status": step.status.value}
            return Statement(MOVE_PAYMENT, parameters | moved)
        case _:
            assert_never(step)


def _key(order: OrderKey) -> dict[str, Any]:
    return {"tenant_id": order.tenant_id, "order_month": order.order_month, "order_id": order.order_id}


def _event(event: Event) -> dict[str, Any]:
    return {
        "event_id": event.event_id,
        "event_tenant": event.tenant_id,
        "aggregate_type": event.aggregate_type,
        "aggregate_id": event.aggregate_id,
        "event_type": event.event_type,
        "schema_version": SCHEMA_VERSION,
        "payload": orjson.dumps(event.payload).decode(),
        "headers": orjson.dumps({"traceparent": event.traceparent}).decode(),
        "traceparent": event.traceparent,
        "occurred_at": event.occurred_at,
    }


def _placed(step: PlaceOrder) -> dict[str, Any]:
    return {
        "customer_id": step.customer_id,
        "total": step.total,
        "currency": step.currency,
        "line_nos": [line.line_no for line in step.lines],
        "skus": [line.sku for line in step.lines],
        "quantities": [line.quantity for line in step.lines],
        "unit_prices": [line.unit_price for line in step.lines],
        "freights": [line.freight for line in step.lines],
    }


def _payment(step: TakePayment) -> dict[str, Any]:
    return {
        "payment_id": step.payment_id,
        "provider": step.provider,
        "status": step.status.value,
        "method": step.method,
        "method_token": step.method_token,
        "installments": step.installments,
        "amount": step.amount,
        "currency": step.currency,
    }
