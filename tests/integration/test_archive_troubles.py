"""A full disk: the worker waits, and every event is archived once when there is space again.

The disk is full for this process alone, by its limit on a file's size: the kernel refuses the write for every user.
"""

import resource
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Message, TopicPartition
from structlog.testing import capture_logs

from messaging import clients
from schemas import failpoints
from schemas.failpoints import FailPoint
from sinks.archive.worker import ArchiveWorker
from tests.support.archiving import Archiving
from tests.support.eventually import eventually

ROOM = 512  # bytes of each file


class Disk:
    """This process's room for files."""

    def __init__(self) -> None:
        self._room = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, self._room[1]))

    def make_room(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._room)


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk()
    yield disk
    disk.make_room()


@pytest.mark.parametrize("full_at", [None, FailPoint.SPOOLED, FailPoint.FILE_NAMED])
def test_a_full_disk_makes_the_worker_rest_until_there_is_room(
    archive: Archiving, disk: Disk, monkeypatch: pytest.MonkeyPatch, full_at: FailPoint | None
):
    events = archive.events(300, tenants=1, days=1)
    worker = archive.worker()
    archive.send(events[:100])
    archive.drain(worker)
    held = worker.spooled_offsets().keys()
    archive.send(events[100:])
    monkeypatch.setattr(failpoints, "on_reach", lambda point: disk.fill() if point is full_at else None)
    with capture_logs() as lines:  # printed, they would need room themselves
        if full_at is None:
            disk.fill()
        eventually(lambda: worker.turn(0.2) or "File too large" in (worker.ready() or ""))
        monkeypatch.undo()
        disk.make_room()
    (line,) = [line for line in lines if line["event"] == "paused"]
    assert line["log_level"] == "warning"
    assert worker.spooled_offsets().keys() == held
    archive.drain(worker)
    assert worker.ready() is None
    assert sorted(archive.archived()) == sorted(event["event_id"] for event in events)
    files = archive.log().manifest().files
    assert sum(file.rows for file in files.values()) == len(events)
    assert archive.store.sizes("events").keys() == files.keys()  # what was half done is gone


def _spool_some(archive: Archiving, worker: ArchiveWorker, count: int) -> list[str]:
    """Send `count` events, run turns until the worker has spooled them all, and return their ids."""
    sent = _send(archive, count)
    ends = {at: end for at, end in clients.end_offsets(archive.bootstrap, [archive.topic]).items() if end}
    eventually(lambda: worker.turn(0.2) or worker.spooled_offsets() == ends)
    return sent


def _take_away(worker: ArchiveWorker, topic: str, *numbers: int) -> None:
    """Revoke partitions as librdkafka does, from within `consume`."""
    worker._revoked(worker._consumer, [TopicPartition(topic, number) for number in numbers])


def test_records_in_hand_are_dropped_with_the_spool_when_the_archive_fails_at_a_revocation(
    archive: Archiving, disk: Disk, monkeypatch: pytest.MonkeyPatch
):
    worker = archive.worker(age=60.0)
    sent = _spool_some(archive, worker, 200)
    sent += _send(archive, 100)
    fetch = worker._fetcher.fetch

    def revoked_inside(*wait: float, **how: Any) -> list[Message]:
        messages = fetch(*wait, **how)
        if any(message.error() is None for message in messages):
            monkeypatch.undo()
            disk.fill()
            _take_away(worker, archive.topic, 0)
            disk.make_room()
        return messages

    monkeypatch.setattr(worker._fetcher, "fetch", revoked_inside)
    with capture_logs():
        eventually(lambda: worker.turn(0.2) or worker.ready() is not None)
    worker.stop()
    worker.run()  # publishes what is open
    archive.drain(archive.worker())
    assert sorted(archive.archived()) == sorted(sent)


def test_a_worker_that_stops_while_it_rests_commits_nothing_of_what_it_dropped(archive: Archiving, disk: Disk):
    worker = archive.worker(age=60.0)
    sent = _spool_some(archive, worker, 200)
    _rest(worker, disk)
    worker.stop()
    worker.run()
    archive.drain(archive.worker())
    assert sorted(archive.archived()) == sorted(sent)


def test_a_revocation_while_the_worker_rests_commits_nothing_of_what_it_dropped(archive: Archiving, disk: Disk):
    worker = archive.worker(age=60.0)
    sent = _spool_some(archive, worker, 200)
    _rest(worker, disk)
    _take_away(worker, archive.topic, 0, 1)
    worker.close()
    archive.drain(archive.worker())
    assert sorted(archive.archived()) == sorted(sent)


def _send(archive: Archiving, count: int) -> list[str]:
    events = archive.events(count, tenants=8, days=1, seed=count)
    archive.send(events)
    return [event["event_id"] for event in events]


def _rest(worker: ArchiveWorker, disk: Disk) -> None:
    """Has the worker drop what is spooled, because the disk is full; there is room again when this returns."""
    with capture_logs():
        disk.fill()
        worker._publish_or_pause()
        disk.make_room()
    assert worker.ready() is not None
