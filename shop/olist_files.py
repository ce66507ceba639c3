"""Parse Olist's CSV files to typed rows. All validation is here; an error names file, line and column."""

from collections import defaultdict
from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from schemas.errors import HeadraceError
from shop.csv_rows import CsvRow, read_rows

UNCATEGORISED = "uncategorised"
STATUSES = frozenset(
    {"created", "approved", "invoiced", "processing", "shipped", "delivered", "canceled", "unavailable"}
)
METHODS = {
    "credit_card": "credit_card",
    "debit_card": "debit_card",
    "boleto": "boleto",
    "voucher": "voucher",
    "not_defined": "other",
}
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One row of orders.csv; times in UTC."""

    order_id: str
    customer_id: str
    status: str
    purchased_at: datetime
    approved_at: datetime | None
    shipped_at: datetime | None
    delivered_at: datetime | None

    @property
    def moments(self) -> tuple[datetime, ...]:
        """The known timestamps of this order."""
        known = (self.purchased_at, self.approved_at, self.shipped_at, self.delivered_at)
        return tuple(moment for moment in known if moment is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class OlistItem:
    """One row of order_items.csv: one piece."""

    number: int
    product_id: str
    seller_id: str
    price: Decimal
    freight: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """One row of order_payments.csv."""

    number: int
    method: str
    installments: int
    value: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Olist:
    """The data set: items and payments by order_id, ordered by number; categories by product_id."""

    orders: list[Order]
    items: dict[str, list[OlistItem]]
    payments: dict[str, list[Payment]]
    categories: dict[str, str]


def read(folder: Path) -> Olist:
    """Read the four files that the history needs. Raises HeadraceError with file, line and what was expected."""
    if not folder.is_dir():
        raise HeadraceError(f"{folder}: no such folder; expected one with Olist's orders.csv, order_items.csv, …")
    columns = ("product_id", "product_category_name")
    categories = {
        row.text("product_id"): row.maybe("product_category_name") or UNCATEGORISED
        for row in read_rows(folder / "products.csv", columns)
    }
    orders = _orders(folder / "orders.csv")
    return Olist(
        orders=list(orders.values()),
        items=_items(folder / "order_items.csv", orders, categories),
        payments=_payments(folder / "order_payments.csv", orders),
        categories=categories,
    )


def _orders(path: Path) -> dict[str, Order]:
    orders: dict[str, Order] = {}
    times = ("order_approved_at", "order_delivered_carrier_date", "order_delivered_customer_date")
    for row in read_rows(path, ("order_id", "customer_id", "order_status", "order_purchase_timestamp", *times)):
        approved_at, shipped_at, delivered_at = (row.maybe_moment(column) for column in times)
        order = Order(
            order_id=row.text("order_id"),
            customer_id=row.text("customer_id"),
            status=row.one_of("order_status", STATUSES),
            purchased_at=row.moment("order_purchase_timestamp"),
            approved_at=approved_at,
            shipped_at=shipped_at,
            delivered_at=delivered_at,
        )
        if order.order_id in orders:
            row.fail("order_id", "each order once")
        orders[order.order_id] = order
    return orders


def _items(path: Path, orders: Container[str], products: Container[str]) -> dict[str, list[OlistItem]]:
    items: dict[str, dict[int, OlistItem]] = defaultdict(dict)
    columns = ("order_id", "order_item_id", "product_id", "seller_id", "price", "freight_value")
    for row in read_rows(path, columns):
        item = OlistItem(
            number=row.number("order_item_id"),
            product_id=row.found_in("product_id", products, "products.csv"),
            seller_id=row.text("seller_id"),
            price=row.money("price"),
            freight=row.money("freight_value"),
        )
        _add(items[row.found_in("order_id", orders, "orders.csv")], item.number, item, row, "order_item_id")
    return {order_id: [by_number[number] for number in sorted(by_number)] for order_id, by_number in items.items()}


def _payments(path: Path, orders: Container[str]) -> dict[str, list[Payment]]:
    payments: dict[str, dict[int, Payment]] = defaultdict(dict)
    columns = ("order_id", "payment_sequential", "payment_type", "payment_installments", "payment_value")
    for row in read_rows(path, columns):
        payment = Payment(
            number=row.number("payment_sequential"),
            method=METHODS[row.one_of("payment_type", METHODS)],
            installments=row.number("payment_installments"),
            value=row.money("payment_value"),
        )
        _add(payments[row.found_in("order_id", orders, "orders.csv")], payment.number, payment, row, columns[1])
    return {order_id: [by_number[number] for number in sorted(by_number)] for order_id, by_number in payments.items()}


def _add(by_number: dict[int, T], number: int, value: T, row: CsvRow, column: str) -> None:
    if number in by_number:
        row.fail(column, "each number of an order once")
    by_number[number] = value
