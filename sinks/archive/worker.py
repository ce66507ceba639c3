"""The archive worker: events of every event topic, batch by batch, into Avro files.

At least once from Kafka, once in the archive, in this order:

1. write each event to the open file of its tenant bucket and day, in the spool
2. when these are large or old enough: dead letters confirmed, then each file written, synced and given its name
3. one manifest entry adds the files and moves the offsets, together
4. tell the group's offsets, for monitoring only: the manifest's are the truth

A crash before 3 leaves nothing that a reader sees, and the same events are read again. An archive that can't be
written makes the worker rest: it drops what is spooled and what it has just fetched, keeps its partitions, reads
nothing, and begins again where the manifest is. Of two workers that think they own a partition one does the same: an
entry must begin where the archive ends.
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

REST_S, REST_LONGEST_S = 1.0, 30.0
MOST_FILES = 256  # open at once: each holds a block
_LOG = structlog.get_logger("archive")
_At = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rolling:
    """When open files are published: at `size` bytes of all of them together, or `age` seconds after the first event.
    `batch` is the most records fetched at once; `patience` the seconds that Kafka is waited for."""

    size: int = 16 << 20
    age: float = 900.0
    batch: int = 2_000
    patience: float = 60.0
    codec: Codec = "zstandard"


@dataclass(slots=True, kw_only=True)
class _Held:
    """A partition: its name in the manifest, the topic's id, where the archive ends, up to where it is spooled."""

    name: str
    topic_id: str
    start: int
    end: int


