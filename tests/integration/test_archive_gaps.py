"""A gap is passed only when somebody says so, and what Postgres still has of it is archived from there."""

import io
from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from psycopg import sql
from rich.console import Console

from messaging import clients
from messaging.offsets import OffsetGone
from operations import connections
from operations.archive import backfill as backfilling
from operations.archive import skip as skipping
from operations.migrate import make_partitions
from schemas.tables import EVENTS
from sinks.archive.backfill import BackfillResult, archive_missing
from sinks.archive.batch import ArchiveBatch, spooling
from sinks.archive.erasure import Eraser
from sinks.archive.files import verify_file
from sinks.archive.gaps import find_gaps
from sinks.archive.subject import Subject
from tests.support.archiving import BEGIN, Archiving
from tests.support.eventually import eventually

DAY = BEGIN.date()


def events(archive: Archiving, count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Create a day's events, also in the outbox, of tenants that no other test uses."""
    found = archive.events(count, seed=seed, days=1, tenants=3)
    for event in found:
        event["event_id"] = str(uuid4())
        event["tenant_id"] = f"{archive.name}-{event['tenant_id']}"
        event["occurred_at"] = f"{DAY}{event['occurred_at'][10:]}"
    make_partitions(archive.settings, DAY, DAY)
    with connections.oltp(archive.settings, "app_writer") as connection:
        for event in found:
            columns = sql.SQL(", ").join(map(sql.Identifier, event))
            values = sql.SQL(", ").join([sql.Placeholder()] * len(event))
            insert = sql.SQL("INSERT INTO sales.outbox_events ({}) VALUES ({})").format(columns, values)
            connection.execute(insert, list(event.values()))
    return found


def fill(archive: Archiving, day: date = DAY) -> BackfillResult:
    """Backfills a day with what the outbox has of the test's tenants."""
    log = archive.log()
    with connections.oltp(archive.settings, "reporter_reader") as connection, spooling(archive.store) as spool:
        rows = (
            row
            for row in backfilling.outbox_records(connection, EVENTS, day)
            if row["tenant_id"].startswith(f"{archive.name}-")
        )
        return archive_missing(log, EVENTS, day, rows, ArchiveBatch(spool))


def ids(some: list[dict[str, Any]]) -> list[str]:
    return sorted(event["event_id"] for event in some)


def found(archive: Archiving) -> tuple[Any, ...]:
    topics = [archive.topic]
    ids, starts = clients.topic_ids(archive.bootstrap, topics), clients.start_offsets(archive.bootstrap, topics)
    return find_gaps(archive.log().manifest(), ids, starts)


def test_a_gap_is_skipped_and_filled_from_postgres(archive: Archiving):
    first, lost, last = events(archive, 20), events(archive, 20, seed=2), events(archive, 20, seed=3)
    archive.send(first)
    worker = archive.worker()
    archive.drain(worker)
    worker.close()
    assert found(archive) == ()
    archive.send(lost)
    archive.delete_records()
    archive.send(last)
    stopped = archive.worker()
    with pytest.raises(OffsetGone, match="archive-gap"):
        eventually(lambda: stopped.turn(0.2))
    stopped.close()
    passed = found(archive)
    assert sum(each.end - each.start for each in passed) == len(lost)
    asked: list[str] = []
    at, said = archive.settings.archive.model_copy(update={"url": archive.url}), io.StringIO()
    settings = archive.settings.model_copy(update={"archive": at})
    skipping.skip_gaps(settings, Console(file=said, width=200), asked.append, [archive.table])
    assert asked == ["Skip these offsets?"]
    for each in passed:
        assert f"{each.topic}/{each.partition}: offsets {each.start} to {each.end - 1} are not in" in said.getvalue()
    archive.drain(archive.worker())
    assert sorted(archive.archived()) == ids(first + last)
    assert fill(archive).events == len(lost)
    assert sorted(archive.archived()) == ids(first + lost + last)
    assert fill(archive).events == 0


def test_a_backfilled_event_is_the_one_that_capture_gives(archive: Archiving):
    """But for where it was captured, and for a payload's spaces."""
    (event,) = events(archive, 1)
    fill(archive)
    archive.send([event])
    archive.drain(archive.worker())
    backfilled, captured = (
        datum
        for file in sorted(archive.log().manifest().files.values(), key=lambda each: each.name)
        for datum in archive.records(file)
    )
    assert (backfilled["_topic"], backfilled["_partition"], backfilled["_offset"], backfilled["_epoch"]) == (
        "shop.events.order",
        -1,
        -1,
        0,
    )
    own = ("_topic", "_partition", "_offset", "_epoch", "payload")
    assert {k: v for k, v in backfilled.items() if k not in own} == {k: v for k, v in captured.items() if k not in own}
    assert archive.archived() == [event["event_id"]]


def test_what_was_erased_is_not_filled_in_again(archive: Archiving):
    theirs, *others = events(archive, 10)
    archive.send([theirs])
    archive.drain(archive.worker())
    with spooling(archive.store) as spool:
        eraser = Eraser(archive.log(), Subject(theirs["tenant_id"], theirs["aggregate_id"]), spool)
        erased = eraser.find(eraser.groups(), {})
        eraser.erase(erased.files, erased.ids)
    fill(archive)
    assert sorted(archive.archived()) == ids(others)


def test_a_damaged_file_is_replaced_by_what_postgres_has(archive: Archiving):
    some = events(archive, 60)
    archive.send(some)
    archive.drain(archive.worker())
    name, file = next(iter(archive.log().manifest().files.items()))
    with Path(archive.url, name).open("r+b") as stream:
        stream.seek(file.size // 2)
        stream.write(b"damage")
    done = fill(archive)
    assert (done.events, done.replaced, done.damaged) == (file.rows, [name], [])
    assert sorted(archive.archived()) == ids(some)
    for each in archive.log().manifest().files.values():
        verify_file(archive.store, each)


def test_a_damaged_file_whose_events_are_not_all_in_postgres_stays_and_is_named(archive: Archiving):
    archive.send([event | {"tenant_id": f"{archive.name}-x"} for event in archive.events(10, days=1)])
    archive.drain(archive.worker())
    (name, file), *_ = archive.log().manifest().files.items()
    Path(archive.url, name).unlink()
    done = fill(archive, file.day)
    assert (done.events, done.replaced, done.damaged) == (0, [], [name])
    assert name in archive.log().manifest().files


def test_the_commands_say_what_they_did(archive: Archiving):
    events(archive, 5)
    at = archive.settings.archive.model_copy(update={"url": archive.url})
    settings, said = archive.settings.model_copy(update={"archive": at}), io.StringIO()
    assert backfilling.backfill_day(settings, Console(file=said, width=200), DAY)
    assert f"{DAY}: archived " in said.getvalue()
    assert backfilling.backfill_day(settings, Console(file=said, width=200), DAY)
    assert f"{DAY}: archived 0 events that were missing" in said.getvalue()
