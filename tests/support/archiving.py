"""An archive of a test's own: an event topic, written to as capture would, and workers that archive it."""

import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from confluent_kafka import TopicPartition
from confluent_kafka.admin import NewTopic

from messaging import clients, dead_letters
from messaging.decoding import Decoding
from messaging.registry import Registry
from operations.settings import Settings
from schemas.tables import EVENTS
from schemas.wire import EPOCH_HEADER
from sinks.archive.batch import spooling
from sinks.archive.files import read
from sinks.archive.log import Log
from sinks.archive.manifest import ArchivedFile, partition
from sinks.archive.reader import distinct
from sinks.archive.store import Store, open_store
from sinks.archive.worker import ArchiveWorker, Rolling
from tests.support.eventually import eventually
from tests.support.outbox import Outbox, events

EPOCH = [(EPOCH_HEADER, b"1")]
BEGIN = datetime(2026, 8, 3, 9, tzinfo=UTC)


@dataclass
class Archiving:
    """Events in a topic of two partitions, and what the archive at `url` holds of them."""

    settings: Settings
    url: str
    endpoint: str | None = None
    name: str = field(default_factory=lambda: f"test_archive_{uuid4().hex[:10]}")
    closing: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.bootstrap = self.settings.kafka.bootstrap
        self.table = replace(EVENTS, aggregates=(self.name,))
        (self.topic,) = self.table.captured_topics
        self.dead_letter_topic = f"{self.name}.dead-letters"
        self.registry = Registry(self.settings.registry.url)
        self.outbox = Outbox(self.registry, self.table)
        self.producer = clients.producer(self.bootstrap)
        self.admin = clients.admin(self.bootstrap)
        self.make_topics([self.topic, self.dead_letter_topic])

    def make_topics(self, names: list[str]) -> None:
        missing = [NewTopic(name, 2, 1) for name in names if name not in self.admin.list_topics().topics]
        for future in (self.admin.create_topics(missing) if missing else {}).values():
            future.result()

    def remake_topic(self) -> None:
        """Deletes the topic and makes it again: the same name, another id."""
        self.admin.delete_topics([self.topic])[self.topic].result()
        eventually(lambda: self.topic not in self.admin.list_topics().topics)
        self.make_topics([self.topic])

    def delete_records(self) -> None:
        """Deletes all records of the topic."""
        ends = clients.end_offsets(self.bootstrap, [self.topic])
        for future in self.admin.delete_records([TopicPartition(*at, end) for at, end in ends.items()]).values():
            future.result()

    @property
    def store(self) -> Store:
        return open_store(self.url, self.endpoint)

    def log(self) -> Log:
        """Return the log, read again."""
        return Log(self.store, "test")

    def events(self, count: int, seed: int = 1, **how: Any) -> list[dict[str, Any]]:
        return list(events(seed, count, **{"begin": BEGIN} | how))

    def send(self, some: Iterable[dict[str, Any]], **how: Any) -> None:
        """Events, as capture sends them."""
        for event in some:
            self.put(event["aggregate_id"].encode(), self.outbox.value(event), **how)
        assert self.producer.flush(30) == 0

    def put(self, key: bytes, value: bytes | None, headers: Any = EPOCH, **how: Any) -> None:
        """Any record; `timestamp` in milliseconds since 1970."""
        self.producer.produce(self.topic, key=key, value=value, headers=headers, **how)
        self.producer.poll(0)

    def worker(self, group: str | None = None, **rolling: Any) -> ArchiveWorker:
        """A worker of the archive's group, closed at the end of the test."""
        spool = self.closing.enter_context(spooling(self.store))
        worker = ArchiveWorker(
            bootstrap=self.bootstrap,
            group=group or self.name,
            log=self.log(),
            spool=spool,
            decoding=Decoding(self.registry, [self.table]),
            dead_letters=dead_letters.DeadLetters(self.producer, "archive", topic=self.dead_letter_topic),
            tables=[self.table],
            rolling=Rolling(**{"age": 0.2, "patience": 20.0} | rolling),
        )
        self.closing.callback(worker.close)
        return worker

    def drain(self, *workers: ArchiveWorker, deadline_s: float = 240) -> None:
        """Turns the workers until all that is in the topic now is archived."""
        ends = {partition(*at): end for at, end in clients.end_offsets(self.bootstrap, [self.topic]).items() if end}
        give_up = time.monotonic() + deadline_s
        while (found := self.offsets()) != ends:
            assert time.monotonic() < give_up, f"at {found} of {ends}; {[worker.ready() for worker in workers]}"
            for worker in workers:
                worker.turn(0.2)

    def offsets(self) -> dict[str, int]:
        return {at: offset for at, (_, offset) in self.log().manifest().offsets.items()}

    def archived(self) -> list[str]:
        """The ids of all archived events, as a reader sees them."""
        folders = self.log().manifest().folders(EVENTS.name)
        return [datum["event_id"] for files in folders.values() for datum in distinct(self.store, EVENTS, files)]

    def records(self, file: ArchivedFile) -> list[dict[str, Any]]:
        return list(read(self.store, file))

    def close(self) -> None:
        self.closing.close()
        self.registry.close()
        for future in self.admin.delete_topics([self.topic, self.dead_letter_topic]).values():
            future.exception()


@contextmanager
def archiving(settings: Settings, url: str | None = None, endpoint: str | None = None) -> Iterator[Archiving]:
    """An archive in a folder of its own, or at `url`."""
    with tempfile.TemporaryDirectory(prefix="headrace-archive-") as folder:
        archive = Archiving(settings, url or str(Path(folder) / "archive"), endpoint)
        try:
            yield archive
        finally:
            archive.close()
