"""The generated shop's tenants and their products: about ten each, from a shared pool."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import accumulate

from shop.model import ListProduct

CURRENCY = "EUR"
MILLISECOND = timedelta(milliseconds=1)
PRODUCTS_PER_TENANT = 10
ORDERS_PER_TENANT = 50
MOST_TENANTS = 200
ADJECTIVES = ("Oak", "Steel", "Blue", "Folding", "Quiet", "Round", "Light", "Old", "Small", "Copper")
NOUNS = {
    "chair": "furniture",
    "lamp": "lighting",
    "kettle": "kitchen",
    "drill": "tools",
    "bag": "travel",
    "radio": "electronics",
}
POOL = tuple((f"{adjective} {noun}", category) for adjective in ADJECTIVES for noun, category in NOUNS.items())


@dataclass(slots=True, kw_only=True)
class Product:
    """The current state of one tenant's product."""

    tenant_id: str
    sku: str
    name: str
    category: str
    price: Decimal
    valid_from: datetime


class Assortment:
    """The tenants, their products and current prices. Prices change while the history is generated."""

    def __init__(self, run: str, orders: int, rng: random.Random) -> None:
        self._run = run
        tenants = max(3, min(MOST_TENANTS, orders // ORDERS_PER_TENANT))
        self._tenants = [f"tenant-{number:03d}" for number in range(1, tenants + 1)]
        self._weights = list(accumulate(1 / rank for rank in range(1, tenants + 1)))
        self._pools = {tenant: rng.sample(range(len(POOL)), PRODUCTS_PER_TENANT) for tenant in self._tenants}
        self._products: dict[str, list[Product]] = {}

    def listings(self, start: datetime) -> Iterator[ListProduct]:
        """Yield the first catalog entry of every product. Prices depend only on the sku and the tenant."""
        valid_from = milliseconds(start)
        for tenant_id, pool in self._pools.items():
            rng = random.Random(f"{self._run}/{tenant_id}")  # noqa: S311  # a history, not a secret
            self._products[tenant_id] = [
                self._product(tenant_id, f"{self._run}-{kind:02d}", kind, valid_from, rng) for kind in pool
            ]
            for product in self._products[tenant_id]:
                yield listing(product)

    def tenant(self, rng: random.Random) -> str:
        """Choose the tenant of the next order."""
        return rng.choices(self._tenants, cum_weights=self._weights)[0]

    def basket(self, tenant_id: str, rng: random.Random) -> list[Product]:
        """Choose one to four different products."""
        return rng.sample(self._products[tenant_id], rng.choice((1, 1, 1, 2, 2, 3, 4)))

    def reprice(self, tenant_id: str, sold_at: datetime, rng: random.Random) -> Iterator[ListProduct]:
        """Yield a new price for one product, valid from the millisecond before an order.

        Yield nothing if the product already changed in that millisecond.
        """
        product = rng.choice(self._products[tenant_id])
        valid_from = milliseconds(sold_at) - MILLISECOND
        factor = Decimal(rng.choice((80, 85, 90, 95, 105, 110, 115, 125))) / 100
        if valid_from <= product.valid_from:
            return
        product.valid_from = valid_from
        product.price = max(Decimal("0.50"), (product.price * factor).quantize(Decimal("0.01")))
        yield listing(product)

    def late_product(self, tenant_id: str, number: int, heard_at: datetime, rng: random.Random) -> Product:
        """Return a product that is sold before the catalog has it; its entry is valid from `heard_at`."""
        return self._product(tenant_id, f"{self._run}-late-{number:08d}", rng.randrange(len(POOL)), heard_at, rng)

    def _product(self, tenant_id: str, sku: str, kind: int, valid_from: datetime, rng: random.Random) -> Product:
        name, category = POOL[kind]
        price = Decimal(rng.randrange(300, 25_000)) / 100
        return Product(tenant_id=tenant_id, sku=sku, name=name, category=category, price=price, valid_from=valid_from)


def listing(product: Product, *, late: bool = False) -> ListProduct:
    """Return the catalog entry of a product's current state."""
    return ListProduct(
        at=product.valid_from,
        tenant_id=product.tenant_id,
        sku=product.sku,
        name=product.name,
        category=product.category,
        price=product.price,
        currency=CURRENCY,
        stock=100,
        late=late,
    )


def milliseconds(moment: datetime) -> datetime:
    """Round down to whole milliseconds, MongoDB's precision."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
