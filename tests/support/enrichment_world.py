"""Topics of their own for one enrichment, and what a shop and its catalog would have put into them."""

import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import NewTopic

from messaging import clients, ranges
from messaging.dead_letters import Record, record
from messaging.decoding import Decoding
from messaging.registry import Registry
from schemas.change import Change
from schemas.tables import ORDER_LINES
from schemas.wire import EPOCH_HEADER
from streams.pending_topic import LINES_ID
from streams.wiring import Wiring
from tests.support.catalog_envelopes import CatalogEnvelopes
from tests.support.envelopes import Envelopes

Product = tuple[str, str]
_HEADERS: list[tuple[str, str | bytes | None]] = [(EPOCH_HEADER, b"1")]
PARTITIONS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing:
    """The content of the enriched topic: the newest change of each key, and every record in order."""

    newest: Mapping[tuple[Any, ...], Change]
    all: list[Change]

    def row(self, key: tuple[Any, ...]) -> dict[str, Any] | None:
        """The newest row of a key, by column; None for a delete."""
        row = self.newest[key].row
        return None if row is None else dict(zip((c.name for c in ORDER_LINES.all_columns), row, strict=True))


class World:
    """One set of topics. Lines and entries are written as capture writes them."""

    def __init__(self, bootstrap: str, registry_url: str, *, partitions: int = PARTITIONS) -> None:
        name = f"test-enrich-{uuid.uuid4().hex[:8]}"
        self.group = name
        self.wiring = Wiring(
            bootstrap=bootstrap,
            registry_url=registry_url,
            lines=f"{name}.lines",
            catalog=f"{name}.catalog",
            enriched=f"{name}.enriched",
            pending=f"{name}.pending",
            dead_letters=f"{name}.dead-letters",
        )
        self._bootstrap = bootstrap
        self._make_topics(partitions)
        self.registry = Registry(registry_url)
        self.lines = Envelopes(self.registry, ORDER_LINES)
        self.catalog = CatalogEnvelopes(self.registry)
        self._decoding = Decoding(self.registry, [ORDER_LINES])
        self.producer = clients.producer(bootstrap, queue_buffering_max_messages=1_000_000, compression_type="none")
        self._log = 0

    def _make_topics(self, partitions: int) -> None:
        wiring = self.wiring
        counts = dict.fromkeys((wiring.lines, wiring.enriched, wiring.pending), partitions)
        counts |= {wiring.catalog: 1, wiring.dead_letters: 1}
        asking = clients.admin(self._bootstrap)
        for future in asking.create_topics([NewTopic(name, count, 1) for name, count in counts.items()]).values():
            future.result(20)

    def close(self) -> None:
        """Deletes the topics that a test has left."""
        self.registry.close()
        wiring = self.wiring
        names = [wiring.lines, wiring.enriched, wiring.pending, wiring.catalog, wiring.dead_letters]
        asking = clients.admin(self._bootstrap)
        for future in asking.delete_topics(names).values():
            with suppress(KafkaException):
                future.result(20)

    def line(self, product: Product, order: str, priced_at: datetime, **changed: Any) -> dict[str, Any]:
        """A row of order_lines."""
        tenant, sku = product
        audit = {"created_at": priced_at, "created_by": "t", "updated_at": priced_at, "updated_by": "t"}
        return {
            "tenant_id": tenant,
            "order_month": date(priced_at.year, priced_at.month, 1),
            "order_id": order,
            "line_no": 1,
            "sku": sku,
            "quantity": 1,
            "unit_price": Decimal("9.9000"),
            "freight": Decimal("1.0000"),
            "currency": "BRL",
            "priced_at": priced_at,
            **audit,
            "deleted_at": None,
            "deleted_by": None,
        } | changed

    def put(self, row: Mapping[str, Any], op: str = "c", *, at: datetime | None = None, partition: int = -1) -> None:
        """Queues one change of a line, committed `at` (as it was priced, if not said). `flush` sends it."""
        self._log += 1
        value = self.lines.value(op, row, log=(self._log, self._log), at=at or row["priced_at"])
        self.raw(self.lines.key(row), value, partition=partition)

    def raw(
        self, key: bytes | None, value: bytes | None, *, partition: int = -1, headers: list[Any] | None = None
    ) -> None:
        """Queues any bytes as a line's record."""
        own = _HEADERS if headers is None else headers
        self.producer.produce(self.wiring.lines, value, key, partition, headers=own)
        self.producer.poll(0)

    def price(self, product: Product, valid_from: datetime, price: str = "10.0000", name: str = "lamp") -> None:
        """Queues an entry of price_history."""
        self._catalog_record(*self.catalog.entry(product, valid_from, Decimal(price), name=name, category="home"))

    def beat(self, at: datetime, **options: Any) -> None:
        """Queues a heartbeat: everything up to a second before `at` is known."""
        self._catalog_record(*self.catalog.heartbeat(at, **options))

    def _catalog_record(self, key: bytes, value: bytes) -> None:
        self.producer.produce(self.wiring.catalog, value, key, 0, headers=_HEADERS)
        self.producer.poll(0)

    def flush(self) -> None:
        """Returns when everything queued is stored."""
        left = self.producer.flush(60)
        assert left == 0, f"{left} records were not delivered"

    def landed(self) -> Landing:
        """Return the content of the enriched topic as a sink would land it."""
        newest: dict[tuple[Any, ...], Change] = {}
        every: list[Change] = []
        for each in self.read(self.wiring.enriched):
            topic = ORDER_LINES.landed_topics[0]
            change = self._decoding.change(topic, each.key, each.value, each.headers, each.offset)
            if change is None:  # a tombstone says nothing about a row
                continue
            every.append(change)
            known = newest.get(change.key)
            if known is None or change.position.wins_over(known.position):
                newest[change.key] = change
        return Landing(newest=newest, all=every)

    def read(self, topic: str) -> Iterable[Record]:
        """Every record that a topic holds now, in the order of each partition."""
        return map(record, ranges.everything(self._bootstrap, topic))

    def undecided(self) -> dict[bytes, bytes | None]:
        """Return the pending topic after compaction: value by key, None for a tombstone."""
        found = {each.key or b"": each.value for each in self.read(self.wiring.pending)}
        found.pop(LINES_ID, None)
        return found

    def committed(self) -> int:
        """Return the number of records of the lines' topic that the worker has acked."""
        partitions = clients.partitions(self._bootstrap, [self.wiring.lines])
        asking = clients.consumer(self._bootstrap, self.group)
        try:
            return sum(max(each.offset, 0) for each in asking.committed(partitions, 10))
        finally:
            asking.close()


def now() -> datetime:
    """The present in UTC, to the millisecond that MongoDB keeps."""
    at = datetime.now(UTC)
    return at - timedelta(microseconds=at.microsecond % 1000)
