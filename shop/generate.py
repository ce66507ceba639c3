"""Generate a shop's history: any number of orders, without input files, reproducible by its seed.

Orders are spread evenly over 32 days. Tenants differ in size: the k-th has 1/k of the first one's orders. With
`default_start`, all times are in the past and within the 76 days before the end of the current month.
"""

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from schemas.errors import HeadraceError
from shop.assortment import CURRENCY, MILLISECOND, Assortment, Product, listing, milliseconds
from shop.life import life
from shop.model import History, OrderKey, OrderLine, PlaceOrder, Step
from shop.naming import letters
from shop.timeline import Timeline

OPENING = timedelta(hours=1)  # the catalog is listed before the first order
ORDERS_WITHIN = timedelta(days=32)
LIFE = timedelta(days=9)  # the longest life cycle; see shop/life.py
UNHURRIED = 20_000  # above so many orders, life cycles are shortened, to limit the open orders held in memory
BEFORE = timedelta(milliseconds=2)  # the most by which an order's catalog entries precede it
PRICE_CHANGE, DISCOUNT = 0.04, 0.1  # probability, per order or line
LATE_PRODUCTS = 100  # one in so many orders sells one, so that small shops have one too


def default_start(today: date) -> datetime:
    """Return the start of a generated history: 14 days before the previous month.

    The whole history is then in the past, touches two months, and is the same on every day of a month.
    """
    previous = (today.replace(day=1) - timedelta(days=1)).replace(day=1)
    return datetime(previous.year, previous.month, 1, tzinfo=UTC) - timedelta(days=14)


def history(orders: int, seed: int, start: datetime) -> History:
    """Return a history of `orders` orders from `start`, which has a time zone.

    Another seed, number or start gives another history with other ids. Raises HeadraceError for invalid arguments.
    """
    if orders < 1:
        raise HeadraceError(f"a shop of {orders} orders; expected at least 1")
    if start.tzinfo is None:
        raise HeadraceError(f"start {start.isoformat()} has no time zone; expected one, such as …T00:00:00+00:00")
    start = start.astimezone(UTC)
    return History(
        orders=orders,
        first_day=start.date(),
        last_day=(start + OPENING + ORDERS_WITHIN + LIFE).date(),
        steps=lambda: _steps(orders, seed, start),
    )


def _steps(orders: int, seed: int, start: datetime) -> Iterator[Step]:
    shop, timeline = _Shop(orders, seed, start), Timeline()
    for first in shop.assortment.listings(start):
        timeline.add(first)
    for number in range(orders):
        placed_at = start + OPENING + _share(ORDERS_WITHIN, number, orders, shop.rng)
        yield from timeline.before(placed_at - BEFORE)
        for step in shop.order_steps(number, placed_at):
            timeline.add(step)
    yield from timeline.rest()


def _share(whole: timedelta, number: int, orders: int, rng: random.Random) -> timedelta:
    """Return the random time of one order within its own equal share of `whole`, so that orders stay in order."""
    return (whole * number + timedelta(microseconds=rng.randrange(whole // timedelta(microseconds=1)))) / orders


class _Shop:
    """The state that all orders of a history share. One random generator is used, in the order of the orders."""

    def __init__(self, orders: int, seed: int, start: datetime) -> None:
        self._run = letters(f"{seed}/{orders}/{start.isoformat()}", 8)
        self._hurry = min(1.0, UNHURRIED / orders)
        self.rng = random.Random(self._run)  # noqa: S311  # a history, not a secret
        self.assortment = Assortment(self._run, orders, self.rng)

    def order_steps(self, number: int, placed_at: datetime) -> Iterator[Step]:
        """Yield an order with its life cycle, and the catalog entries just before it, or late."""
        rng, tenant_id = self.rng, self.assortment.tenant(self.rng)
        if rng.random() < PRICE_CHANGE:
            yield from self.assortment.reprice(tenant_id, placed_at, rng)
        products = self.assortment.basket(tenant_id, rng)
        if number % LATE_PRODUCTS == LATE_PRODUCTS // 10:
            heard_at = milliseconds(placed_at + timedelta(minutes=1 + 29 * rng.random()) * self._hurry) + MILLISECOND
            late = self.assortment.late_product(tenant_id, number, heard_at, rng)
            products.append(late)
            yield listing(late, late=True)
        placed = PlaceOrder(
            at=placed_at,
            order=OrderKey(tenant_id, placed_at.date().replace(day=1), f"{self._run}-{number:08d}"),
            customer_id=f"customer-{rng.randrange(10_000):05d}",
            currency=CURRENCY,
            lines=tuple(_line(index, product, rng) for index, product in enumerate(products, start=1)),
        )
        yield placed
        yield from life(placed, self._hurry, rng)


def _line(line_no: int, product: Product, rng: random.Random) -> OrderLine:
    price = product.price
    if rng.random() < DISCOUNT:
        price = (price * Decimal("0.9")).quantize(Decimal("0.01"))
    return OrderLine(
        line_no=line_no,
        sku=product.sku,
        quantity=rng.choice((1, 1, 1, 2, 3)),
        unit_price=price,
        freight=Decimal(rng.randrange(0, 1500)) / 100,
    )
