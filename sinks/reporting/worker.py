"""The reporting sink: records of every landed topic, batch by batch, into one generation of reporting.

At least once from Kafka, exactly one effect in reporting: the checkpoint commits with the rows.
"""

import gc
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import structlog
from confluent_kafka import Message, TopicPartition

from messaging.dead_letters import DeadLetters, record
from messaging.decoding import Decoding
from messaging.rate_limit import RateLimit
from messaging.service import Service
from schemas.change import Change
from schemas.errors import BadRecord
from schemas.tables import Table, reported
from schemas.wire import EPOCH_HEADER
from sinks.consumer import Fetcher
from sinks.reporting import metrics
from sinks.reporting.assignments import Assignments
from sinks.reporting.bisect import bisect
from sinks.reporting.port import Batch, Checkpoint, Landed, Partition, Poison, Reporting
from sinks.reporting.retrying import RetryingReporting

_LOG = structlog.get_logger("sink")
_Item = tuple[Message, Change]


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkLimits:
    """The limits of a sink worker.

    Attributes:
        batch: The most records of a transaction.
        linger: Seconds for which a first record waits for more.
        patience: Seconds for which a transient error is retried.
        rate: The most records a second; 0 for no limit.
    """

    batch: int = 10_000
    linger: float = 0.1
    patience: float = 60.0
    rate: float = 0


