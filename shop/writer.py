"""Write a history to Postgres and MongoDB as a shop's back end would, and resume where a previous run stopped.

Steps are written in batches. In each batch:

1. catalog entries are written to MongoDB, and confirmed;
2. order steps are committed in Postgres, one transaction each;
3. a late product's entry is written. It ends its batch: the orders before it are written, those after it are not.

No progress is stored: the databases are asked which steps exist, one batch at a time. The two databases aren't written
atomically: a run that is killed between 1 and 2 leaves a price that no order uses yet.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from time import monotonic, sleep
from typing import Any

from pymongo.database import Database

from schemas.errors import HeadraceError
from shop.catalog import write_listings
from shop.ledger import CONNECTIONS, Ledger
from shop.model import History, ListProduct, OrderStep, PlaceOrder, Step

BATCH = 500
LOOK_AHEAD_S = 0.05  # steps due within so many seconds are written together
Progress = Callable[[int, int], None]
Due = Callable[[Step], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The result of a load: `orders` and `steps` of the history, of which `written` steps were new."""

    orders: int
    steps: int
    written: int
    seconds: float


@dataclass(slots=True)
class _Count:
    orders: int = 0
    steps: int = 0
    written: int = 0


def load(  # noqa: PLR0913
    history: History,
    *,
    conninfo: str,
    catalog: Database[dict[str, Any]],
    rate: float = 0,
    speedup: float = 0,
    on_progress: Progress = lambda done, total: None,
    connections: int = CONNECTIONS,
) -> Loaded:
    """Write `history` to the database at `conninfo` (as app_writer) and to `catalog`.

    `rate` is in orders a second, `speedup` in seconds of history a second; with both 0 there is no limit. `on_progress`
    gets the orders written and their total, after each batch. The partitions of the history's days must exist.

    Raises:
        HeadraceError: an argument is wrong, or a database refused a step.
        Unavailable: a database went away.
    """
    if rate < 0 or speedup < 0 or (rate and speedup):
        raise HeadraceError(f"rate {rate:g}, speedup {speedup:g}: expected one of them above 0, or both 0")
    started, count = monotonic(), _Count()
    with Ledger(conninfo, connections) as ledger:
        for batch in _batches(history.steps(), _due(rate, speedup)):
            _write(batch, ledger, catalog, count)
            on_progress(count.orders, history.orders)
    return Loaded(orders=count.orders, steps=count.steps, written=count.written, seconds=monotonic() - started)


def _write(batch: list[Step], ledger: Ledger, catalog: Database[dict[str, Any]], count: _Count) -> None:
    listings = [step for step in batch if isinstance(step, ListProduct)]
    orders: list[OrderStep] = [step for step in batch if not isinstance(step, ListProduct)]
    count.written += write_listings(catalog, [listing for listing in listings if not listing.late])
    count.written += ledger.write(orders)
    count.written += write_listings(catalog, [listing for listing in listings if listing.late])
    count.orders += sum(isinstance(step, PlaceOrder) for step in orders)
    count.steps += len(batch)


def _batches(steps: Iterable[Step], due: Due) -> Iterator[list[Step]]:
    """Yield batches of steps, each when it is due. `due` returns seconds from the start."""
    started, batch = monotonic(), list[Step]()
    for step in steps:
        start = started + due(step)
        if batch and (len(batch) >= BATCH or start > monotonic() + LOOK_AHEAD_S):
            yield batch
            batch = []
        if not batch and start > monotonic():
            sleep(start - monotonic())
        batch.append(step)
        if isinstance(step, ListProduct) and step.late:
            yield batch
            batch = []
    if batch:
        yield batch


def _due(rate: float, speedup: float) -> Due:
    if rate:
        return _by_rate(rate)
    if speedup:
        return _by_time(speedup)
    return lambda step: 0.0


def _by_rate(rate: float) -> Due:
    placed = 0

    def due(step: Step) -> float:
        nonlocal placed
        placed += isinstance(step, PlaceOrder)
        return (placed - 1) / rate if placed else 0.0

    return due


def _by_time(speedup: float) -> Due:
    first: datetime | None = None

    def due(step: Step) -> float:
        nonlocal first
        first = first or step.at
        return (step.at - first).total_seconds() / speedup

    return due
