"""Convert the CSV files of Olist's public dataset to a shop's history.

A seller is a tenant, and each (order, seller) is an order of that tenant. Rules where the data is ambiguous:

- times are local to São Paulo; a repeated hour (clocks set back) is read as the first one, a skipped hour with the
  offset before the clocks were set forward;
- an order's life cycle is given by its timestamps; a timestamp before its predecessor's is recorded with the latter;
- an order with status canceled, or unavailable (soft-deleted), became so an hour after its last known timestamp;
- payments are divided among an order's sellers in proportion to their sales in it, exact to the cent;
- an order without items has no seller and so no tenant: it is left out, and counted;
- a product sold at a new price has this price from the millisecond before that order; of two prices at the same
  instant, the first is the listed one.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from shop.model import (
    History,
    ListProduct,
    MarkOrder,
    OrderKey,
    OrderLine,
    OrderStatus,
    PaymentStatus,
    PlaceOrder,
    Step,
    TakePayment,
    WithdrawOrder,
)
from shop.olist_files import Olist, OlistItem, Order, Payment, read
from shop.payments import PROVIDERS, method_token, split
from shop.timeline import Timeline

CURRENCY = "BRL"
STOCK = 100  # not in the data
MILLISECOND = timedelta(milliseconds=1)
AFTERMATH = timedelta(hours=1)
WITHDRAWN = "unavailable"
CANCELLED = "canceled"


def history(folder: Path) -> History:
    """Return the history in the CSV files of `folder`. The data set is held in memory, its steps are not.

    Raises HeadraceError that names file, line and what was expected.
    """
    data = read(folder)
    orders = [order for order in data.orders if order.order_id in data.items]
    moments = [moment for order in orders for moment in order.moments]
    last = max(moments, default=datetime(1970, 1, 1, tzinfo=UTC)) + AFTERMATH
    first = min(moments, default=last) - MILLISECOND
    return History(
        orders=sum(len({item.seller_id for item in data.items[order.order_id]}) for order in orders),
        first_day=first.date(),
        last_day=last.date(),
        steps=lambda: _steps(data, orders),
        left_out=len(data.orders) - len(orders),
    )


def _steps(data: Olist, orders: list[Order]) -> Iterator[Step]:
    timeline, prices = Timeline(), _Prices(data)
    for order in sorted(orders, key=lambda order: (order.purchased_at, order.order_id)):
        yield from timeline.before(order.purchased_at - MILLISECOND)
        for step in _order_steps(order, data.items[order.order_id], data.payments.get(order.order_id, []), prices):
            timeline.add(step)
    yield from timeline.rest()


def _order_steps(order: Order, items: list[OlistItem], payments: list[Payment], prices: "_Prices") -> Iterator[Step]:
    for item in items:
        yield from prices.sold(item, order.purchased_at)
    by_seller: dict[str, list[OlistItem]] = defaultdict(list)
    for item in items:
        by_seller[item.seller_id].append(item)
    placed = [_placed(order, seller, sold) for seller, sold in sorted(by_seller.items())]
    shares = [split(payment.value, [step.total for step in placed]) for payment in payments]
    for index, step in enumerate(placed):
        yield step
        owed = [(payment, amounts[index]) for payment, amounts in zip(payments, shares, strict=True)]
        yield from _paid(order, step.order, owed, alone=len(placed) == 1)
        yield from _life(order, step.order)


def _placed(order: Order, seller_id: str, items: list[OlistItem]) -> PlaceOrder:
    return PlaceOrder(
        at=order.purchased_at,
        order=OrderKey(seller_id, _month(order.purchased_at), order.order_id),
        customer_id=order.customer_id,
        currency=CURRENCY,
        lines=tuple(
            OrderLine(line_no=item.number, sku=item.product_id, quantity=1, unit_price=item.price, freight=item.freight)
            for item in items
        ),
    )


def _paid(order: Order, key: OrderKey, owed: list[tuple[Payment, Decimal]], *, alone: bool) -> Iterator[Step]:
    at = max(order.purchased_at, order.approved_at or order.purchased_at)
    for payment, amount in owed:
        if amount == 0 and not alone:
            continue  # a cent can't be divided: the seller who got it has the payment
        payment_id = f"{order.order_id}-{payment.number}"
        yield TakePayment(
            at=at,
            order=key,
            payment_id=payment_id,
            provider=PROVIDERS.get(payment.method, "unknown"),
            status=PaymentStatus.CAPTURED,
            method=payment.method,
            method_token=method_token(payment.method, f"{order.customer_id}/{payment_id}"),
            installments=payment.installments,
            amount=amount,
            currency=CURRENCY,
        )


def _life(order: Order, key: OrderKey) -> Iterator[Step]:
    at = order.purchased_at
    marks = (
        (OrderStatus.APPROVED, order.approved_at),
        (OrderStatus.SHIPPED, order.shipped_at),
        (OrderStatus.DELIVERED, order.delivered_at),
    )
    for status, moment in marks:
        if moment is not None:
            at = max(at, moment)
            yield MarkOrder(at=at, order=key, status=status, moment=moment)
    at += AFTERMATH
    if order.status == CANCELLED:
        yield MarkOrder(at=at, order=key, status=OrderStatus.CANCELLED, moment=at)
    elif order.status == WITHDRAWN:
        yield WithdrawOrder(at=at, order=key)


@dataclass(slots=True)
class _Listed:
    price: Decimal
    valid_from: datetime


class _Prices:
    """The last known price of each seller's products: the catalog's content."""

    def __init__(self, data: Olist) -> None:
        self._categories = data.categories
        self._listed: dict[tuple[str, str], _Listed] = {}

    def sold(self, item: OlistItem, at: datetime) -> Iterator[ListProduct]:
        """Yield the catalog entry implied by the sale of `item` at `at`, if its price is new."""
        valid_from = at - MILLISECOND
        listed = self._listed.get((item.seller_id, item.product_id))
        if listed and (listed.price == item.price or listed.valid_from >= valid_from):
            return
        self._listed[item.seller_id, item.product_id] = _Listed(item.price, valid_from)
        category = self._categories[item.product_id]
        yield ListProduct(
            at=valid_from,
            tenant_id=item.seller_id,
            sku=item.product_id,
            name=f"{category.replace('_', ' ').capitalize()} {item.product_id[:8]}",
            category=category,
            price=item.price,
            currency=CURRENCY,
            stock=STOCK,
        )


def _month(moment: datetime) -> date:
    return moment.date().replace(day=1)
