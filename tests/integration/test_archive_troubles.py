"""A disk that takes no more: the worker rests, and every event is archived once when there is room again.

The disk is full for this process alone, by its limit on a file's size: the kernel refuses the write, whoever runs this.
"""

import resource
from collections.abc import Iterator

import pytest
from archiving import Archiving, archiving
from structlog.testing import capture_logs

from operations.settings import Settings
from schemas import killpoints
from schemas.killpoints import KillPoint
from tests.eventually import eventually

ROOM = 512  # bytes of each file


@pytest.fixture
def archive(settings: Settings) -> Iterator[Archiving]:
    with archiving(settings) as archive:
        yield archive


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


@pytest.mark.parametrize("full_at", [None, KillPoint.SPOOLED, KillPoint.FILE_NAMED])
def test_a_full_disk_makes_the_worker_rest_until_there_is_room(
    archive: Archiving, disk: Disk, monkeypatch: pytest.MonkeyPatch, full_at: KillPoint | None
):
    events = archive.events(300, tenants=1, days=1)
    worker = archive.worker()
    archive.send(events[:100])
    archive.drain(worker)
    held = worker.spooled_offsets().keys()
    archive.send(events[100:])
    monkeypatch.setattr(killpoints, "on_reach", lambda point: disk.fill() if point is full_at else None)
    with capture_logs() as lines:  # printed, they would need room themselves
        if full_at is None:
            disk.fill()
        eventually(lambda: worker.turn(0.2) or "File too large" in (worker.ready() or ""))
        monkeypatch.undo()
        disk.make_room()
    (line,) = [line for line in lines if line["event"] == "resting"]
    assert line["log_level"] == "warning"
    assert worker.spooled_offsets().keys() == held
    archive.drain(worker)
    assert worker.ready() is None
    assert sorted(archive.archived()) == sorted(event["event_id"] for event in events)
    files = archive.log().manifest().files
    assert sum(file.rows for file in files.values()) == len(events)
    assert archive.store.sizes("events").keys() == files.keys()  # what was half done is gone
