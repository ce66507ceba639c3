"""Process a batch: enrich, send, confirm, and only then ack. This module knows Kafka's producer, not Faust.

1. A partition's pending lines are read to their end before its first record is processed.
2. Each record is decoded and enriched. A record that can't be decoded becomes a dead letter.
3. All replicas confirm every sent record.
4. Only now may the batch's offsets be acked, up to the first line that waits for the catalog in memory.
5. An undecided line is enriched again when the catalog has passed it. It is sent again, confirmed, and released.
6. A line that blocks acks for too long is spilled to the pending topic, and blocks none once that is confirmed. Its
   tombstone follows the confirmed decision, or is sent with the change that replaces it (confirmed before that change
   is acked).

An error in any step raises: the worker stops without an ack, and another worker reads the same records again.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from messaging.dead_letters import DeadLetters, Record
from messaging.decoding import Decoding
from messaging.delivery import ConfirmedProducer
from schemas.change import Change
from schemas.errors import BadRecord
from streams import metrics, pending_topic
from streams.catalog import Catalog
from streams.enrich import Enriched, Wait, enricher
from streams.start_offsets import check_id
from streams.undecided import UndecidedLine, UndecidedLines
from streams.wiring import Wiring

_AT_ONCE = Wait(product=("", ""), due=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpillLimits:
    """Limits of the undecided lines of a partition that block acks. Beyond them lines are spilled to the pending topic.

    `lines` is a number, `seconds` an age."""

    lines: int = 5_000
    seconds: float = 5.0


@dataclass(slots=True, kw_only=True, eq=False)
class PartitionState:
    """One assigned partition.

    `done` is the offset after the last confirmed record, None before the first. `acked` is the committed offset.
    """

    number: int
    undecided: UndecidedLines = field(default_factory=UndecidedLines)
    done: int | None = None
    acked: int | None = None

    def committable(self) -> int | None:
        """Return the offset to commit, or None if there is no progress."""
        if self.done is None:
            return None
        first = self.undecided.first_unacked()
        offset = self.done if first is None else min(first, self.done)
        return offset if self.acked is None or offset > self.acked else None


@dataclass(kw_only=True, eq=False)
class Processor:
    """Enriches batches. For one event loop; `_lock` serializes what awaits a confirmation.

    `lines_id` is the id of the lines' topic, which all offsets belong to.
    """

    wiring: Wiring
    catalog: Catalog
    decoding: Decoding
    serialize: Callable[[Change], bytes]
    producer: ConfirmedProducer
    dead_letters: DeadLetters
    lines_id: str
    spill: SpillLimits = field(default_factory=SpillLimits)
    generation: int = 0
    partitions: dict[int, PartitionState] = field(default_factory=dict)

    def __post_init__(self) -> None:
        table = self.wiring.table
        self._canonical = table.captured_topics[0]
        self._enrich = enricher(table)
        self._status = [column.name for column in table.all_columns].index("enrichment_status")
        self._lock = asyncio.Lock()
        self._loaded = asyncio.Event()
        self._sent: Counter[str] = Counter()
        self._dead_lettered = False

    def assign(self, generation: int, numbers: Iterable[int]) -> None:
        """Reset to these partitions. Held lines are read again, because they were not acked. Call `load` next."""
        self.generation = generation
        self._loaded.clear()
        self.partitions = {number: PartitionState(number=number) for number in numbers}

    async def load(self) -> None:
        """Read the pending lines of the assigned partitions.

        Raises:
            Unavailable: They can't be read to their end.
            TopicReplaced: They belong to another topic's lines.
            OffsetGone: Records were deleted.
        """
        async with self._lock:
            generation = self.generation
            for partition in self.partitions.values():
                await self._read_pending(partition)
            if generation == self.generation:
                self._loaded.set()

    @property
    def loaded(self) -> bool:
        """True once records of the assigned partitions may be processed."""
        return self._loaded.is_set()

    async def revoke(self) -> dict[int, int]:
        """Release all partitions once the current batch is confirmed, and return the offsets to commit."""
        async with self._lock:
            offsets = self.committable()
            self.partitions = {}
            return offsets

    def committable(self) -> dict[int, int]:
        """Return the offsets to commit by partition. Call `committed` when that is done."""
        found = {number: partition.committable() for number, partition in self.partitions.items()}
        return {number: offset for number, offset in found.items() if offset is not None}

    def committed(self, offsets: dict[int, int]) -> None:
        """Record that these offsets have been committed."""
        for number, offset in offsets.items():
            if number in self.partitions:
                self.partitions[number].acked = offset

    async def process(self, generation: int, number: int, records: Sequence[Record]) -> None:
        """Process one batch of one partition, in order.

        A batch of an earlier assignment is dropped: the present assignment started at the committed offsets.

        Raises:
            Unavailable: A step could not be finished.
        """
        if generation == self.generation:
            await self._loaded.wait()
        async with self._lock:
            partition = self.partitions.get(number)
            if generation != self.generation or partition is None or not records:
                return
            now = time.monotonic()
            for record in records:
                # After a seek the consumer delivers records again that are done or undecided.
                if partition.done is None or record.offset >= partition.done:
                    self._process(partition, record, now)
            await self._confirmed()
            partition.done = max(partition.done or 0, records[-1].offset + 1)
            await self._spill(partition)

    async def resolve_pending(self) -> None:
        """Decide the lines that the catalog has passed, and spill those that block acks for too long."""
        async with self._lock:
            arrived = [self.catalog.arrived.popleft() for _ in range(len(self.catalog.arrived))]
            watermark = self.catalog.watermark
            for partition in self.partitions.values():
                lines = partition.undecided.pop_due(watermark, arrived)
                decided = [line for line in lines if self._decide(line)]
                if decided:
                    await self._confirmed()
                    for line in decided:
                        partition.undecided.decide(line)
                        self._tombstone(line)
                    await self._confirmed()
                for line in lines:
                    if not line.done:
                        partition.undecided.requeue(line, line.wait)
                await self._spill(partition)

    def _process(self, partition: PartitionState, record: Record, now: float) -> None:
        try:
            change = self._change(record)
        except BadRecord as error:
            self._send_dead_letter(record, error)
            return
        if change is None:
            # Retention's tombstone: a rebuild that reads the order line before it is compacted would keep it for ever.
            self.producer.send(self.wiring.enriched, record.key, None, record.headers, record.partition)
            return
        enriched = self._enrich(change, self.catalog)
        self._emit(record, enriched)
        key = record.key or b""
        if enriched.wait is None:
            earlier = partition.undecided.supersede(key, change.position)
        else:
            line = UndecidedLine(record=record, key=key, position=change.position, wait=enriched.wait, received_at=now)
            earlier = partition.undecided.track(line)
        if earlier is not None:
            self._tombstone(earlier)

    def _decide(self, line: UndecidedLine) -> bool:
        change = self._change(line.record)
        assert change is not None  # noqa: S101  # a tombstone is never tracked
        enriched = self._enrich(change, self.catalog)
        if enriched.wait is not None:
            line.wait = enriched.wait
            return False
        self._emit(line.record, enriched)
        return True

    def _change(self, record: Record) -> Change | None:
        return self.decoding.change(self._canonical, record.key, record.value, record.headers, record.offset)

    def _emit(self, record: Record, enriched: Enriched) -> None:
        row = enriched.change.row
        self._sent["delete" if row is None else str(row[self._status])] += 1
        value = self.serialize(enriched.change)
        self.producer.send(self.wiring.enriched, record.key, value, record.headers, record.partition)

    def _send_dead_letter(self, record: Record, error: BadRecord) -> None:
        self.dead_letters.send(record, error)
        self._dead_lettered = True

    def _tombstone(self, line: UndecidedLine) -> None:
        """Send the tombstone of a line that is in the pending topic."""
        if line.pending_key is not None:
            self._send_tombstone(line.record, line.pending_key)

    def _send_tombstone(self, line: Record, key: bytes) -> None:
        self.producer.send(self.wiring.pending, key, None, pending_topic.headers(line), line.partition)

    async def _spill(self, partition: PartitionState) -> None:
        spill = self.spill
        lines = partition.undecided.overdue(time.monotonic(), count=spill.lines, age=spill.seconds)
        if not lines:
            return
        keys = [pending_topic.key(line.record) for line in lines]
        for line, key in zip(lines, keys, strict=True):
            record = line.record
            headers = pending_topic.headers(record)
            self.producer.send(self.wiring.pending, key, record.value, headers, record.partition)
        await self._confirmed()
        for line, key in zip(lines, keys, strict=True):
            partition.undecided.mark_spilled(line, key)

    async def _read_pending(self, partition: PartitionState) -> None:
        wiring = self.wiring
        found = await asyncio.to_thread(
            pending_topic.read, wiring.bootstrap, wiring.pending, partition.number, wiring.lines
        )
        check_id(wiring.lines, found.lines_id, self.lines_id)
        if found.lines_id is None:
            self.producer.send(wiring.pending, pending_topic.LINES_ID, self.lines_id.encode(), (), partition.number)
        self._restore(partition, found)
        await self._confirmed()

    def _restore(self, partition: PartitionState, found: pending_topic.PendingLines) -> None:
        for record, pending_key in found.undecided:
            try:
                self._restore_line(partition, record, pending_key)
            except BadRecord as error:
                self._send_dead_letter(record, error)
        for record, key in found.obsolete:
            self._send_tombstone(record, key)

    def _restore_line(self, partition: PartitionState, record: Record, pending_key: bytes | None) -> None:
        change = self._change(record)
        if change is None:
            return
        wait = self._enrich(change, self.catalog).wait or _AT_ONCE
        key = record.key or b""
        line = UndecidedLine(
            record=record, key=key, position=change.position, wait=wait, received_at=0.0, pending_key=pending_key
        )
        partition.undecided.track(line)

    async def _confirmed(self) -> None:
        await self.producer.confirmed()
        if self._dead_lettered:
            await asyncio.to_thread(self.dead_letters.confirm)
            self._dead_lettered = False
        for status, count in self._sent.items():
            metrics.LINES.labels(status).inc(count)
        self._sent.clear()
