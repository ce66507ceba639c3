"""Read the catalog's topic from its beginning to its end, then follow it, in a thread with its own consumer.

Not Faust's GlobalTable: its recovery does not take a topic that others write (measured; see 0002).
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

from confluent_kafka import Message
from prometheus_client import Counter

from messaging.clients import end_offsets, start_offsets
from messaging.dead_letters import DeadLetters, record
from messaging.decoding import OTHER_SHAPE, Decoding, epoch, trouble
from messaging.ranges import RangeReader
from messaging.registry import Registry
from schemas.decoders import mongo
from schemas.decoders.values import microseconds
from schemas.errors import BadRecord, HeadraceError
from schemas.tables import Table
from streams import clocks, metrics
from streams.asof import CatalogEntry, Product
from streams.catalog import Catalog
from streams.log_filter import RateLimitedFilter
from streams.start_offsets import check_whole
from streams.wiring import Wiring

_LOG = logging.getLogger("headrace.enrich.catalog")
_LOG.addFilter(RateLimitedFilter())

BAD = Counter("headrace_catalog_bad_records", "Catalog records that could not be decoded; each is a dead letter.")


class CatalogReader:
    """Keeps `catalog` up to date with the catalog's topic, which holds entries and heartbeats.

    `registry` belongs to the reader, because it is for one thread; the reader closes it. `loaded` is set once all
    records that existed at the start have been read. `moved_at` is the time of the last read. `failure` holds the error
    that ended the reader: the worker then stops, because its lines would stay undecided for ever.
    """

    def __init__(
        self, catalog: Catalog, wiring: Wiring, registry: Registry, dead_letters: Callable[[], DeadLetters]
    ) -> None:
        self._catalog = catalog
        self._topic = wiring.catalog
        self._bootstrap = wiring.bootstrap
        table = wiring.catalog_table
        self._registry = registry
        self._decoding = Decoding(self._registry, [table])
        self._canonical = table.captured_topics[0]
        self._entry = entry_reader(table)
        self._new_dead_letters = dead_letters
        self._dead_letters: DeadLetters | None = None
        self._stop = threading.Event()
        self.loaded = threading.Event()
        self.failure: HeadraceError | None = None
        self.progress_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="catalog", daemon=True)

    def start(self) -> None:
        """Start reading."""
        self._thread.start()

    def stop(self) -> None:
        """Stop reading, and return when the consumer is closed."""
        self._stop.set()
        if self._thread.ident:
            self._thread.join(10)

    def _run(self) -> None:
        try:
            self._follow()
        except HeadraceError as error:
            self.failure = error
        except Exception as error:  # a thread that ends unnoticed would leave every line undecided
            self.failure = HeadraceError(f"the catalog's reader failed: {type(error).__name__} {error}")

    def _follow(self) -> None:
        end = self._end()
        try:
            with RangeReader(self._bootstrap, {(self._topic, 0): 0}) as reader:
                self._read(reader, end)
        finally:
            self._registry.close()

    def _end(self) -> int:
        ends = end_offsets(self._bootstrap, [self._topic])
        if len(ends) != 1:
            raise HeadraceError(
                f"{self._topic} has {len(ends)} partitions, expected 1: a heartbeat says how far the catalog is known "
                "only where entries and heartbeats are in one order (docs/decisions/0002-catalog-watermark.md)"
            )
        check_whole(f"{self._topic}/0", start_offsets(self._bootstrap, [self._topic])[self._topic, 0])
        return ends[self._topic, 0]

    def _read(self, reader: RangeReader, end: int) -> None:
        position = 0
        while not self._stop.is_set():
            messages, reached = reader.read(0.2)
            self.apply(messages)
            if reached:
                self.progress_at = time.monotonic()
            position = max([position, *reached.values()])
            if position >= end:
                self.loaded.set()

    def apply(self, messages: list[Message]) -> None:
        """Apply one batch in its order: the entries, then the last heartbeat."""
        heartbeats: list[Message] = []
        for message in messages:
            if message.value() is None:
                continue
            try:
                if mongo.document_id(_key(message)) == mongo.HEARTBEAT_ID:
                    heartbeats.append(message)
                else:
                    self._add(message)
            except BadRecord as error:
                self._send_dead_letter(message, error)
        # At a start there are thousands of heartbeats; only the last valid one has to be decoded.
        for message in reversed(heartbeats):
            try:
                beat = self._heartbeat(message)
            except BadRecord as error:
                self._send_dead_letter(message, error)
                continue
            if beat is not None:
                self._apply_heartbeat(beat)
                return

    def _add(self, message: Message) -> None:
        late = self._catalog.add(*self._entry(self._change(message)))
        if late and self.loaded.is_set():  # before that, no line has been decided
            metrics.LATE_ENTRIES.inc()
            _LOG.warning(
                "the entry at %s/%s@%s arrived when the catalog counted as known: lines may have been decided without "
                "it; see docs/runbook.md#catalog-entry-late",
                message.topic(),
                message.partition(),
                message.offset(),
            )

    def _apply_heartbeat(self, beat: mongo.Heartbeat) -> None:
        now = datetime.now(UTC)
        self._catalog.heartbeat(clocks.trusted_time(beat, now))
        clock = clocks.clock_problem(beat, now) if self.loaded.is_set() else None
        if clock is not None:
            metrics.CLOCK_DOUBTS.labels(clock).inc()
            _LOG.warning(
                "MongoDB's clock is %s: it says %s at cluster time %s, this worker's clock says %s; "
                "see docs/runbook.md#catalog-clock",
                clock,
                beat.at,
                beat.logged,
                now,
            )

    def _change(self, message: Message) -> Any:
        return self._decoding.change(
            self._canonical, _key(message), cast(bytes, message.value()), cast(Any, message.headers()), 0
        )

    def _heartbeat(self, message: Message) -> mongo.Heartbeat | None:
        epoch(cast(Any, message.headers()))
        datum = self._registry.decode(cast(bytes, message.value()))
        try:
            return mongo.heartbeat(_key(message), datum)
        except OTHER_SHAPE as error:
            raise BadRecord(f"not a heartbeat: {trouble(error)}") from None

    def _send_dead_letter(self, message: Message, error: BadRecord) -> None:
        BAD.inc()
        if self._dead_letters is None:
            self._dead_letters = self._new_dead_letters()
        self._dead_letters.send(record(message), error)
        self._dead_letters.confirm()


def entry_reader(table: Table) -> Callable[[Any], tuple[Product, CatalogEntry]]:
    """Return a function from a change of the catalog's table to its entry, which raises BadRecord for a delete."""
    names = [column.name for column in table.columns]
    indexes = [names.index(name) for name in ("tenant_id", "sku", "valid_from", "name", "category", "price")]

    def read(change: Any) -> tuple[Product, CatalogEntry]:
        if change.row is None:
            raise BadRecord(
                f"{table.name} is append-only: expected an entry, got a delete (a correction is a new entry)",
                entry="catalog-entry-refused",
            )
        tenant, sku, valid_from, name, category, price = (change.row[index] for index in indexes)
        return (tenant, sku), CatalogEntry(microseconds(valid_from), name, category, price)

    return read


def _key(message: Message) -> bytes | None:
    return message.key()