class ArchiveWorker(Service):
    """Archives the event tables of `tables`. Workers of one `group` share the partitions.

    `turn` is one turn of the loop. It raises what ends the worker: OffsetGone, Fatal, ManifestDamaged, and Unavailable
    for Kafka or the registry; an archive that is unavailable doesn't end it.
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
        self._log, self._rolling = log, rolling
        self._decoding, self._dead_letters = decoding, dead_letters
        self._datum = {table.name: _datum(table) for table in events}
        self._batch = ArchiveBatch(spool, rolling.codec)
        self._held: dict[_At, _Held] = {}
        self._began: float | None = None
        self._erasures = 0
        self._erased: set[tuple[str, str]] = set()
        self._waste: set[str] = set()
        self._rest, self._resumes = REST_S, 0.0
        self._trouble: str | None = None
        topics = [topic for table in events for topic in table.captured_topics]
        clients.topic_ids(bootstrap, topics)  # names a topic that does not exist; a subscription waits for it
        self._fetcher = Fetcher(bootstrap, group, rolling.patience)
        self._consumer = self._fetcher.consumer
        self._consumer.subscribe(topics, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)

    def finish(self) -> None:
        """Publish the open files."""
        self._publish_or_rest()

    def close(self) -> None:
        """Leaves the group; what is not published is read again by whoever comes next."""
        self._held.clear()  # so that leaving publishes nothing
        self._consumer.close()
        self._batch.discard()

    def check_ready(self) -> str | None:
        """Return None while partitions are assigned and the archive can be written, otherwise what is wrong."""
        return self._trouble or (None if self._held else "no partition is assigned yet")

    def spooled_offsets(self) -> dict[tuple[str, int], int]:
        """The first offset that is neither archived nor in an open file, of each partition that is held."""
        return {at: held.end for at, held in self._held.items()}

    def turn(self, wait: float = 1.0) -> None:
        """Fetches and spools one batch, and publishes when it is time."""
        if self._trouble is None or self._resumed(wait):
            messages = self._fetcher.fetch(self._patient(wait), most=self._rolling.batch, linger=0.1)
            if self._trouble is None:  # a callback within `fetch` may have dropped the spool: these are then read again
                self._take_or_rest(messages)

    def publish(self) -> None:
        """Steps 2 to 4 for what is open now. Raises ArchiveUnavailable, Superseded."""
        progress = tuple(
            Progress(topic=topic, partition=number, topic_id=held.topic_id, start=held.start, end=held.end)
            for (topic, number), held in self._held.items()
            if held.end > held.start
        )
        if not progress:
            return
        self._dead_letters.confirm()
        with metrics.PUBLISH_SECONDS.time():
            files = self._batch.publish(self._log.store, offsets=self._log.manifest().after(progress))
            self._waste |= {file.name for file in files}  # until an entry has them
            draft = self._log.draft(Kind.APPEND, added=files, progress=progress, erasures=self._erasures)
            self._log.commit(draft)
        self._batch.discard()
        self._began, self._rest = None, REST_S
        for held in self._held.values():
            held.start = held.end
        self._tell(progress, files)
        self._clean()

    # ---- a batch ------------------------------------------------------------------------------------------------

    def _take_or_rest(self, messages: Sequence[Message]) -> None:
        records, ends = self._fetcher.records(messages, self._held)
        try:
            self._take(records, ends)
        except (ArchiveUnavailable, Superseded) as error:
            self._take_rest(error)

    def _take(self, records: Sequence[Message], ends: dict[_At, int]) -> None:
        for message in records:
            self._spool(message)
            if self._batch.files >= MOST_FILES:
                self.publish()
        reached(FailPoint.SPOOLED)
        self._dead_letters.confirm()
        for at, end in ends.items():
            if at in self._held:
                self._advance(at, end)
        if self._due():
            self.publish()

    def _spool(self, message: Message) -> None:
        came: Any = message  # the stubs' "or None" is for messages that were made, not consumed
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
            file.note(self._held[topic, number].name, offset)
        self._advance((topic, number), offset + 1)

    def _is_erased(self, change: Change) -> bool:
        return bool(self._erased) and (str(change.key[0]), str(change.key[-1])) in self._erased

    def _advance(self, at: _At, end: int) -> None:
        held = self._held[at]
        if end > held.end:
            held.end = end
            if self._began is None:
                self._began = time.monotonic()

    def _due(self) -> bool:
        if self._began is None:
            return False
        return time.monotonic() - self._began >= self._rolling.age or self._batch.size >= self._rolling.size

    def _patient(self, wait: float) -> float:
        """How long the next fetch may take: files become old without any record coming."""
        if self._began is None:
            return wait
        return min(wait, max(0.0, self._began + self._rolling.age - time.monotonic()))

    def _tell(self, progress: Sequence[Progress], files: Sequence[ArchivedFile]) -> None:
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

    def _clean(self) -> None:
        """Deletes files that a failed entry would have added. Only now that a later one stands in its place is it sure
        that it will never come; what can't be deleted `archive compact` finds."""
        known = self._log.manifest().files
        for name in self._waste - known.keys():
            with contextlib.suppress(ArchiveUnavailable):
                self._log.store.delete(name)
        self._waste.clear()

    # ---- an archive that can't be written -----------------------------------------------------------------------

    def _publish_or_rest(self) -> None:
        try:
            self.publish()
        except (ArchiveUnavailable, Superseded) as error:
            self._take_rest(error)

    def _take_rest(self, error: Exception) -> None:
        """Drops what is spooled and reads nothing for a while; the partitions stay ours."""
        _LOG.warning("resting", seconds=self._rest, error=str(error))
        self._resumes = time.monotonic() + self._rest
        self._rest = min(2 * self._rest, REST_LONGEST_S)
        self._begin_anew(str(error))

    def _begin_anew(self, why: str) -> None:
        self._trouble = why
        metrics.RESTING.set(1)
        self._forget()
        self._consumer.pause(self._consumer.assignment())

    def _resumed(self, wait: float) -> bool:
        """Whether reading goes on: after the rest, where the manifest is. Polls meanwhile, to stay in the group."""
        left = self._resumes - time.monotonic()
        if left > 0:
            self._fetcher.fetch(min(wait, left), most=1, linger=0)
            return False
        try:
            self._rewind()
        except (ArchiveUnavailable, KafkaException) as error:
            self._take_rest(error)
            return False
        _LOG.info("going on")
        self._trouble = None
        metrics.RESTING.set(0)
        return True

    def _rewind(self) -> None:
        """Reads on in all partitions from where the manifest is."""
        places = self._places(list(self._held))
        for place in places:
            self._consumer.seek(place)
        self._consumer.resume(places)

    def _forget(self) -> None:
        """Drops what is spooled. The offsets go back with it, so that no entry can claim events that were dropped."""
        self._batch.discard()
        self._began = None
        for held in self._held.values():
            held.end = held.start

    # ---- partitions ---------------------------------------------------------------------------------------------

    def _places(self, wanted: list[_At]) -> list[TopicPartition]:
        """Takes partitions to be held from where the archive ends. Raises ArchiveUnavailable, OffsetGone."""
        topics = sorted({topic for topic, _ in wanted})
        ids = clients.topic_ids(self._bootstrap, topics)
        starts = clients.start_offsets(self._bootstrap, topics, wanted)
        manifest = self._log.manifest()
        if not self._batch.files:  # open files respect what was known when the first one was opened
            self._erasures = len(manifest.erasures)
            self._erased = {each for table in self._datum for each in manifest.erased(table)}
        for topic, number in wanted:
            id_, start = ids[topic], starts[topic, number]
            at = partition(topic, number)
            was, offset = manifest.offsets.get(at, (id_, start))
            if was != id_:  # made anew: an event counts once, so reading all of it is right
                _LOG.warning("topic replaced, read from its beginning", topic=topic, partition=number)
                offset = start
            if offset < start:
                raise OffsetGone(
                    f"{topic}/{number}",
                    f"the archive ends at {offset}, the topic begins at {start}: events are missing",
                    entry="archive-gap",
                )
            self._held[topic, number] = _Held(name=at, topic_id=id_, start=offset, end=offset)
        return [TopicPartition(topic, number, self._held[topic, number].end) for topic, number in wanted]

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        wanted = [(each.topic, each.partition) for each in partitions]
        try:
            places = self._places(wanted)
        except ArchiveUnavailable as error:
            self._held |= {at: _Held(name="", topic_id="", start=0, end=0) for at in wanted}  # until the rest is over
            consumer.incremental_assign([TopicPartition(*at, 0) for at in wanted])
            self._take_rest(error)
            return
        consumer.incremental_assign(places)
        _LOG.info("claimed", partitions=" ".join(f"{each.topic}/{each.partition}@{each.offset}" for each in places))

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._publish_or_rest()
        self._give_up(partitions)
        consumer.incremental_unassign(partitions)

    def _lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._give_up(partitions)
        self._begin_anew("partitions were lost")  # open files hold records of all of them

    def _give_up(self, partitions: list[TopicPartition]) -> None:
        for each in partitions:
            self._held.pop((each.topic, each.partition), None)
        _LOG.info("given up", partitions=" ".join(f"{each.topic}/{each.partition}" for each in partitions))


def _datum(table: Table) -> Callable[[Change, str, int], Datum]:
    names = (*(column.name for column in table.columns), *ORIGIN)

    def datum(change: Change, topic: str, number: int) -> Datum:
        at = change.position
        return dict(zip(names, (*change.row, topic, number, at.offset, at.epoch), strict=True))  # type: ignore[misc]

    return datum
