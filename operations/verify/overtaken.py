"""Find keys whose last record in their topic is older than the row that has landed: `headrace verify --topics`.

A topic of state is compacted: of each key only the last record stays. A record that a paused Connect task sends late is
skipped by reporting (`Position.wins_over`), and is its key's last record nevertheless. A day later
(`min.compaction.lag.ms`) compaction may remove the newest record. Reporting stays right, but a rebuild from the topic
would land the old one. Reporting has the newest record's position, so each late record can be found: it comes after the
landed one in the topic, and is older by epoch or by its position in the source's log.
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
    """A key whose last record is older than the row that has landed.

    `record` is the last record's topic and partition, `last` its position.
    """

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
            f"than the row [{self.landed.describe(self.table.source)}]; see docs/runbook.md#topic-overtaken"
        )


def is_overtaken(last: Position, landed: Position) -> bool:
    """Return whether a key's last record is older than the landed one, although it came later.

    A repeat of the landed record has the same log position and is not older.
    """
    same = (last.epoch, last.log) == (landed.epoch, landed.log)
    return last.offset > landed.offset and not same and not last.wins_over(landed)


def find_overtaken(
    bootstrap: str,
    report: Report,
    decoding: Decoding,
    tables: Iterable[Table],
    on_table: Callable[[Table], None] = lambda _: None,
) -> list[Overtaken]:
    """Return the overtaken keys of `tables`. Topics of events are left out, as they are not compacted.

    The keys of one partition at a time are held in memory. `on_table` is called with each table when its check begins.

    Raises:
        HeadraceError: A topic is missing.
        Unavailable: A server does not answer.
    """
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
    """Return the key and the position of each key's last record.

    A record that can't be decoded is a dead letter and is skipped. A tombstone removes its key.
    """
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
