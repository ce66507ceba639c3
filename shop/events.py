"""The domain event of each step, with an id that is the same in every run.

The id is a UUIDv7 with the step's time; its other bits are a hash of the step. It sorts by time like any v7, and a
second run of a history produces the same ids (RFC 9562, 5.7 leaves the 74 bits to the implementation).
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from shop.model import MarkOrder, MovePayment, OrderStep, PlaceOrder, TakePayment, WithdrawOrder

SCHEMA_VERSION = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One row of the outbox; `traceparent` is W3C trace context, as the shop's tracing would set it."""

    event_id: UUID
    tenant_id: str
    aggregate_type: str
    aggregate_id: str
    event_type: str
    payload: dict[str, Any]
    traceparent: str
    occurred_at: datetime


def event(step: OrderStep) -> Event:
    """Return the event of a step. An order or payment has each type of event at most once: type and id identify it."""
    match step:
        case PlaceOrder():
            return _order_event(step, "OrderPlaced", _placed(step))
        case MarkOrder():
            return _order_event(step, f"Order{step.status.value.capitalize()}", {"moment": step.moment.isoformat()})
        case WithdrawOrder():
            return _order_event(step, "OrderWithdrawn", {})
        case TakePayment():
            return _payment_event(step, {"method": step.method, "amount": str(step.amount), "currency": step.currency})
        case MovePayment():
            return _payment_event(step, {})


def uuid7(at: datetime, identity: bytes) -> UUID:
    """Return a UUIDv7 of the millisecond of `at`; `identity`, at least ten bytes, fills its random bits."""
    milliseconds = (at - _EPOCH) // _MILLISECOND
    bits = int.from_bytes(identity[:10], "big")
    high = (milliseconds << 16) | 0x7000 | (bits >> 62 & 0xFFF)
    low = 0x8000000000000000 | (bits & 0x3FFFFFFFFFFFFFFF)
    return UUID(int=high << 64 | low)


def _placed(step: PlaceOrder) -> dict[str, Any]:
    return {
        "customer_id": step.customer_id,
        "total": str(step.total),
        "currency": step.currency,
        "lines": [
            {"line_no": line.line_no, "sku": line.sku, "quantity": line.quantity, "unit_price": str(line.unit_price)}
            for line in step.lines
        ],
    }


def _order_event(step: PlaceOrder | MarkOrder | WithdrawOrder, event_type: str, details: dict[str, Any]) -> Event:
    return _event(step, "order", step.order.order_id, event_type, details)


def _payment_event(step: TakePayment | MovePayment, details: dict[str, Any]) -> Event:
    event_type = f"Payment{step.status.value.capitalize()}"
    return _event(step, "payment", step.payment_id, event_type, {"payment_id": step.payment_id, **details})


def _event(step: OrderStep, aggregate_type: str, aggregate_id: str, event_type: str, details: dict[str, Any]) -> Event:
    order = step.order
    identity = hashlib.blake2b(
        f"{order.tenant_id}/{aggregate_type}/{aggregate_id}/{event_type}".encode(), digest_size=34
    ).digest()
    return Event(
        event_id=uuid7(step.at, identity),
        tenant_id=order.tenant_id,
        aggregate_type=aggregate_type,
        aggregate_id=aggregate_id,
        event_type=event_type,
        payload={"tenant_id": order.tenant_id, "order_id": order.order_id, **details},
        traceparent=f"00-{identity[10:26].hex()}-{identity[26:34].hex()}-01",
        occurred_at=step.at,
    )
