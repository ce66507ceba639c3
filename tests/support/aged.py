"""Old orders and events, written into a running pipeline as its shop would have, for retention to delete."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg

from messaging import clients, ranges
from schemas.tables import EVENTS, ORDER_LINES, ORDERS, PAYMENTS, Table
from sinks.archive.files import read
from sinks.archive.log import Log
from sinks.archive.manifest import ArchivedFile
from sinks.archive.reader import distinct, key_of
from sinks.archive.store import open_store
from tests.support.pipeline import OwnPipeline

TODAY = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
LONG_AGO = (TODAY - timedelta(days=8 * 366), TODAY - timedelta(days=8 * 366 - 40))
# The outbox has a leaf for each of these months, and one for the day.
LAST_SEASON = (TODAY - timedelta(days=130), TODAY - timedelta(days=165))
A_DAY_OLDER = TODAY - timedelta(days=91)
TRADE = (ORDERS, ORDER_LINES, PAYMENTS)


@dataclass
class Aged:
    """The rows that were written, and where they are now."""

    pipeline: OwnPipeline
    events: dict[str, str] = field(default_factory=dict)  # id → tenant
    orders: set[tuple[str, date, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.shop = self.pipeline.psql("shop", "app_writer", "HEADRACE_OLTP__APP_WRITER_PASSWORD")
        self.owner = self.pipeline.psql("shop", "migrator", "HEADRACE_OLTP__MIGRATOR_PASSWORD")
        self.reporting = self.pipeline.psql("reporting", "reporting_migrator", "HEADRACE_REPORTING__MIGRATOR_PASSWORD")
        self.bootstrap = self.pipeline.settings()["HEADRACE_KAFKA__BOOTSTRAP"]

    def close(self) -> None:
        for connection in (self.shop, self.owner, self.reporting):
            connection.close()

    def event(self, tenant: str, at: datetime) -> str:
        """One event of an order, which occurred `at`."""
        self._partitions(at)
        id_ = str(uuid4())
        self.shop.execute(
            "INSERT INTO sales.outbox_events (event_id, tenant_id, aggregate_type, aggregate_id, event_type, payload,"
            " occurred_at) VALUES (%s, %s, 'order', %s, 'OrderPlaced', '{}', %s)",
            [id_, tenant, id_, at],
        )
        self.events[id_] = tenant
        return id_

    def order(self, tenant: str, at: datetime, order_id: str | None = None) -> tuple[str, date, str]:
        """Write an order with a line and a payment."""
        self._partitions(at)
        key = (tenant, at.date().replace(day=1), order_id or f'{uuid4().hex} "\\\x01é')
        with self.shop.transaction():
            self.shop.execute(
                "INSERT INTO sales.orders (tenant_id, order_month, order_id, customer_id, status, total, currency,"
                " placed_at) VALUES (%s, %s, %s, 'c', 'placed', 12.3400, 'BRL', %s)",
                [*key, at],
            )
            self.shop.execute(
                "INSERT INTO sales.order_lines (tenant_id, order_month, order_id, line_no, sku, quantity, unit_price,"
                " freight, currency, priced_at) VALUES (%s, %s, %s, 1, 'nobody-lists-it', 1, 12.34, 0, 'BRL', %s)",
                [*key, at],
            )
            self.shop.execute(
                "INSERT INTO sales.payments (tenant_id, order_month, order_id, payment_id, provider, provider_status,"
                " method, installments, amount, currency, paid_at)"
                " VALUES (%s, %s, %s, %s, 'p', 'captured', 'card', 1, 12.34, 'BRL', %s)",
                [*key, f"pay-{key[2]}", at],
            )
        self.orders.add(key)
        return key

    def hot_events(self, days: int = 90) -> set[str]:
        found = self._old(self.owner, "sales.outbox_events", "event_id", "occurred_at", days)
        return {str(id_) for (id_,) in found}

    def reported_events(self, days: int = 90) -> set[str]:
        return {id_ for (id_,) in self._old(self.reporting, "reporting_g1.events", "event_id", "event_day", days)}

    def hot_orders(self) -> set[tuple[str, date, str]]:
        return set(self._old(self.owner, "sales.orders", "tenant_id, order_month, order_id", "order_month"))

    def reported_rows(self, *, marks: bool = True) -> int:
        """Rows of reporting that are too old; with `marks` those of deleted rows, too, which no reader sees."""
        counted = [
            f"SELECT count(*) FROM reporting_g1.{table.name} WHERE tenant_id = ANY(%s) AND "
            f"(order_month < %s OR order_month IS NULL) AND (NOT _deleted OR {marks})"
            for table in TRADE
        ]
        tenants = sorted({tenant for tenant, _, _ in self.orders})
        before = TODAY.date() - timedelta(days=7 * 365 + 35)
        return sum(self.reporting.execute(sql, [tenants, before]).fetchall()[0][0] for sql in counted)

    def log(self) -> Log:
        """Return the archive's log, read again."""
        return Log(open_store(str(self.pipeline.stack / "archive")), "test")

    def ids_in(self, file: ArchivedFile) -> set[str]:
        """Return the ids of a file's events."""
        return {datum["event_id"] for datum in read(self.log().store, file)} if file.table == EVENTS.name else set()

    def archived(self, table: Table) -> list[tuple[Any, ...]]:
        """Return the keys that a reader of the archive sees."""
        log = self.log()
        folders = log.manifest().folders(table.name).values()
        return [key_of(table)(datum) for files in folders for datum in distinct(log.store, table, files)]

    def archived_events(self) -> list[str]:
        return [str(key[-1]) for key in self.archived(EVENTS)]

    def last_values(self, topic: str) -> dict[bytes, bool]:
        """By key, whether the last record of a topic is a tombstone."""
        starts, ends = clients.start_offsets(self.bootstrap, [topic]), clients.end_offsets(self.bootstrap, [topic])
        found = ranges.records(self.bootstrap, {at: (starts[at], end) for at, end in ends.items()})
        return {bytes(message.key() or b""): message.value() is None for message in found}

    def file_of(self, day: date) -> Path:
        """Return a file with events of that day."""
        folder = self.pipeline.stack / "archive" / "events"
        return next(folder.glob(f"*/date={day}/*.avro"))

    def _partitions(self, at: datetime) -> None:
        self.owner.execute("SELECT sales.make_partitions(%s, %s)", [at.date(), at.date()])

    def _old(
        self, connection: psycopg.Connection[Any], table: str, what: str, when: str, days: int = 90
    ) -> list[tuple[Any, ...]]:
        tenants = sorted({*self.events.values(), *(tenant for tenant, _, _ in self.orders)})
        sql = f"SELECT {what} FROM {table} WHERE tenant_id = ANY(%s) AND {when} < %s"
        return connection.execute(sql, [tenants, TODAY.date() - timedelta(days=days)]).fetchall()
