"""Commit to the source during a soak: the shop's trade, and markers whose way to reporting is watched."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import psycopg

from migrations.errors import MigrationFailed
from operations import connections, load, migrate
from operations.settings import Settings
from schemas.errors import Unavailable
from shop.assortment import CURRENCY
from shop.catalog import write_listings
from shop.events import event
from shop.model import (
    ListProduct,
    MarkOrder,
    OrderKey,
    OrderLine,
    OrderStatus,
    OrderStep,
    PaymentStatus,
    PlaceOrder,
    TakePayment,
)
from shop.statements import statement
from tests.soak.background import Background
from tests.soak.invariants import Key, Marker

TENANT, SKU = "soak-markers", "marker"
CHAPTER_S = 20.0  # a history that a restart interrupts is played again from its start
AGAIN_S, PROBE_S = 1.0, 0.5
Say = Callable[[str], None]


class _Stopped(Exception):
    """The trade was told to stop in the middle of a history."""


class Trade:
    """Plays one generated history after the other, on a thread; a server that goes away is waited for."""

    def __init__(self, settings: Settings, seed: int, rate: float, say: Say) -> None:
        self._settings, self._seed, self._rate, self._say = settings, seed, rate, say
        self._stopping = threading.Event()
        self._thread = Background(self._run, "trade")
        self._thread.start()

    def stop(self) -> None:
        """Stop within a batch. Raises the exception that ended the thread, also that of a last try after the stop."""
        self._stopping.set()
        self._thread.finish()

    def _run(self) -> None:
        orders = max(1, int(self._rate * CHAPTER_S))
        for chapter in count():
            waiting = False
            past = load.history(folder=None, orders=orders, seed=self._seed * 1_000_000 + chapter)
            while True:
                last = self._stopping.is_set()
                try:
                    load.load(self._settings, past, rate=self._rate, on_progress=self._go_on)
                    break
                except _Stopped:
                    return
                except (Unavailable, MigrationFailed) as error:  # its partitions are made by the migrator
                    if last:
                        raise
                    if not waiting:
                        self._say(f"the shop waits: {str(error).splitlines()[0][:160]}")
                    waiting = True
                    self._stopping.wait(AGAIN_S)
            if self._stopping.is_set():
                return

    def _go_on(self, _done: int, _total: int) -> None:
        if self._stopping.is_set():
            raise _Stopped


class Markers:
    """Commits an order, its payment and its approval in turn, twice a second, and notes what the source committed.

    A commit whose outcome is unknown is sent again until it is known: a step that is there already adds nothing.
    """

    def __init__(self, settings: Settings, run: str) -> None:
        self._settings, self._run = settings, run
        self._stopping, self._lock = threading.Event(), threading.Lock()
        self._markers: list[Marker] = []
        today = datetime.now(UTC).date()
        migrate.make_partitions(settings, today, today + timedelta(days=1))
        catalog = connections.catalog(settings)
        with catalog.client:
            write_listings(catalog, [_listing(datetime.now(UTC).replace(microsecond=0))])
        self._thread = Background(self._commit_all, "markers")
        self._thread.start()

    def known(self) -> list[Marker]:
        """Return the markers committed so far."""
        with self._lock:
            return list(self._markers)

    def stop(self) -> None:
        """Stop after the commit in hand. Raises the exception that ended the thread, also that of a last try."""
        self._stopping.set()
        self._thread.finish()

    def _commit_all(self) -> None:
        connection: psycopg.Connection[Any] | None = None
        for number in count():
            at = datetime.now(UTC)
            order = OrderKey(TENANT, at.date().replace(day=1), f"{self._run}-{number:06d}")
            for step in _steps(order, at):
                while True:
                    last = self._stopping.is_set()
                    try:
                        connection = connection or connections.oltp(self._settings, "app_writer")
                        connection.execute(*statement(step, event(step)))
                        found = connection.execute("SELECT clock_timestamp()").fetchone()
                        break
                    except (Unavailable, psycopg.OperationalError, psycopg.InterfaceError):
                        if last:
                            raise
                        connection = None
                        self._stopping.wait(AGAIN_S)
                assert found is not None
                with self._lock:
                    self._markers += _markers(step, found[0])
                if self._stopping.wait(PROBE_S):
                    return


def _listing(at: datetime) -> ListProduct:
    return ListProduct(
        at=at,
        tenant_id=TENANT,
        sku=SKU,
        name="Marker",
        category="tools",
        price=Decimal("9.90"),
        currency=CURRENCY,
        stock=1,
    )


def _steps(order: OrderKey, at: datetime) -> list[OrderStep]:
    later = [at + timedelta(microseconds=each) for each in (1, 2)]
    line = OrderLine(line_no=1, sku=SKU, quantity=1, unit_price=Decimal("9.90"), freight=Decimal(0))
    return [
        PlaceOrder(at=at, order=order, customer_id="marker", currency=CURRENCY, lines=(line,)),
        TakePayment(
            at=later[0],
            order=order,
            payment_id=order.order_id,
            provider="giftdesk",
            status=PaymentStatus.CAPTURED,
            method="voucher",
            method_token=None,
            installments=1,
            amount=line.total,
            currency=CURRENCY,
        ),
        MarkOrder(at=later[1], order=order, status=OrderStatus.APPROVED, moment=later[1]),
    ]


def _markers(step: OrderStep, committed: datetime) -> list[Marker]:
    """Return the rows that a step wrote, by their keys as reporting prints them."""
    order, happened = step.order, event(step)
    month = str(order.order_month)
    keys: dict[str, Key] = {"events": (TENANT, str(happened.occurred_at.date()), str(happened.event_id))}
    if isinstance(step, TakePayment):
        keys["payments"] = (TENANT, step.payment_id)
    else:
        keys["orders"] = (TENANT, month, order.order_id)
    if isinstance(step, PlaceOrder):
        keys["order_lines"] = (TENANT, month, order.order_id, "1")
    return [Marker(table=table, key=key, updated_at=step.at, committed=committed) for table, key in keys.items()]
