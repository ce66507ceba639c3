"""Orders as they live, made up: what the benches trade when no shop does."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from schemas.tables import ORDERS

Row = dict[str, Any]
MONTH = datetime.now(UTC).date().replace(day=1)


def history(chance: random.Random, count: int) -> Iterator[tuple[str, Row, Row | None]]:
    """Orders as they live: placed, changed a few times, some deleted; many at a time."""
    alive: list[Row] = []
    clock = datetime.combine(MONTH, datetime.min.time(), UTC)
    statuses = ("approved", "invoiced", "shipped", "delivered", "cancelled")
    for number in range(count):
        clock += timedelta(microseconds=chance.randrange(1, 2_000_000))
        dice = chance.random()
        if dice < 0.55 or not alive:
            row = order(chance, number, clock)
            alive.append(row)
            yield "c", row, None
            continue
        place = chance.randrange(max(0, len(alive) - 5_000), len(alive))
        before = alive[place]
        if dice > 0.97:
            alive[place] = alive[-1]
            alive.pop()
            yield "d", before, None
            continue
        alive[place] = before | {"status": chance.choice(statuses), "updated_at": clock}
        yield "u", alive[place], before


def order(chance: random.Random, number: int, clock: datetime) -> Row:
    """One order, of a few hundred tenants with a heavy head."""
    row: Row = {column.name: None for column in ORDERS.columns}
    return row | {
        "tenant_id": f"seller-{int(chance.paretovariate(0.8)) % 300:04d}",
        "order_month": MONTH,
        "order_id": f"{chance.getrandbits(128):032x}",
        "customer_id": f"{chance.getrandbits(128):032x}",
        "status": "placed",
        "total": Decimal(chance.randrange(100, 5_000_000)).scaleb(-4),
        "currency": "BRL",
        "placed_at": clock,
        "created_at": clock,
        "created_by": "shop",
        "updated_at": clock,
        "updated_by": f"shop-{number % 7}",
    }
