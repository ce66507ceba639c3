"""The archive worker on real Kafka: every event once, whatever happens between."""

from datetime import date
from pathlib import Path

import fastavro
import pytest

from messaging import dead_letters
from messaging.offsets import OffsetGone
from schemas.tables import EVENTS
from sinks.archive.files import verify_file
from sinks.archive.layout import bucket
from sinks.archive.log import Superseded
from tests.support.archiving import Archiving
from tests.support.eventually import eventually


def ids(events: list[dict]) -> list[str]:
    return sorted(event["event_id"] for event in events)


def test_every_event_is_archived_once_by_bucket_and_day(archive: Archiving):
    events = archive.events(500)
    archive.send(events)
    archive.drain(archive.worker())
    assert sorted(archive.archived()) == ids(events)
    manifest = archive.log().manifest()
    for folder, files in manifest.folders(EVENTS.name).items():
        for file in files:
            verify_file(archive.store, file)
            with (Path(archive.url) / file.name).open("rb") as stream:
                rows = list(fastavro.reader(stream))
            assert {(bucket(row["tenant_id"]), row["event_day"]) for row in rows} == {(folder.bucket, folder.day)}
            assert file.rows == len(rows)
            assert (file.first, file.last) == (min(r["occurred_at"] for r in rows), max(r["occurred_at"] for r in rows))
    assert {folder.day for folder in manifest.folders(EVENTS.name)} == {date(2026, 8, day) for day in (3, 4, 5, 6)}


def test_a_repeat_at_a_new_offset_counts_once(archive: Archiving):
    events = archive.events(50)
    archive.send(events)
    worker = archive.worker()
    archive.drain(worker)
    archive.send(events[20:])
    archive.drain(worker)
    assert archive.archived() and sorted(archive.archived()) == ids(events)


def test_an_undecodable_record_becomes_a_dead_letter_and_the_others_are_archived(archive: Archiving):
    events = archive.events(20)
    archive.send(events[:10])
    archive.put(b"x", b"not Avro")
    archive.send(events[10:])
    archive.drain(archive.worker())
    assert sorted(archive.archived()) == ids(events)
    (letter,) = dead_letters.listing(archive.bootstrap, topic=archive.dead_letter_topic)
    assert "wire format" in letter.message


def test_a_second_worker_takes_over_where_the_first_one_published(archive: Archiving):
    events = archive.events(300)
    archive.send(events[:150])
    first = archive.worker()
    archive.drain(first)
    archive.send(events[150:])
    first.turn(0.5)  # spooled, and never published
    first.close()
    archive.drain(archive.worker())
    assert sorted(archive.archived()) == ids(events)


def test_two_workers_share_the_partitions(archive: Archiving):
    events = archive.events(400)
    workers = [archive.worker(), archive.worker()]
    archive.send(events[:200])
    archive.drain(*workers)
    archive.send(events[200:])
    archive.drain(*workers)
    assert sorted(archive.archived()) == ids(events)
    assert sum(file.rows for file in archive.log().manifest().files.values()) == len(events)


def test_a_worker_that_slept_cannot_archive_what_another_one_has(archive: Archiving):
    events = archive.events(100)
    archive.send(events)
    sleeper = archive.worker(age=3600)
    eventually(lambda: sleeper.turn(0.2) or sum(sleeper.spooled_offsets().values()) == len(events))
    archive.drain(archive.worker(group=f"{archive.name}-other"))  # another group: no worker takes a partition from it
    with pytest.raises(Superseded, match="is archived up to"):
        sleeper.publish()
    assert sorted(archive.archived()) == ids(events)
    assert sum(file.rows for file in archive.log().manifest().files.values()) == len(events)


def test_files_are_published_when_they_are_large_enough(archive: Archiving):
    archive.send(archive.events(3_000, tenants=1, days=1))
    archive.drain(archive.worker(size=1, batch=500))
    assert len(archive.log().manifest().files) >= 3
    assert len(archive.archived()) == 3_000


def test_a_topic_that_was_created_again_is_read_from_its_beginning(archive: Archiving):
    events = archive.events(60)
    archive.send(events[:40])
    archive.drain(archive.worker())
    archive.remake_topic()
    archive.send(events[20:])
    archive.drain(archive.worker(group=f"{archive.name}-again"))
    assert sorted(archive.archived()) == ids(events)


def test_events_that_left_kafka_before_they_were_archived_stop_the_worker(archive: Archiving):
    archive.send(archive.events(40))
    worker = archive.worker()
    archive.drain(worker)
    worker.close()
    archive.send(archive.events(40, seed=2))
    archive.delete_records()
    late = archive.worker()
    with pytest.raises(OffsetGone, match=r"events are missing.*archive-gap"):
        eventually(lambda: late.turn(0.2))
