"""Single business actions at the current time, for a demo or a manual test. Each returns the row to watch in reporting.

Unlike a history's steps, they use the databases' current time and random ids, so no two calls are the same. `sales` is
a connection as app_writer, in autocommit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import psycopg
from pymongo.database import Database

from schemas.errors import HeadraceError
from shop.catalog import Document, write_listings
from shop.events import event
from shop.model import ListProduct, MarkOrder, OrderKey, OrderLine, OrderStatus, OrderStep, PlaceOrder
from shop.statements import statement

# A price is written before it becomes valid, so that no order is priced at an instant whose price is still in transit.
ANNOUNCED = timedelta(seconds=1)
CENT = Decimal("0.01")
OPEN_ORDER = """
SELECT tenant_id, order_month, order_id FROM sales.orders
WHERE cancelled_at IS NULL AND delivered_at IS NULL AND deleted_at IS NULL
ORDER BY placed_at DESC, tenant_id, order_id LIMIT 1
"""
ANY_TENANT = "SELECT tenant_id, currency FROM sales.orders ORDER BY placed_at DESC, tenant_id LIMIT 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The key of a row to watch."""

    key: Mapping[str, str | int | date]


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedRow(Row):
    """A product's row, and its new price."""

    price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class SoldRow(Row):
    """An order line's row, and the product that was sold."""

    sku: str
    price: Decimal
    currency: str


def change_price(catalog: Database[Document]) -> PricedRow:
    """Raise the price of the catalog's first product by a tenth, valid in one second.

    Raises HeadraceError when the catalog is empty.
    """
    product = catalog.products.find_one(sort=[("_id", 1)])
    if product is None:
        raise HeadraceError("the catalog has no product whose price could change; run headrace load first")
    price = (Decimal(str(product["price"])) * Decimal("1.1")).quantize(CENT) + CENT
    known = {name: product[name] for name in ("tenant_id", "sku", "name", "category", "currency", "stock")}
    write_listings(catalog, [ListProduct(at=_now(catalog) + ANNOUNCED, price=price, **known)])
    return PricedRow(key={"tenant_id": product["tenant_id"], "sku": product["sku"]}, price=price)


def cancel_order(sales: psycopg.Connection[Any]) -> Row:
    """Cancel the newest order that is neither delivered nor cancelled. Raises HeadraceError when there is none."""
    found = sales.execute(OPEN_ORDER).fetchone()
    if found is None:
        raise HeadraceError("there is no open order to cancel; run headrace load first")
    order, at = OrderKey(*found), _clock(sales)
    _do(sales, MarkOrder(at=at, order=order, status=OrderStatus.CANCELLED, moment=at))
    return Row(key=_key(order))


def sell_unlisted(sales: psycopg.Connection[Any]) -> SoldRow:
    """Sell a product that the catalog doesn't have yet; `list_late` adds it.

    The current month's partitions must exist. Raises HeadraceError when no tenant has an order yet.
    """
    found = sales.execute(ANY_TENANT).fetchone()
    if found is None:
        raise HeadraceError("no tenant has an order yet; run headrace load first")
    (tenant_id, currency), at, id_ = found, _clock(sales), uuid4().hex
    order = OrderKey(tenant_id, at.date().replace(day=1), id_)
    line = OrderLine(
        line_no=1, sku=f"late-{id_[:12]}", quantity=1, unit_price=Decimal("19.90"), freight=Decimal("4.90")
    )
    _do(sales, PlaceOrder(at=at, order=order, customer_id="customer-late", currency=currency, lines=(line,)))
    return SoldRow(key=_key(order) | {"line_no": line.line_no}, sku=line.sku, price=line.unit_price, currency=currency)


def list_late(catalog: Database[Document], sold: SoldRow) -> None:
    """Add the product that `sell_unlisted` has sold to the catalog."""
    listing = ListProduct(
        at=_now(catalog),
        tenant_id=str(sold.key["tenant_id"]),
        sku=sold.sku,
        name="Late lamp",
        category="lighting",
        price=sold.price,
        currency=sold.currency,
        stock=1,
        late=True,
    )
    write_listings(catalog, [listing])


def sell_long_ago(sales: psycopg.Connection[Any], catalog: Database[Document], at: datetime) -> Row:
    """Write an order that was placed `at`, of a product in the catalog; return its row.

    The partitions of that month must exist. Raises HeadraceError when the catalog is empty.
    """
    product = catalog.products.find_one(sort=[("_id", 1)])
    if product is None:
        raise HeadraceError("the catalog has no product to sell; run headrace load first")
    order = OrderKey(product["tenant_id"], at.date().replace(day=1), uuid4().hex)
    line = OrderLine(line_no=1, sku=product["sku"], quantity=1, unit_price=Decimal("9.90"), freight=Decimal("1.90"))
    step = PlaceOrder(at=at, order=order, customer_id="customer-old", currency=product["currency"], lines=(line,))
    _do(sales, step)
    return Row(key=_key(order))


def _do(sales: psycopg.Connection[Any], step: OrderStep) -> None:
    sales.execute(*statement(step, event(step)))


def _key(order: OrderKey) -> dict[str, str | int | date]:
    return {"tenant_id": order.tenant_id, "order_month": order.order_month, "order_id": order.order_id}


def _clock(sales: psycopg.Connection[Any]) -> datetime:
    row = sales.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None  # noqa: S101  # a SELECT without FROM has one row
    moment: datetime = row[0]
    return moment.astimezone(UTC)


def _now(catalog: Database[Document]) -> datetime:
    """Return the catalog server's time, which its heartbeats carry, in whole milliseconds."""
    now: datetime = catalog.client.admin.command("hello")["localTime"]
    return now.replace(tzinfo=UTC)
