"""The business steps of a shop as plain values. No I/O.

Both histories (shop/generate.py, shop/olist.py) are streams of these steps; shop/writer.py writes each in one
transaction. A step's identity determines its event's id, so writing a history again adds nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum


class OrderStatus(StrEnum):
    """An order's status. Each except the first has its own column `<status>_at`."""

    PLACED = "placed"
    APPROVED = "approved"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"


class PaymentStatus(StrEnum):
    """A payment's status at its provider."""

    CAPTURED = "captured"
    FAILED = "failed"
    REFUNDED = "refunded"


@dataclass(frozen=True, slots=True)
class OrderKey:
    """An order's key: its tenant, the first day of the month (UTC) in which it was placed, and its id."""

    tenant_id: str
    order_month: date
    order_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderLine:
    """An order line. `unit_price` is for one piece; `freight` is for all pieces of it."""

    line_no: int
    sku: str
    quantity: int
    unit_price: Decimal
    freight: Decimal

    @property
    def total(self) -> Decimal:
        """The price of all pieces, with freight."""
        return self.quantity * self.unit_price + self.freight


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceOrder:
    """A customer places an order. Its lines are priced at that moment. Event: `OrderPlaced`."""

    at: datetime
    order: OrderKey
    customer_id: str
    currency: str
    lines: tuple[OrderLine, ...]

    @property
    def total(self) -> Decimal:
        """The sum of the order's lines."""
        return sum((line.total for line in self.lines), Decimal(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkOrder:
    """An order changes its status; `moment` is written to the status' column.

    `at` is when the shop records it, never before the order's previous step; `moment` is when it happened.
    """

    at: datetime
    order: OrderKey
    status: OrderStatus
    moment: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawOrder:
    """An order, its lines and its payments are soft-deleted together."""

    at: datetime
    order: OrderKey


@dataclass(frozen=True, slots=True, kw_only=True)
class TakePayment:
    """A payment is attempted, and is captured or fails. `method_token` is a token for the card, never its number."""

    at: datetime
    order: OrderKey
    payment_id: str
    provider: str
    status: PaymentStatus
    method: str
    method_token: str | None
    installments: int
    amount: Decimal
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MovePayment:
    """An existing payment changes: a failed one is captured later, or a captured one is refunded."""

    at: datetime
    order: OrderKey
    payment_id: str
    status: PaymentStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class ListProduct:
    """The catalog gets a product, or a new name, category or price of one, valid from `at`.

    `at` is in whole milliseconds, MongoDB's precision. `late` means that an order precedes it on purpose: the writer
    must not write it before the steps that come before it.
    """

    at: datetime
    tenant_id: str
    sku: str
    name: str
    category: str
    price: Decimal
    currency: str
    stock: int
    late: bool = False


OrderStep = PlaceOrder | MarkOrder | WithdrawOrder | TakePayment | MovePayment
Step = OrderStep | ListProduct


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A shop's history.

    Each call of `steps` returns all steps from the start, ordered by `at`. All of them are within `first_day` and
    `last_day` (UTC, inclusive). `left_out` counts orders of the input without a tenant.
    """

    orders: int
    first_day: date
    last_day: date
    steps: Callable[[], Iterator[Step]]
    left_out: int = 0
