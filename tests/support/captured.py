"""Captured records as tests read them.

Every capture test holds to one rule: of a key's changes, the newest by position is the row in Postgres; and landing
them one by one never puts an older row over a newer one.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from confluent_kafka import TopicPartition

from messaging.clients import assign, consumer, end_offsets
from messaging.decoding import epoch
from messaging.registry import Registry
from operations.settings import Settings
from schemas.change import Change, Key
from schemas.decoders import mongo, outbox, postgres
from schemas.fold import fold
from schemas.position import Position
from schemas.tables import Source, Table

_DECODERS = {Source.POSTGRES: postgres.decoder, Source.MONGODB: mongo.decoder, Source.OUTBOX: outbox.decoder}


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record: its place, its bytes, and its value decoded."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes | None]
    datum: Any

    def change(self, table: Table) -> Change:
        """The change it holds; raises BadRecord."""
        found = epoch(list(self.headers.items()))
        return _DECODERS[table.source](table)(self.key, self.datum, found, self.offset)


class Reading:
    """A topic read from its beginning to its end, and on from there."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self.found: list[Record] = []
        self._bootstrap, self._topic = settings.kafka.bootstrap, topic
        self._consumer = consumer(self._bootstrap, "test-reader", auto_offset_reset="earliest")
        self._registry = Registry(settings.registry.url, whole=True)
        self._next = dict.fromkeys((partition for _, partition in self._ends()), 0)
        assign(self._consumer, [TopicPartition(topic, partition, 0) for partition in self._next])

    def __enter__(self) -> "Reading":
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()
        self._registry.close()

    def catch_up(self) -> list[Record]:
        """All records up to the end as it is now."""
        ends = {partition: end for (_, partition), end in self._ends().items()}
        while any(self._next[partition] < end for partition, end in ends.items()):
            message = self._consumer.poll(10)
            assert message is not None and not message.error(), message and message.error()
            value, offset, partition = message.value(), message.offset(), message.partition()
            self._next[partition] = offset + 1
            self.found.append(
                Record(
                    topic=self._topic,
                    partition=partition,
                    offset=offset,
                    key=message.key(),
                    value=value,
                    headers=dict(message.headers() or ()),
                    datum=None if value is None else self._registry.decode(value),
                )
            )
        return self.found

    def _ends(self) -> dict[tuple[str, int], int]:
        return end_offsets(self._bootstrap, [self._topic])


def landed(changes: Iterable[Change]) -> Iterator[tuple[Change, Position]]:
    """Each change of one key that replaces the row, with the position that is then stored."""
    at: Position | None = None
    for change in changes:
        if at is None:
            at = change.position
        elif change.position.wins_over(at):
            at = change.position.replacing(at)
        else:
            continue
        yield change, at


def newest(changes: Iterable[Change]) -> dict[Key, Change]:
    """Return the changes that remain after landing a log.

    Landing it at once, one by one, and in any two batches must give the same.
    """
    log = list(changes)
    last: dict[Key, Change] = {}
    for key in {change.key for change in log}:
        *_, (last[key], _) = landed(change for change in log if change.key == key)
    for cut in range(len(log) + 1):
        rounds = [*fold(log[:cut]), *fold(log[cut:])]
        for key, expected in last.items():
            *_, (found, _) = landed(each[key] for each in rounds if key in each)
            assert (found.op, found.row) == (expected.op, expected.row), (cut, key)
    return last
