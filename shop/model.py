"""The business steps of a shop, as plain values: what happens, to which order, when. Nothing here opens anything.

Both histories (shop/generate.py, shop/olist.py) are streams of these steps, and shop/writer.py writes each in one
transaction. A step's identity alone decides its event's id, so a history can be played again and adds nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum


class OrderStatus(StrEnum):
    """An order's status. Each but the first has a column `<status>_at` of its own."""

    PLACED = "placed"
    APPROVED = "approved"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"


class PaymentStatus(StrEnum):
    """What the provider says of a payment."""

    CAPTURED = "captured"
    FAILED = "failed"
    REFUNDED = "refunded"


@dataclass(frozen=True, slots=True)
class OrderKey:
    """Which order: its tenant, the first day of the month (UTC) in which it was placed, and its id."""

    tenant_id: str
    order_month: date
    order_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderLine:
    """One line of an order. Prices are of one piece; `freight` is the line's whole freight."""

    line_no: int
    sku: str
    quantity: int
    unit_price: Decimal
    freight: Decimal

    @property
    def total(self) -> Decimal:
        """What the line costs, freight included."""
        return self.quantity * self.unit_price + self.freight


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceOrder:
    """A customer orders: the order, its lines (priced at that moment) and `OrderPlaced`."""

    at: datetime
    order: OrderKey
    customer_id: str
    currency: str
    lines: tuple[OrderLine, ...]

    @property
    def total(self) -> Decimal:
        """What the order costs: the sum of its lines."""
        return sum((line.total for line in self.lines), Decimal(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkOrder:
    """An order gets on: its status, and `moment` into the column of that status.

    `at` is when the shop learns of it, and never before the order's previous step; `moment` is when it happened.
    """

    at: datetime
    order: OrderKey
    status: OrderStatus
    moment: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawOrder:
    """An order is taken out of sight: order, lines and payments are soft-deleted together."""

    at: datetime
    order: OrderKey


@dataclass(frozen=True, slots=True, kw_only=True)
class TakePayment:
    """A payment is tried, and is captured or fails. `method_token` stands for a card, never its number."""

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
    """An existing payment changes: a failed one is captured after all, a captured one is refunded."""

    at: datetime
    order: OrderKey
    payment_id: str
    status: PaymentStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class ListProduct:
    """The catalog learns a product, or a new name, category or price of it, valid from `at`.

    `at` is of whole milliseconds: MongoDB keeps no more. `late` says that an order came first on purpose, so that
    the writer must not write this ahead of the steps before it.
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
    """A shop's history. `steps` starts the stream anew at each call, ordered by `at`; nothing before `first_day` or
    after `last_day` (both UTC) happens in it. `left_out` counts orders of the input that no tenant can own."""

    orders: int
    first_day: date
    last_day: date
    steps: Callable[[], Iterator[Step]]
    left_out: int = 0
