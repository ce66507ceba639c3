"""`headrace verify --topics`: whether the last record of each key is the one that reporting has landed.

A topic of state is compacted: of each key only the last record stays. A record that a paused task of Connect sends
late is skipped by reporting (`Position.wins_over`), and is its key's last all the same. A day later
(`min.compaction.lag.ms`) compaction may remove the newest record: the report stays right, and a rebuild from the topic
would land the old one. Reporting has the newest record's position, so each such record is found: it comes behind the
landed one in the topic, and is older by epoch or by the source's log.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Message

from messaging import clients, ranges
from messaging.decoding import Decoding
from operations.databases.canonical import Place
from operations.databases.sides import Report
from schemas.change import Key
from schemas.errors import BadRecord
from schemas.position import Position
from schemas.tables import Mode, Table

At = tuple[str, int]
Last = tuple[Key, Position]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overtaken:
    """A key whose last record, in this topic and partition and of this position, is older than what has landed."""

    table: Table
    key: Key
    record: At
    last: Position
    landed: Place

    def __str__(self) -> str:
        key = ", ".join(f"{name}={value}" for name, value in zip(self.table.key, self.key, strict=True))
        topic, partition = self.record
        return (
            f"{self.table.name} ({key}): the last record, {topic}[{partition}] offset {self.last.offset}, is older "
            f"than the row [{self.landed}]; see docs/runbook.md#topic-overtaken"
        )


def is_overtaken(last: Position, landed: Position) -> bool:
    """Whether a key's last record is older than the one that has landed, although it came later. A repeat of that very
    record is not: it has the same place in the log."""
    same = (last.epoch, last.log) == (landed.epoch, landed.log)
    return last.offset > landed.offset and not same and not last.wins_over(landed)


def audit(
    bootstrap: str,
    report: Report,
    decoding: Decoding,
    tables: Iterable[Table],
    on_table: Callable[[Table], None] = lambda _: None,
) -> list[Overtaken]:
    """What is overtaken in the topics of `tables`, those of events excepted: they are not compacted. The keys of one
    partition at a time are in memory. Raises HeadraceError for a topic that is missing, Unavailable."""
    found: list[Overtaken] = []
    for table in tables:
        if table.mode is Mode.STATE:
            on_table(table)
            starts = clients.start_offsets(bootstrap, table.captured_topics)
            ends = clients.end_offsets(bootstrap, table.captured_topics)
            for at, start in starts.items():
                last = last_records(ranges.records(bootstrap, {at: (start, ends[at])}), decoding)
                found += _in_partition(table, at, last, report)
    return found


def last_records(messages: Iterable[Message], decoding: Decoding) -> list[Last]:
    """The key and the position of each key's last record. One that can't be understood, a dead letter, says nothing; a
    tombstone takes its key out."""
    last: dict[bytes, Last] = {}
    for key, change in _changes(messages, decoding):
        if change is None:
            last.pop(key, None)
        else:
            last[key] = change
    return list(last.values())


def _changes(messages: Iterable[Message], decoding: Decoding) -> Iterator[tuple[bytes, Last | None]]:
    for message in messages:
        key, topic, offset = message.key(), str(message.topic()), int(message.offset() or 0)
        headers: Any = message.headers()  # the stubs know only a list or a dict of text
        try:
            change = decoding.change(topic, key, message.value(), headers, offset)
        except BadRecord:
            continue
        yield key or b"", None if change is None else (change.key, change.position)


def _in_partition(table: Table, at: At, last: list[Last], report: Report) -> Iterator[Overtaken]:
    places = report.places(table, [key for key, _ in last])
    for key, position in last:
        landed = places.get(key)  # read after the topic, so at least as far
        if landed is not None and is_overtaken(position, landed.position):
            yield Overtaken(table=table, key=key, record=at, last=position, landed=landed)
