"""`headrace archive skip` and `backfill`: behind a gap, and into it."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
from rich.console import Console

from messaging import clients
from operations import connections
from operations.outbox import events
from operations.settings import Settings
from schemas.tables import TABLES, Mode, Table
from sinks.archive.backfill import Backfilled
from sinks.archive.backfill import backfill as archive_missing
from sinks.archive.batch import ArchiveBatch, spooling
from sinks.archive.files import Datum
from sinks.archive.gaps import gaps
from sinks.archive.gaps import skip as move_on

EVENT_TABLES = tuple(table for table in TABLES if table.mode is Mode.EVENT)


def skip(
    settings: Settings, out: Console, confirm: Callable[[str], object], tables: Iterable[Table] = EVENT_TABLES
) -> None:
    """Let the worker begin where the topics do. `confirm` is asked first, and raises where it must not be."""
    log, bootstrap = connections.archive(settings, "skip"), settings.kafka.bootstrap
    names = [topic for table in tables for topic in table.captured_topics]
    found = gaps(log.manifest(), clients.topic_ids(bootstrap, names), clients.start_offsets(bootstrap, names))
    if not found:
        out.print("no topic begins behind the archive's end; nothing to skip")
        return
    for gap in found:
        out.print(f"{gap.topic}/{gap.partition}: offsets {gap.start} to {gap.end - 1} are not in the archive")
    confirm("Go on behind them?")
    move_on(log, found)
    out.print("skipped; `headrace archive backfill --day ...` archives what Postgres has of them", soft_wrap=True)


def backfill(settings: Settings, out: Console, day: date) -> bool:
    """Archive the events of a day (UTC) that Postgres has and the archive lacks; returns whether no damaged file of the
    day is left."""
    log = connections.archive(settings, "backfill")
    whole = True
    with (
        connections.oltp(settings, "reporter_reader") as connection,
        spooling(log.store, settings.archive.spool) as spool,
    ):
        for table in EVENT_TABLES:
            batch = ArchiveBatch(spool, settings.archive.codec)
            done = archive_missing(log, table, day, outbox(connection, table, day), batch)
            for line in lines(day, done):
                out.print(line, markup=False, soft_wrap=True)
            whole = whole and not done.damaged
    return whole


def lines(day: date, done: Backfilled) -> list[str]:
    """What is said about a day."""
    said = [f"{day}: archived {done.events:,} events that were missing"]
    said += [f"replaced, it was damaged: {name}" for name in done.replaced]
    said += [f"damaged, and not all of its events are in Postgres: {name}" for name in done.damaged]
    return said


def outbox(connection: psycopg.Connection[Any], table: Table, day: date) -> Iterator[Datum]:
    """A day's events, as the archive holds them but for where they were captured."""
    names = [column.name for column in table.columns]
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    for row in events(connection, table, start, start + timedelta(days=1)):
        yield dict(zip(names, row, strict=True))
