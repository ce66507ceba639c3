"""Run `headrace archive backfill`: archive the events of a day that are only in Postgres' outbox."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
from rich.console import Console

from operations import connections
from operations.outbox import events
from operations.settings import Settings
from schemas.tables import TABLES, Mode, Table
from sinks.archive.backfill import BackfillResult, archive_missing
from sinks.archive.batch import ArchiveBatch, spooling
from sinks.archive.files import Datum

EVENT_TABLES = tuple(table for table in TABLES if table.mode is Mode.EVENT)


def backfill_day(settings: Settings, out: Console, day: date) -> bool:
    """Archive the events of a day (UTC) that Postgres has and the archive lacks.

    Returns:
        True where no damaged file of the day is left.

    Raises:
        HeadraceError: a login is refused, or the archive's manifest conflicts.
        Unavailable: Postgres or the archive does not answer.
    """
    log = connections.archive(settings, "backfill")
    intact = True
    with (
        connections.oltp(settings, "reporter_reader") as connection,
        spooling(log.store, settings.archive.spool) as spool,
    ):
        for table in EVENT_TABLES:
            batch = ArchiveBatch(spool, settings.archive.codec)
            done = archive_missing(log, table, day, outbox_records(connection, table, day), batch)
            for line in result_lines(day, done):
                out.print(line, markup=False, soft_wrap=True)
            intact = intact and not done.damaged
    return intact


def result_lines(day: date, done: BackfillResult) -> list[str]:
    """Return the lines to print about a day."""
    lines = [f"{day}: archived {done.events:,} events that were missing"]
    lines += [f"replaced, it was damaged: {name}" for name in done.replaced]
    lines += [f"damaged, and not all of its events are in Postgres: {name}" for name in done.damaged]
    return lines


def outbox_records(connection: psycopg.Connection[Any], table: Table, day: date) -> Iterator[Datum]:
    """Yield the outbox's events of a day (UTC) as archive records, without the columns of ORIGIN."""
    names = [column.name for column in table.columns]
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    for row in events(connection, table, start, start + timedelta(days=1)):
        yield dict(zip(names, row, strict=True))
