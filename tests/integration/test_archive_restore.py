"""Archived events are restored in the format of capture: a sink lands it like the captured events."""

import io
from dataclasses import replace
from datetime import date
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from confluent_kafka import TopicPartition
from rich.console import Console

from messaging import clients, dead_letters
from messaging.decoding import Decoding
from operations import connections
from operations.archive.restore import restore_events
from operations.generations import Generation, State
from operations.replay import archived_events
from operations.settings import Settings
from schemas.errors import HeadraceError
from schemas.wire import EPOCH_HEADER
from sinks.archive.reader import ArchiveSelection
from sinks.reporting.worker import SinkWorker
from tests.support.archive_files import append
from tests.support.archiving import Archiving
from tests.support.eventually import eventually


def settings_of(archive: Archiving) -> Settings:
    at = archive.settings.archive.model_copy(update={"url": archive.url})
    return archive.settings.model_copy(update={"archive": at})


ALL = ArchiveSelection()
COLUMNS = "event_id::text, tenant_id, event_type, aggregate_id, payload::jsonb, occurred_at, traceparent"


def bring_back(archive: Archiving, wanted: ArchiveSelection = ALL) -> tuple[str, int, str]:
    """Restore events; return the topic, their number, and the output."""
    topic, said = f"shop.events.{archive.name}_restored", io.StringIO()
    archive.closing.callback(lambda: [future.exception() for future in archive.admin.delete_topics([topic]).values()])
    sent = restore_events(settings_of(archive), Console(file=said, width=200), wanted, topic, archive.table)
    return topic, sent, said.getvalue()


def landed(archive: Archiving, topic: str) -> list[tuple[Any, ...]]:
    """All of the topic, landed by a sink: id, tenant, payload, instant, trace."""
    table = replace(archive.table, aggregates=(topic.removeprefix("shop.events."),))
    letters = dead_letters.DeadLetters(archive.producer, "test", topic=archive.dead_letter_topic)
    worker = SinkWorker(
        bootstrap=archive.bootstrap,
        group=topic,
        reporting=connections.landing(archive.settings),
        decoding=Decoding(archive.registry, [table]),
        dead_letters=letters,
        tables=[table],
    )
    ends = {at: end for at, end in clients.end_offsets(archive.bootstrap, [topic]).items() if end}
    schema = f"reporting_g{archive.settings.reporting.generation}"
    checkpoints = f"SELECT topic, partition, next_offset FROM {schema}.checkpoint WHERE topic = %s"
    with psycopg.connect(connections.reporting_conninfo(archive.settings, "writer"), autocommit=True) as reporting:

        def at_the_end() -> bool:
            worker.turn(0.2)
            rows = reporting.execute(checkpoints.encode(), [topic]).fetchall()
            return {(name, number): end for name, number, end in rows if end} == ends

        try:
            eventually(at_the_end)
        finally:
            worker.close()
        ids = [record["event_id"] for record in decoded(archive, topic)]
        query = f"SELECT {COLUMNS} FROM {schema}.events WHERE event_id = ANY (%s) ORDER BY event_id"
        return reporting.execute(query.encode(), [ids]).fetchall()


def messages(archive: Archiving, topic: str) -> list[Any]:
    ends = clients.end_offsets(archive.bootstrap, [topic])
    consumer = clients.consumer(archive.bootstrap, f"{topic}-read")
    consumer.assign([TopicPartition(topic, number, 0) for _, number in ends])
    found: list[Any] = []
    eventually(lambda: found.extend(consumer.consume(500, 0.2)) or len(found) == sum(ends.values()))
    consumer.close()
    return found


def decoded(archive: Archiving, topic: str) -> list[Any]:
    return [archive.registry.decode(message.value()) for message in messages(archive, topic)]


def test_restored_events_land_as_the_rows_that_they_were(archive: Archiving):
    events = archive.events(120)
    archive.send(events)
    archive.drain(archive.worker())
    topic, sent, said = bring_back(archive)
    assert sent == len(events)
    assert f"{topic}: 120 events, confirmed" in said
    restored = landed(archive, topic)
    captured_topic = archive.topic
    with psycopg.connect(connections.reporting_conninfo(archive.settings, "migrator")) as reporting:
        schema = f"reporting_g{archive.settings.reporting.generation}"
        reporting.execute(
            f"DELETE FROM {schema}.events WHERE event_id = ANY (%s)".encode(),
            [[event["event_id"] for event in events]],
        )
    assert restored == landed(archive, captured_topic)
    assert len(restored) == len(events)


