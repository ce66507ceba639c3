"""Capture pipelines that tests own: a database, slot, publication, connector and topics apart from the stack's."""

import json
import os
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from connectors import apply
from connectors.apply import Servers
from connectors.pipeline import Pipeline
from operations.settings import Settings
from schemas.tables import Column, Source, Table
from schemas.types import Date, Numeric, Text, Timestamp
from stack import supervisor
from tests.support.captured import Reading, Record
from tests.support.eventually import eventually

Connection = psycopg.Connection[Any]

SUPPORT_DDL = """
CREATE SCHEMA sales;
CREATE TABLE sales.heartbeat (id integer PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
INSERT INTO sales.heartbeat (id) VALUES (1);
CREATE TABLE sales.debezium_signal (id varchar(64) PRIMARY KEY, type varchar(32) NOT NULL, data varchar(2048));
GRANT USAGE ON SCHEMA sales TO cdc_reader;
GRANT SELECT, UPDATE ON sales.heartbeat TO cdc_reader;
GRANT SELECT, INSERT ON sales.debezium_signal TO cdc_reader;
"""

# A table without the CHECKs of the reference tables, and one partition, so that a marker row comes after all else.
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
class Declared:
    """The capture pipeline that a test module declares as `PIPELINE`: its name, its tables' DDL, its tables."""

    name: str
    ddl: str
    tables: tuple[Table, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturePipeline:
    """One capture pipeline under test, its servers, and its source as the tables' owner."""

    settings: Settings
    pipeline: Pipeline
    servers: Servers

    def start(self) -> apply.Beats:
        """Plan, apply, wait until records flow."""
        beats = apply.apply(apply.plan(self.pipeline, self.servers), self.servers)
        apply.wait_ready(self.pipeline, self.servers, beats)
        return beats

    def connect(self, *, autocommit: bool = True) -> Connection:
        """A new connection to the source, as the tables' owner."""
        return psycopg.connect(self.servers.oltp, autocommit=autocommit)

    def records(self, topic: str) -> list[Record]:
        """All records of a captured topic (by its name in the reference pipeline), each partition's in order."""
        with Reading(self.settings, self.pipeline.topic(topic)) as reading:
            return reading.catch_up()

    def until(self, topic: str, key: bytes, *, times: int = 1) -> list[Record]:
        """All records of a topic once a record with this key is among them, `times` times."""
        with Reading(self.settings, self.pipeline.topic(topic)) as reading:
            eventually(lambda: sum(record.key == key for record in reading.catch_up()) >= times)
            return reading.found


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
def capture_pipeline(
    settings: Settings, folder: Path, name: str, ddl: str, *tables: Table
) -> Iterator[CapturePipeline]:
    """Make a capture pipeline and its source database, all called `name`; remove both at the end."""
    password = json.loads((folder / "passwords.json").read_text())["postgres"]
    oltp = settings.oltp
    root = psycopg.connect(
        host=oltp.host, port=oltp.port, dbname="postgres", user="postgres", password=password, autocommit=True
    )
    root.execute(sql.SQL("CREATE DATABASE {} OWNER migrator").format(sql.Identifier(name)))
    pipeline = Pipeline(name=name, prefix=name, database=name, tables=tables)
    own = CapturePipeline(settings=settings, pipeline=pipeline, servers=servers(settings, name))
    try:
        with own.connect() as connection:
            connection.execute(SUPPORT_DDL + ddl)
        yield own
    finally:
        apply.remove(own.pipeline, own.servers, topics=True)
        root.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        root.close()


def changes(records: list[Record], key: str, table: Table = THINGS) -> list[Any]:
    """Return the changes of the row whose id is `key`, in the order of the records."""
    wanted = b'{"id":"%s"}' % key.encode()
    return [record.change(table) for record in records if record.key == wanted]


def mark(connection: Connection, table: str = "things") -> bytes:
    """Insert a row after all others and return its record's key."""
    name = f"marker-{uuid.uuid4()}"
    connection.execute(f"INSERT INTO sales.{table} (id, version) VALUES (%s, 0)", [name])
    return b'{"id":"%s"}' % name.encode()


def transaction_id(connection: Connection) -> str:
    """Return the id of the connection's open transaction."""
    row = connection.execute("SELECT pg_current_xact_id()::xid::text").fetchone()
    assert row is not None
    return str(row[0])


def is_waited_for(connection: Connection, xid: str) -> bool:
    """Return whether a session waits for this transaction to end."""
    return bool(
        connection.execute(
            "SELECT FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted AND transactionid = %s::xid", [xid]
        ).rowcount
    )


def kill_connect(folder: Path) -> None:
    """Kill the stack's Kafka Connect and start it again."""
    (pid,) = [server.pid for server in supervisor.status(folder) if server.name == "connect"]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    supervisor.up(folder)
