"""A landing of a test's own: a captured table's topic, written as Debezium writes it, and workers on it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import psycopg
from confluent_kafka.admin import NewTopic

from messaging import clients, dead_letters
from messaging.decoding import Decoding
from messaging.registry import Registry
from operations import connections
from operations.settings import Settings
from schemas.tables import ORDERS
from schemas.wire import EPOCH_HEADER
from sinks.reporting.port import Reporting
from sinks.reporting.postgres.driver import PostgresReporting
from sinks.reporting.worker import SinkLimits, SinkWorker
from tests.support.envelopes import Envelopes

GENERATION = 72
EPOCH = [(EPOCH_HEADER, b"1")]
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@dataclass
class Landing:
    """Orders of one tenant in a topic of two partitions, and what lands of them in generation 72."""

    settings: Settings
    name: str = field(default_factory=lambda: f"test_landing_{uuid4().hex[:10]}")
    workers: list[SinkWorker] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.bootstrap = self.settings.kafka.bootstrap
        self.table = replace(ORDERS, schema=self.name)
        (self.topic,) = self.table.captured_topics
        self.dead_letter_topic = f"{self.name}.dead-letters"
        self.registry = Registry(self.settings.registry.url)
        self.envelopes = Envelopes(self.registry, self.table)
        self.producer = clients.producer(self.bootstrap)
        self.admin = clients.admin(self.bootstrap)
        self.make_topics()
        self.sent = 0

    def make_topics(self) -> None:
        topics = [NewTopic(self.topic, 2, 1), NewTopic(self.dead_letter_topic, 1, 1)]
        present = self.admin.list_topics().topics
        made = self.admin.create_topics([topic for topic in topics if topic.topic not in present])
        for future in made.values():
            future.result()

    def row(self, order_id: str, **changed: Any) -> dict[str, Any]:
        row = {column.name: None for column in ORDERS.columns} | {
            "tenant_id": self.name,
            "order_month": date(2026, 11, 1),
            "order_id": order_id,
            "customer_id": "c-1",
            "status": "placed",
            "total": Decimal("12.3400"),
            "currency": "BRL",
            "placed_at": NOON,
            "created_at": NOON,
            "created_by": "shop",
            "updated_at": NOON,
            "updated_by": "shop",
        }
        return row | changed

    def value(self, order_id: str, op: str = "u", **changed: Any) -> bytes:
        self.sent += 1
        return self.envelopes.value(op, self.row(order_id, **changed), log=(self.sent, self.sent), at=datetime.now(UTC))

    def put(self, order_id: str, op: str = "u", **changed: Any) -> None:
        """Send a change, as capture does."""
        self.send(self.envelopes.key(self.row(order_id)), self.value(order_id, op, **changed))

    def send(self, key: bytes | None, value: bytes | None, headers: Any = EPOCH, partition: int = -1) -> None:
        """Send any record."""
        self.producer.produce(self.topic, key=key, value=value, headers=headers, partition=partition)
        assert self.producer.flush(30) == 0

    def worker(
        self,
        *,
        group: str | None = None,
        reporting: Reporting | None = None,
        registry: Registry | None = None,
        letters: dead_letters.DeadLetters | None = None,
        **pace: Any,
    ) -> SinkWorker:
        """Return a worker of the topic's group, which is closed at the end of the test."""
        worker = SinkWorker(
            bootstrap=self.bootstrap,
            group=group or self.name,
            reporting=reporting or PostgresReporting(self.conninfo, GENERATION),
            decoding=Decoding(registry or self.registry, [self.table]),
            dead_letters=letters or dead_letters.DeadLetters(self.producer, "test", topic=self.dead_letter_topic),
            tables=[self.table],
            pace=SinkLimits(**{"linger": 0.05, "patience": 20.0} | pace),
        )
        self.workers.append(worker)
        return worker

    @property
    def conninfo(self) -> str:
        return connections.reporting_conninfo(self.settings, "writer")

    def drain(self, *workers: SinkWorker, deadline_s: float = 240) -> None:
        """Turn the workers until every present record of the topic has landed."""
        ends = clients.end_offsets(self.bootstrap, [self.topic])
        give_up = time.monotonic() + deadline_s
        while self.checkpoints() != ends:
            assert time.monotonic() < give_up, f"at {self.checkpoints()} of {ends}"
            for worker in workers:
                worker.turn(0.2)

    def checkpoints(self) -> dict[tuple[str, int], int]:
        query = f"SELECT topic, partition, next_offset FROM reporting_g{GENERATION}.checkpoint WHERE topic = %s"
        with psycopg.connect(self.conninfo) as connection:
            return {(topic, partition): offset for topic, partition, offset in connection.execute(query, (self.topic,))}

    def statuses(self) -> dict[str, str]:
        """Order id → status of what is in reporting, "(deleted)" for a deleted one."""
        query = f"SELECT order_id, status, _deleted FROM reporting_g{GENERATION}.orders WHERE tenant_id = %s"
        with psycopg.connect(self.conninfo) as connection:
            return {
                order_id: "(deleted)" if deleted else status
                for order_id, status, deleted in connection.execute(query, (self.name,))
            }

    def letters(self) -> list[dead_letters.DeadLetter]:
        return dead_letters.listing(self.bootstrap, topic=self.dead_letter_topic)

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        self.registry.close()
        for future in self.admin.delete_topics([self.topic, self.dead_letter_topic]).values():
            future.exception()


@contextmanager
def landing_line(settings: Settings) -> Iterator[Landing]:
    line = Landing(settings)
    try:
        yield line
    finally:
        line.close()