def test_a_rebuild_lands_what_kafka_has_let_go_as_the_rows_that_they_were(archive: Archiving):
    events = archive.events(60)
    ids = [event["event_id"] for event in events]
    archive.send(events)
    archive.drain(worker := archive.worker())
    captured = landed(archive, archive.topic)
    archive.delete_records()
    archive.send(archive.events(5, seed=2))  # Kafka has these still
    archive.drain(worker)
    live = Generation(number=1, state=State.LIVE, epoch=1)
    with psycopg.connect(connections.reporting_conninfo(archive.settings, "migrator"), autocommit=True) as reporting:
        reporting.execute("DELETE FROM reporting_g1.events WHERE event_id = ANY (%s)", [ids])
        assert archived_events.land_archived(settings_of(archive), live, [archive.table]) == len(events)
        found = reporting.execute(
            f"SELECT {COLUMNS} FROM reporting_g1.events WHERE event_id = ANY (%s) ORDER BY event_id", [ids]
        )
        assert found.fetchall() == captured
    assert archived_events.land_archived(settings_of(archive), live, [archive.table]) == 0
    assert archived_events.land_archived(settings_of(archive), replace(live, epoch=2), [archive.table]) == 0


def test_what_was_backfilled_lands_like_what_was_captured(archive: Archiving):
    (event,) = archive.events(1)
    archive.send([event])
    archive.drain(archive.worker())
    (file,) = archive.log().manifest().files.values()
    (datum,) = archive.records(file)
    backfilled = datum | {"event_id": str(uuid4()), "_partition": -1, "_offset": -1, "_epoch": 0}
    append(archive.log(), [backfilled])
    topic, sent, _ = bring_back(archive, ArchiveSelection(tenant=datum["tenant_id"]))
    assert sent == 2
    assert backfilled["event_id"] in [row[0] for row in landed(archive, topic)]


def test_a_topic_of_the_running_line_is_refused(archive: Archiving):
    with pytest.raises(HeadraceError, match=r"shop\.events\.order belongs to the running pipeline"):
        restore_events(settings_of(archive), Console(file=io.StringIO()), ALL, "shop.events.order")


def test_a_restored_record_has_the_key_and_headers_of_a_captured_one(archive: Archiving):
    (event,) = archive.events(1)
    archive.send([event])
    archive.drain(archive.worker())
    topic, _, _ = bring_back(archive)
    (message,) = messages(archive, topic)
    assert message.key() == event["aggregate_id"].encode()
    assert dict(message.headers()) == {EPOCH_HEADER: b"1", "traceparent": event["traceparent"].encode()}
    assert archive.registry.decode(message.value())["occurred_at"] == event["occurred_at"]


@pytest.mark.parametrize(
    "wanted",
    [
        ArchiveSelection(tenant="tenant-003"),
        ArchiveSelection(since=date(2026, 8, 4), until=date(2026, 8, 5)),
        ArchiveSelection(event_type="OrderPlaced", since=date(2026, 8, 6)),
        ArchiveSelection(event_type="OrderShipped"),
    ],
)
def test_only_what_is_wanted_is_restored(archive: Archiving, wanted: ArchiveSelection):
    events = archive.events(120)
    archive.send(events)
    archive.drain(archive.worker())
    topic, _, _ = bring_back(archive, wanted)
    expected = {
        event["event_id"]
        for event in events
        if wanted.tenant in (None, event["tenant_id"])
        and wanted.event_type in (None, event["event_type"])
        and (wanted.since or date.min) <= date.fromisoformat(event["occurred_at"][:10]) <= (wanted.until or date.max)
    }
    assert {record["event_id"] for record in decoded(archive, topic)} == expected


def test_the_topic_is_made_like_those_of_captured_events(archive: Archiving):
    archive.send(archive.events(1))
    archive.drain(archive.worker())
    topic, _, _ = bring_back(archive)
    assert len(archive.admin.list_topics(topic).topics[topic].partitions) == archive.table.partitions
