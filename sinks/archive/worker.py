"""The archive worker: write the events of all event topics to Avro files, batch by batch.

Kafka delivers an event at least once, and the archive holds it once:

1. Write each event to the open file of its tenant bucket and day, in the spool.
2. When the files are large or old enough, confirm the dead letters, then store each file under its name.
3. Append one manifest entry that adds the files and moves the offsets, atomically.
4. Commit the consumer group's offsets, for monitoring only: the manifest's offsets are authoritative.

A crash before step 3 leaves nothing that a reader sees, and the same events are read again. While the archive can't be
written the worker pauses: it drops the spool and the fetched records, keeps its partitions, reads nothing, and resumes
at the manifest's offsets. Of two workers that both believe they own a partition, one does the same: an entry must start
where the archive ends.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from messaging import clients
from messaging.dead_letters import DeadLetters, record
from messaging.decoding import Decoding
from messaging.offsets import OffsetGone
from messaging.service import Service
from schemas.change import Change
from schemas.errors import BadRecord
from schemas.failpoints import FailPoint, reached
from schemas.tables import TABLES, Mode, Table
from sinks.archive import metrics
from sinks.archive.batch import ArchiveBatch
from sinks.archive.files import ORIGIN, Codec, Datum
from sinks.archive.log import Log, Superseded
from sinks.archive.manifest import ArchivedFile, Kind, Progress, partition
from sinks.archive.store import ArchiveUnavailable
from sinks.consumer import Fetcher

PAUSE_S, PAUSE_LONGEST_S = 1.0, 30.0
MOST_FILES = 256  # open at once: each buffers a block
_LOG = structlog.get_logger("archive")
_At = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rolling:
    """The limits at which open files are published.

    `size` is the total of all open files in bytes, `age` the seconds since the first event. `batch` is the greatest
    number of records fetched at once, and `patience` the seconds to wait for Kafka.
    """

    size: int = 16 << 20
    age: float = 900.0
    batch: int = 2_000
    patience: float = 60.0
    codec: Codec = "zstandard"


@dataclass(slots=True, kw_only=True)
class _Assignment:
    """An assigned partition: its name in the manifest, the topic's id, and the offsets at which the archive (`start`)
    and the spool (`end`) end."""

    name: str
    topic_id: str
    start: int
    end: int


class ArchiveWorker(Service):
    """Archives the event tables of `tables`. Workers of one `group` share the partitions.

    `turn` runs one turn of the loop. It raises the errors that end the worker: OffsetGone, Fatal, ManifestDamaged, and
    Unavailable for Kafka or the registry. While the archive is unavailable the worker pauses and doesn't end.
    """

    def __init__(  # noqa: PLR0913  # the composition root's one call
        self,
        *,
        bootstrap: str,
        group: str,
        log: Log,
        spool: Path,
        decoding: Decoding,
        dead_letters: DeadLetters,
        tables: Iterable[Table] = TABLES,
        rolling: Rolling = Rolling(),
    ) -> None:
        super().__init__("archive")
        events = [table for table in tables if table.mode is Mode.EVENT]
        self._bootstrap = bootstrap
        self._archive_log, self._rolling = log, rolling
        self._decoding, self._dead_letters = decoding, dead_letters
        self._datum = {table.name: _datum(table) for table in events}
        self._batch = ArchiveBatch(spool, rolling.codec)
        self._assignments: dict[_At, _Assignment] = {}
        self._opened_at: float | None = None
        self._erasures = 0
        self._erased: set[tuple[str, str]] = set()
        self._unconfirmed: set[str] = set()
        self._pause_s, self._resume_at = PAUSE_S, 0.0
        self._problem: str | None = None
        topics = [topic for table in events for topic in table.captured_topics]
        clients.topic_ids(bootstrap, topics)  # raises for a missing topic, for which a subscription would wait
        self._fetcher = Fetcher(bootstrap, group, rolling.patience)
        self._consumer = self._fetcher.consumer
        self._consumer.subscribe(topics, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)

    def finish(self) -> None:
        """Publish the open files."""
        self._publish_or_pause()

    def close(self) -> None:
        """Leave the group. The next owner of the partitions reads the unpublished records again."""
        self._assignments.clear()  # so that leaving the group publishes nothing
        self._consumer.close()
        self._batch.discard()

    def check_ready(self) -> str | None:
        """Return None while partitions are assigned and the archive can be written, otherwise what is wrong."""
        return self._problem or (None if self._assignments else "no partition is assigned yet")

    def spooled_offsets(self) -> dict[tuple[str, int], int]:
        """Return the first offset that is neither archived nor spooled, of each assigned partition."""
        return {at: assignment.end for at, assignment in self._assignments.items()}

    def turn(self, wait: float = 1.0) -> None:
        """Fetch and spool one batch, and publish the open files when they are due."""
        if self._problem is None or self._try_resume(wait):
            messages = self._fetcher.fetch(self._fetch_timeout(wait), most=self._rolling.batch, linger=0.1)
            if self._problem is None:  # else a rebalance within `fetch` dropped the spool: the records are read again
                self._spool_or_pause(messages)

    def publish(self) -> None:
        """Run steps 2 to 4 for the open files. Raises ArchiveUnavailable, Superseded."""
        progress = tuple(
            Progress(
                topic=topic, partition=number, topic_id=assignment.topic_id, start=assignment.start, end=assignment.end
            )
            for (topic, number), assignment in self._assignments.items()
            if assignment.end > assignment.start
        )
        if not progress:
            return
        self._dead_letters.confirm()
        with metrics.PUBLISH_SECONDS.time():
            files = self._batch.publish(self._archive_log.store, offsets=self._archive_log.manifest().after(progress))
            self._unconfirmed |= {file.name for file in files}  # until an entry is known to have added them
            draft = self._archive_log.draft(Kind.APPEND, added=files, progress=progress, erasures=self._erasures)
            self._archive_log.commit(draft)
        self._batch.discard()
        self._opened_at, self._pause_s = None, PAUSE_S
        for assignment in self._assignments.values():
            assignment.start = assignment.end
        self._report(progress, files)
        self._delete_unconfirmed()

    # ---- a batch ------------------------------------------------------------------------------------------------

    def _spool_or_pause(self, messages: Sequence[Message]) -> None:
        records, ends = self._fetcher.records(messages, self._assignments)
        try:
            self._spool_batch(records, ends)
        except (ArchiveUnavailable, Superseded) as error:
            self._pause(error)

    def _spool_batch(self, records: Sequence[Message], ends: dict[_At, int]) -> None:
        for message in records:
            self._spool(message)
            if self._batch.files >= MOST_FILES:
                self.publish()
        reached(FailPoint.SPOOLED)
        self._dead_letters.confirm()
        for at, end in ends.items():
            if at in self._assignments:
                self._advance(at, end)
        if self._is_due():
            self.publish()

    def _spool(self, message: Message) -> None:
        came: Any = message  # the stubs allow None for messages that were not consumed
        topic, number, offset = came.topic(), came.partition(), came.offset()
        try:
            change = self._decoding.change(topic, came.key(), came.value(), came.headers(), offset)
        except BadRecord as error:
            _LOG.warning("dead letter", topic=topic, partition=number, offset=offset, error=str(error))
            self._dead_letters.send(record(message), error)
            change = None
        if change is not None and change.row is not None and not self._is_erased(change):
            datum = self._datum[change.table.name](change, topic, number)
            file = self._batch.file(change.table, str(change.key[0]), datum[str(change.table.ages_by)])
            file.write(change.key, datum, change.source_time)
            file.note(self._assignments[topic, number].name, offset)
        self._advance((topic, number), offset + 1)

    def _is_erased(self, change: Change) -> bool:
        return bool(self._erased) and (str(change.key[0]), str(change.key[-1])) in self._erased

    def _advance(self, at: _At, end: int) -> None:
        assignment = self._assignments[at]
        if end > assignment.end:
            assignment.end = end
            if self._opened_at is None:
                self._opened_at = time.monotonic()

    def _is_due(self) -> bool:
        if self._opened_at is None:
            return False
        return time.monotonic() - self._opened_at >= self._rolling.age or self._batch.size >= self._rolling.size

    def _fetch_timeout(self, wait: float) -> float:
        """Return how long the next fetch may wait, in seconds: open files reach their age without new records, too."""
        if self._opened_at is None:
            return wait
        return min(wait, max(0.0, self._opened_at + self._rolling.age - time.monotonic()))

    def _report(self, progress: Sequence[Progress], files: Sequence[ArchivedFile]) -> None:
        metrics.EVENTS.inc(sum(file.rows for file in files))
        metrics.BYTES.inc(sum(file.size for file in files))
        metrics.FILES.inc(len(files))
        ends = [TopicPartition(each.topic, each.partition, each.end) for each in progress]
        self._consumer.commit(offsets=ends, asynchronous=True)
        reached(FailPoint.OFFSETS_COMMITTED)
        for each in ends:
            bounds = self._consumer.get_watermark_offsets(each, cached=True)
            lag = max(0, bounds[1] - each.offset) if bounds else 0
            metrics.LAG_RECORDS.labels(each.topic, each.partition).set(lag)

    def _delete_unconfirmed(self) -> None:
        """Delete files that a failed entry would have added: a later entry has taken its number, so it never comes.

        `archive compact` deletes those that can't be deleted now.
        """
        known = self._archive_log.manifest().files
        for name in self._unconfirmed - known.keys():
            with contextlib.suppress(ArchiveUnavailable):
                self._archive_log.store.delete(name)
        self._unconfirmed.clear()

    # ---- pausing while the archive can't be written ---------------------------------------------------------------

    def _publish_or_pause(self) -> None:
        try:
            self.publish()
        except (ArchiveUnavailable, Superseded) as error:
            self._pause(error)

    def _pause(self, error: Exception) -> None:
        """Drop the spool and read nothing for a while. The partitions stay assigned."""
        _LOG.warning("paused", seconds=self._pause_s, error=str(error))
        self._resume_at = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, PAUSE_LONGEST_S)
        self._drop_and_pause(str(error))

    def _drop_and_pause(self, why: str) -> None:
        self._problem = why
        metrics.RESTING.set(1)
        self._drop_spool()
        self._consumer.pause(self._consumer.assignment())

    def _try_resume(self, wait: float) -> bool:
        """Resume from the manifest's offsets once the pause is over, and return whether that succeeded.

        Until then, poll to stay in the group.
        """
        left = self._resume_at - time.monotonic()
        if left > 0:
            self._fetcher.fetch(min(wait, left), most=1, linger=0)
            return False
        try:
            self._seek_to_manifest()
        except (ArchiveUnavailable, KafkaException) as error:
            self._pause(error)
            return False
        _LOG.info("resumed")
        self._problem = None
        metrics.RESTING.set(0)
        return True

    def _seek_to_manifest(self) -> None:
        """Continue all partitions from the manifest's offsets."""
        offsets_to_seek = self._assign(list(self._assignments))
        for offset in offsets_to_seek:
            self._consumer.seek(offset)
        self._consumer.resume(offsets_to_seek)

    def _drop_spool(self) -> None:
        """Drop the spool and reset its offsets, so that no entry can claim dropped events."""
        self._batch.discard()
        self._opened_at = None
        for assignment in self._assignments.values():
            assignment.end = assignment.start

    # ---- partitions ---------------------------------------------------------------------------------------------

    def _assign(self, wanted: list[_At]) -> list[TopicPartition]:
        """Start partitions at the archive's end; return the offsets to seek. Raises ArchiveUnavailable, OffsetGone."""
        topics = sorted({topic for topic, _ in wanted})
        ids = clients.topic_ids(self._bootstrap, topics)
        starts = clients.start_offsets(self._bootstrap, topics, wanted)
        manifest = self._archive_log.manifest()
        if not self._batch.files:  # open files respect the erasures known when the first one was opened
            self._erasures = len(manifest.erasures)
            self._erased = {each for table in self._datum for each in manifest.erased(table)}
        for topic, number in wanted:
            id_, start = ids[topic], starts[topic, number]
            at = partition(topic, number)
            was, offset = manifest.offsets.get(at, (id_, start))
            if was != id_:  # created again: each event is archived once, so reading all of it is safe
                _LOG.warning("topic replaced, reading from its beginning", topic=topic, partition=number)
                offset = start
            if offset < start:
                raise OffsetGone(
                    f"{topic}/{number}",
                    f"the archive ends at {offset}, the topic begins at {start}: events are missing",
                    entry="archive-gap",
                )
            self._assignments[topic, number] = _Assignment(name=at, topic_id=id_, start=offset, end=offset)
        return [TopicPartition(topic, number, self._assignments[topic, number].end) for topic, number in wanted]

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        wanted = [(each.topic, each.partition) for each in partitions]
        try:
            offsets_to_seek = self._assign(wanted)
        except ArchiveUnavailable as error:
            unknown = {at: _Assignment(name="", topic_id="", start=0, end=0) for at in wanted}
            self._assignments |= unknown  # until the pause is over
            consumer.incremental_assign([TopicPartition(*at, 0) for at in wanted])
            self._pause(error)
            return
        consumer.incremental_assign(offsets_to_seek)
        names = [f"{each.topic}/{each.partition}@{each.offset}" for each in offsets_to_seek]
        _LOG.info("assigned", partitions=" ".join(names))

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._publish_or_pause()
        self._unassign(partitions)
        consumer.incremental_unassign(partitions)

    def _lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._unassign(partitions)
        self._drop_and_pause("partitions were lost")  # open files hold records of all partitions

    def _unassign(self, partitions: list[TopicPartition]) -> None:
        for each in partitions:
            self._assignments.pop((each.topic, each.partition), None)
        _LOG.info("unassigned", partitions=" ".join(f"{each.topic}/{each.partition}" for each in partitions))


def _datum(table: Table) -> Callable[[Change, str, int], Datum]:
    names = (*(column.name for column in table.columns), *ORIGIN)

    def datum(change: Change, topic: str, number: int) -> Datum:
        at = change.position
        return dict(zip(names, (*change.row, topic, number, at.offset, at.epoch), strict=True))  # type: ignore[misc]

    return datum
