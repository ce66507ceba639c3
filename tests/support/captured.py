"""Captured records as a test reads them, and lines of capture of a test's own.

The rule that every capture test holds on to: of a key's changes, the newest by position is the row in Postgres; and
landing them one by one never puts an older row over a newer one.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka import TopicPartition
from psycopg import sql
from psycopg.conninfo import make_conninfo

from connectors import apply
from connectors.apply import Servers
from connectors.pipeline import Pipeline
from messaging.clients import assign, consumer, end_offsets
from messaging.decoding import epoch
from messaging.registry import Registry
from operations.settings import Settings
from schemas.change import Change, Key
from schemas.decoders import mongo, outbox, postgres
from schemas.fold import fold
from schemas.position import Position
from schemas.tables import Column, Source, Table
from schemas.types import Date, Numeric, Text, Timestamp
from tests.support.eventually import eventually

Connection = psycopg.Connection[Any]
_DECODERS = {Source.POSTGRES: postgres.decoder, Source.MONGODB: mongo.decoder, Source.OUTBOX: outbox.decoder}

SUPPORT_DDL = """
CREATE SCHEMA sales;
CREATE TABLE sales.heartbeat (id integer PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
INSERT INTO sales.heartbeat (id) VALUES (1);
CREATE TABLE sales.debezium_signal (id varchar(64) PRIMARY KEY, type varchar(32) NOT NULL, data varchar(2048));
GRANT USAGE ON SCHEMA sales TO cdc_reader;
GRANT SELECT, UPDATE ON sales.heartbeat TO cdc_reader;
GRANT SELECT, INSERT ON sales.debezium_signal TO cdc_reader;
"""

# A table without the CHECKs of the reference tables, and one partition, so that a marker row stands behind all else.
THINGS = Table(
    name="things",
    source=Source.POSTGRES,
    schema="sales",
    key=("id",),
    columns=(
        Column(name="id", type=Text(64)),
        Column(name="version", type=Numeric(19, 4)),
        Column(name="at", type=Timestamp(), nullable=True),
        Column(name="day", type=Date(), nullable=True),
        Column(name="note", type=Text(), nullable=True),
    ),
    partitions=1,
)
THINGS_DDL = """
CREATE TABLE sales.things (
    id text PRIMARY KEY, version numeric(19,4) NOT NULL, at timestamptz, day date, note text
);
ALTER TABLE sales.things REPLICA IDENTITY FULL;
GRANT SELECT ON sales.things TO cdc_reader;
"""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One line of capture under test: where it runs, what it is called, and its source as its owner."""

    settings: Settings
    line: Pipeline
    servers: Servers

    def start(self) -> apply.Beats:
        """Plan, apply, wait until records flow."""
        beats = apply.apply(apply.plan(self.line, self.servers), self.servers)
        apply.wait_ready(self.line, self.servers, beats)
        return beats

    def connect(self, *, autocommit: bool = True) -> Connection:
        """A new connection to the source, as the tables' owner."""
        return psycopg.connect(self.servers.oltp, autocommit=autocommit)

    def records(self, topic: str) -> list[Record]:
        """All records of a captured topic (by its name in the reference line), each partition's in order."""
        with Reading(self.settings, self.line.topic(topic)) as reading:
            return reading.catch_up()

    def until(self, topic: str, key: bytes, *, times: int = 1) -> list[Record]:
        """All records of a topic once a record with this key is among them, `times` times."""
        with Reading(self.settings, self.line.topic(topic)) as reading:
            eventually(lambda: sum(record.key == key for record in reading.catch_up()) >= times)
            return reading.found


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
    """What landing leaves of a log: all at once, which must be the same as one by one and as in any two batches."""
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


def servers(settings: Settings, database: str) -> Servers:
    """The servers of a stack, with another database as the source."""
    oltp = settings.oltp
    return Servers(
        oltp=make_conninfo(
            host=oltp.host,
            port=oltp.port,
            dbname=database,
            user="migrator",
            password=oltp.migrator_password.get_secret_value(),
        ),
        bootstrap=settings.kafka.bootstrap,
        connect_url=settings.connect.url,
    )


@contextmanager
def stage(settings: Settings, folder: Path, name: str, ddl: str, *tables: Table) -> Iterator[Stage]:
    """A line of its own: database, slot, publication, connector and topics are called `name`. Removed at the end."""
    password = json.loads((folder / "passwords.json").read_text())["postgres"]
    oltp = settings.oltp
    root = psycopg.connect(
        host=oltp.host, port=oltp.port, dbname="postgres", user="postgres", password=password, autocommit=True
    )
    root.execute(sql.SQL("CREATE DATABASE {} OWNER migrator").format(sql.Identifier(name)))
    line = Pipeline(name=name, prefix=name, database=name, tables=tables)
    own = Stage(settings=settings, line=line, servers=servers(settings, name))
    try:
        with own.connect() as connection:
            connection.execute(SUPPORT_DDL + ddl)
        yield own
    finally:
        apply.remove(own.line, own.servers, topics=True)
        root.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        root.close()
