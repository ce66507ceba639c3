"""Faust's consumer, which delivers the records of one fetch as one list. Pinned to faust-streaming 0.15.3.

Message by message Faust costs 180-280 CPU µs a record, most of it futures; a list at a time 60-90. And it keeps
acks in interval trees that a compacted topic's gaps fill up; here the processor knows what may be committed.

The rule that nothing is skipped: under each new assignment, and whenever something fetched was dropped, reading
starts again at what is committed. (Faust seeks back too, but not where nothing has been committed yet.) Where the
topic no longer holds that, reading ends with an error (start_offsets.py).
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import faust
from aiokafka.errors import (  # type: ignore[import-untyped]
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from aiokafka.structs import OffsetAndMetadata, TopicPartition  # type: ignore[import-untyped]
from faust.tables.manager import TableManager
from faust.transport.drivers.aiokafka import Consumer, Transport
from faust.types import TP, ConsumerMessage

from messaging.dead_letters import Record
from messaging.offsets import OffsetGone
from schemas.errors import HeadraceError, Unavailable
from streams.start_offsets import Committed

_FULL = 0.005  # seconds between checks of a full queue: less than a batch takes


class RecordBatch(NamedTuple):
    """Records of one partition, in order, fetched under the assignment numbered `assignment`."""

    assignment: int
    partition: int
    records: Sequence[Record]


Starts = Callable[[Mapping[int, Committed | None]], Mapping[int, int]]
"""Return the offset from which to read each partition, given its committed offset."""


class BatchApp(faust.App):
    """A Faust app whose events are whole batches.

    `assignment` is incremented when partitions are assigned. `starts` must be set before the app starts.
    """

    assignment = 0
    starts: Starts

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.transport = BatchTransport(self.conf.broker_consumer, self, loop=self.loop)


class NoTables(TableManager):
    """Subscribes without the second in which Faust waits for tables to be declared: Headrace declares none."""

    async def on_start(self) -> None:
        await self._update_channels()
        await self.recovery.start()


class BatchConsumer(Consumer):
    """Delivers batches to the channels that read a topic.

    `begun` are the offsets by partition from which the present assignment is read. `failure` holds the error that ended
    reading: the worker then stops.
    """

    app: Any
    started_from: Mapping[int, int] = MappingProxyType({})
    last_turn_at: float | None = None
    failure: HeadraceError | None = None

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            await self._drain(fetcher)
        except HeadraceError as error:
            self.failure = error

    async def _drain(self, fetcher: Any) -> None:
        read_from_committed = 0
        while not (self.should_stop or fetcher.should_stop):
            self.last_turn_at = time.monotonic()
            if not self.flow_active:
                await self.wait(self.can_resume_flow.wait())
                continue
            assignment = self.app.assignment
            if read_from_committed != assignment:
                read_from_committed = assignment if await self._read_from_committed() else 0
                continue
            records = await self._next_records()
            if self.should_stop or fetcher.should_stop:
                return
            if self.app.assignment != assignment or not self.flow_active:
                read_from_committed = 0
                continue
            for tp, found in (records or {}).items():
                if not await self._deliver(assignment, tp, found):
                    read_from_committed = 0
                    break

    async def _next_records(self) -> Any:
        try:
            records, _ = await self._wait_next_records(1.0)
        except NoOffsetForPartitionError:  # noted before the partition was sought to its beginning
            return None
        except OffsetOutOfRangeError as error:
            detail = f"records that were to be read next are no longer there ({error})"
            raise OffsetGone("the captured lines", detail) from None
        return records

    async def _deliver(self, assignment: int, tp: Any, found: Sequence[Any]) -> bool:
        """Return whether the batch was delivered: not when its partitions are revoked while the queue is full."""
        records = [_record(each) for each in found]
        tp = TP(tp.topic, tp.partition)
        message = ConsumerMessage(
            tp.topic,
            tp.partition,
            records[0].offset,
            records[0].timestamp / 1000,
            0,
            None,
            None,
            b"",
            None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )
        for channel in list(self.app.topics._tp_index[tp]):
            # Not `put`: a rebalance clears the queue by cancelling its waiters, which would end the fetcher.
            while channel.queue.full():
                if self.app.assignment != assignment or not self.flow_active or self.should_stop:
                    return False
                await asyncio.sleep(_FULL)
            event = faust.Event(self.app, None, RecordBatch(assignment, tp.partition, records), None, message)
            channel.queue.put_nowait(event)
        return True

    async def _read_from_committed(self) -> bool:
        """Seek all assigned partitions to their committed offset, or their beginning, and return whether it succeeded.

        Raises:
            TopicReplaced: A topic was deleted and created again.
            OffsetGone: A topic no longer holds the committed offset.
        """
        consumer = self._thread._ensure_consumer()
        try:
            assigned = list(consumer.assignment())
            committed = await self._thread.call_thread(_committed, consumer, assigned)
            starts = await asyncio.to_thread(self.app.starts, committed) if committed else {}
            self.started_from = await self._thread.call_thread(_seek, consumer, assigned, starts)
            return True
        except Unavailable as error:
            self.log.warning("No answer about where to read from: %s; see docs/runbook.md#offsets-unknown", error)
        except (IllegalStateError, KafkaError, TimeoutError) as error:
            self.log.info("Assignment changed while seeking (%s); once more", error)
        await self.sleep(0.1)
        return False

    def stall_reason(self, patience: float) -> str | None:
        """Return what has ended, or made no progress for `patience` seconds, while the service counts as running."""
        fetching = self._thread._consumer
        task = getattr(fetching and fetching._coordinator, "_coordination_task", None)
        if task is not None and task.done():
            return "the consumer group's coordination has ended"
        if self.last_turn_at is not None and self.flow_active and time.monotonic() - self.last_turn_at > patience:
            return f"nothing has been fetched or delivered for {patience:.0f} s"
        return None

    def lags(self, topic: str, done: Mapping[int, int | None]) -> dict[int, int]:
        """Return the number of records after the done offset, by partition, for fetched partitions only."""
        found: dict[int, int] = {}
        for number, offset in done.items():
            end = self.highwater(TP(topic, number))
            reached = self.started_from.get(number) if offset is None else offset
            if end is not None and reached is not None:
                found[number] = max(end - reached, 0)
        return found

    async def commit_offsets(self, topic: str, offsets: dict[int, int], metadata: str) -> bool:
        """Commit the offsets by partition, each with `metadata`. Return False if the group has reassigned them."""
        consumer = self._thread._ensure_consumer()
        found = {TopicPartition(topic, number): OffsetAndMetadata(each, metadata) for number, each in offsets.items()}
        try:
            await self._thread.call_thread(consumer.commit, found)
        except (CommitFailedError, IllegalStateError) as error:
            self.log.info("Offsets were not committed, the partitions have been given away (%s)", error)
            return False
        return True


class BatchTransport(Transport):
    """aiokafka with BatchConsumer."""

    Consumer = BatchConsumer


async def _committed(consumer: Any, partitions: Sequence[Any]) -> dict[int, Committed | None]:
    """Return the group's committed offset of each partition; aiokafka's own `committed` leaves out the metadata."""
    found = await consumer._coordinator.fetch_committed_offsets(partitions)
    return {tp.partition: Committed(*found[tp]) if tp in found else None for tp in partitions}


async def _seek(consumer: Any, partitions: Sequence[Any], starts: Mapping[int, int]) -> Mapping[int, int]:
    for tp in partitions:
        consumer.seek(tp, starts[tp.partition])
    return starts


def _record(fetched: Any) -> Record:
    return Record(
        topic=fetched.topic,
        partition=fetched.partition,
        offset=fetched.offset,
        timestamp=fetched.timestamp,
        key=fetched.key,
        value=fetched.value,
        headers=list(fetched.headers),
    )