class SinkWorker(Service):
    """Lands `tables` from their topics, except records that were captured before `epoch`.

    Workers of one `group` share the partitions. `turn` is one turn of the loop. It raises the errors that end the
    worker: Fenced, Fatal, Unavailable.
    """

    def __init__(  # noqa: PLR0913  # the composition root's one call
        self,
        *,
        bootstrap: str,
        group: str,
        reporting: Reporting,
        decoding: Decoding,
        dead_letters: DeadLetters,
        tables: Iterable[Table] = reported(),
        epoch: int = 1,
        pace: SinkLimits = SinkLimits(),
    ) -> None:
        super().__init__("sink")
        self._reporting = RetryingReporting(reporting, pace.patience)
        self._decoding, self._dead_letters = decoding, dead_letters
        self._topics = [topic for table in tables for topic in table.landed_topics]
        self._epoch = epoch
        self._known_epochs: frozenset[int] = frozenset()
        self._pace = pace
        self._throttle = RateLimit(pace.rate)
        self._assignments = Assignments(bootstrap, self._reporting)
        self._fetcher = Fetcher(bootstrap, group, pace.patience)
        self._consumer = self._fetcher.consumer
        self._assignments.subscribe(self._consumer, self._topics)
        self._reported: set[Partition] = set()

    def run(self, http_port: int | None = None, http_host: str = "127.0.0.1") -> None:
        """Run as `Service.run` does, with a garbage collector that suits batches."""
        # A batch is a million short-lived objects without a cycle among them: collecting every 700 of them cost a fifth
        # of the worker's time.
        gc.freeze()
        gc.set_threshold(200_000, 20, 100)
        super().run(http_port, http_host)

    def close(self) -> None:
        """Leave the group and close the connection to reporting."""
        self._consumer.close()
        self._reporting.close()

    def check_ready(self) -> str | None:
        """Return None while partitions are assigned, otherwise what is missing."""
        return None if self._assignments.owned else "no partition is assigned yet"

    def landed_offsets(self) -> dict[Partition, int]:
        """Return the first offset that has not landed, of each partition that this worker holds."""
        return {at: checkpoint.next_offset for at, checkpoint in self._assignments.owned.items()}

    def turn(self, wait: float = 1.0) -> Landed | None:
        """Fetch, decode and land one batch. Return None when no record came within `wait` seconds."""
        messages = self._fetcher.fetch(wait, most=self._throttle.most(self._pace.batch), linger=self._pace.linger)
        items, checkpoints = self._decode(messages)
        self._dead_letters.confirm()
        landed = self._land(items, checkpoints) if checkpoints else None
        self._assignments.record(checkpoints)
        self.pause = self._throttle.pause(len(messages), time.monotonic())
        self._report_progress(messages, checkpoints)
        return landed

    def _decode(self, messages: Sequence[Message]) -> tuple[list[_Item], dict[Partition, Checkpoint]]:
        items: list[_Item] = []
        records, ends = self._fetcher.records(messages, self._assignments.owned)
        change_of = self._decoding.change
        message: Any  # the stubs' "or None" is for messages that were created, not consumed
        for message in records:
            try:
                change = change_of(message.topic(), message.key(), message.value(), message.headers(), message.offset())
                if change is not None and change.position.epoch >= self._epoch:
                    items.append((message, change))
            except BadRecord as error:
                self._send_dead_letter(message, error)
        return self._of_known_epochs(items), self._moved_checkpoints(ends)

    def _of_known_epochs(self, items: list[_Item]) -> list[_Item]:
        """Return the items without those of an epoch that reporting doesn't know, which become dead letters.

        Otherwise a record of any writer to the topic could beat every later change. An epoch is recorded before capture
        stamps it on a record.
        """
        if {change.position.epoch for _, change in items} <= self._known_epochs:
            return items
        self._known_epochs = self._reporting.epochs()
        known = []
        for message, change in items:
            epoch = change.position.epoch
            if epoch in self._known_epochs:
                known.append((message, change))
            else:
                error = BadRecord(f"reporting knows no epoch {epoch}", field=EPOCH_HEADER, entry="epoch-unknown")
                self._send_dead_letter(message, error)
        return known

    def _moved_checkpoints(self, ends: dict[tuple[str, int], int]) -> dict[Partition, Checkpoint]:
        owned = self._assignments.owned
        return {
            Partition(*at): replace(owned[Partition(*at)], next_offset=end)
            for at, end in ends.items()
            if at in owned and end > owned[Partition(*at)].next_offset
        }

    def _land(self, items: Sequence[_Item], checkpoints: dict[Partition, Checkpoint]) -> Landed:
        started = time.perf_counter()
        changes = [change for _, change in items]
        try:
            landed = self._reporting.land(Batch(changes=changes, checkpoints=checkpoints))
        except Poison:
            landed = self._land_without_bad_rows(items, checkpoints)
        metrics.LAND_SECONDS.observe(time.perf_counter() - started)
        metrics.LATENCY.observe(changes, datetime.now(UTC))
        metrics.FOLDED.inc(landed.folded)
        metrics.WRITTEN.inc(landed.written)
        metrics.REFUSED.inc(landed.refused)
        return landed

    def _land_without_bad_rows(self, items: Sequence[_Item], checkpoints: dict[Partition, Checkpoint]) -> Landed:
        metrics.POISONED.inc()
        unmoved = {partition: self._assignments.owned[partition] for partition in checkpoints}
        landed = Landed(folded=0, written=0)

        def land(some: Sequence[_Item]) -> None:
            nonlocal landed
            landed += self._reporting.land(Batch(changes=[change for _, change in some], checkpoints=unmoved))

        for (message, _), poison in bisect(land, items):
            self._send_dead_letter(message, poison)
        self._dead_letters.confirm()
        # Only now, with the bad rows safe, may the checkpoint pass them.
        self._reporting.land(Batch(changes=(), checkpoints=checkpoints))
        return landed

    def _send_dead_letter(self, message: Message, error: BadRecord | Poison) -> None:
        source = record(message)
        _LOG.warning(
            "dead letter", topic=source.topic, partition=source.partition, offset=source.offset, error=str(error)
        )
        self._dead_letters.send(source, error)

    def _report_progress(self, messages: Sequence[Message], checkpoints: dict[Partition, Checkpoint]) -> None:
        """Metrics, and the group's offsets, which are for monitoring only: nothing ever reads on from them."""
        if checkpoints:
            metrics.BATCH.observe(len(messages))
            offsets = [TopicPartition(*at, checkpoint.next_offset) for at, checkpoint in checkpoints.items()]
            self._consumer.commit(offsets=offsets, asynchronous=True)
        for released in self._reported - self._assignments.owned.keys():
            metrics.remove_partition(released)
        self._reported = set(self._assignments.owned)
        last = {(message.topic(), message.partition()): message.timestamp()[1] for message in messages}
        for at, checkpoint in self._assignments.owned.items():
            bounds = self._consumer.get_watermark_offsets(TopicPartition(*at), cached=True)
            lag = max(0, bounds[1] - checkpoint.next_offset) if bounds else 0
            metrics.LAG_RECORDS.labels(*at).set(lag)
            if lag == 0:
                metrics.LAG_SECONDS.labels(*at).set(0)
            elif last.get(at, -1) > 0:
                metrics.LAG_SECONDS.labels(*at).set(time.time() - last[at] / 1000)
