"""The same archive in a bucket: of two writers one is first, and a bucket out of reach costs time only."""

import logging
import random
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import s3fs
from moto.server import ThreadedMotoServer
from structlog.testing import capture_logs

from operations.settings import Settings
from schemas.errors import HeadraceError
from schemas.tables import EVENTS
from sinks.archive.audit import audit
from sinks.archive.compaction import delete_unreferenced, merge_small_files
from sinks.archive.files import FileDamaged, read, verify_file
from sinks.archive.log import ENTRIES, Log, Superseded
from sinks.archive.manifest import ArchivedFile, Kind, Progress
from sinks.archive.reader import records
from sinks.archive.store import READ_BYTES, Exists, ObjectStore, Store, open_store
from tests.support.archive_files import NOON, append, event
from tests.support.archiving import Archiving, archiving
from tests.support.eventually import eventually
from tests.support.proxy import Proxy


@dataclass
class Bucket:
    """An empty bucket, and the way to it."""

    url: str
    way: Proxy

    @property
    def store(self) -> Store:
        return open_store(self.url, self.way.url)


@pytest.fixture(scope="module")
def s3() -> Iterator[int]:
    """Start an S3 service on loopback and return its port; its objects are in memory."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    yield server.get_host_and_port()[1]
    server.stop()


@pytest.fixture
def bucket(s3: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    way, name = Proxy(s3), f"archive-{uuid4().hex[:8]}"
    s3fs.S3FileSystem(endpoint_url=way.url).mkdir(name)
    yield Bucket(f"s3://{name}/headrace", way)
    way.cut()


@pytest.fixture
def archive(settings: Settings, bucket: Bucket) -> Iterator[Archiving]:
    with archiving(settings, bucket.url, bucket.way.url) as archive:
        yield archive


def ids(events: list[dict]) -> list[str]:
    return sorted(event["event_id"] for event in events)


def test_a_bucket_holds_every_event_once_and_its_files_are_what_was_written(archive: Archiving):
    events = archive.events(300)
    archive.send(events)
    worker = archive.worker()
    archive.drain(worker)
    archive.send(events[200:])
    archive.drain(worker)
    assert sorted(archive.archived()) == ids(events)
    files = archive.log().manifest().files
    assert archive.store.sizes("events") == {name: file.size for name, file in sorted(files.items())}
    for file in files.values():
        verify_file(archive.store, file)


def test_what_was_put_once_is_never_overwritten(bucket: Bucket):
    bucket.store.put("some/name", [b"first"])
    with pytest.raises(Exists):
        bucket.store.put("some/name", [b"second"])
    with bucket.store.open("some/name") as stream:
        assert stream.read() == b"first"


def test_a_storage_in_which_a_name_can_be_given_twice_is_refused(bucket: Bucket, monkeypatch: pytest.MonkeyPatch):
    """A storage that speaks S3 without If-None-Match overwrites; s3fs then does what it does without being told."""
    put_file = s3fs.S3FileSystem._put_file

    async def careless(self, lpath, rpath, mode="overwrite", **how):
        await put_file(self, lpath, rpath, **how)

    monkeypatch.setattr(s3fs.S3FileSystem, "_put_file", careless)
    log = Log(bucket.store, "test")
    with pytest.raises(HeadraceError, match="must support If-None-Match"):
        log.commit(log.draft(Kind.APPEND))
    assert not bucket.store.sizes("")


class Meeting(ObjectStore):
    """The bucket, where the first entry of each writer is put when both have come that far."""

    def __init__(self, bucket: Bucket, meeting: threading.Barrier) -> None:
        super().__init__(bucket.url, bucket.way.url)
        self._meeting: threading.Barrier | None = meeting

    def put(self, name: str, chunks: Iterable[bytes]) -> None:
        if name.startswith(ENTRIES) and self._meeting:
            self._meeting.wait(30)
            self._meeting = None
        super().put(name, chunks)


def race(bucket: Bucket, **content: tuple[Progress, ...]) -> list[int | str]:
    """Write two entries at once; return for each its number, or the reason for its refusal."""
    meeting = threading.Barrier(2)

    def write(by: str) -> int | str:
        log = Log(Meeting(bucket, meeting), by)
        try:
            return log.commit(log.draft(Kind.APPEND, **content)).number
        except Superseded as error:
            return str(error)

    with ThreadPoolExecutor(2) as pool:
        return sorted(pool.map(write, ["one", "other"]), key=str)


def test_of_two_concurrent_writers_one_commits_after_the_other(bucket: Bucket):
    assert race(bucket) == [1, 2]
    found: list[str] = []
    Log(bucket.store, "test").entries(lambda entry: found.append(entry.draft.by))
    assert sorted(found) == ["one", "other"]


def test_of_two_writers_of_the_same_offsets_one_learns_that_it_must_not(bucket: Bucket):
    progress = (Progress(topic="t", partition=0, topic_id="id", start=0, end=10),)
    first, reason = race(bucket, progress=progress)
    assert first == 1
    assert "t/0 is archived up to 10" in str(reason)
    assert Log(bucket.store, "test").manifest().number == 1


def with_a_large_file(bucket: Bucket) -> tuple[Log, ArchivedFile]:
    """Create an archive of one file that is fetched in several pieces."""
    log = Log(bucket.store, "test")
    noise = random.Random(1)  # noqa: S311
    append(log, [event(n, occurred_at=NOON, payload=f'"{noise.randbytes(4_000).hex()}"') for n in range(1_500)])
    (file,) = log.manifest().files.values()
    assert file.size > 4 * READ_BYTES
    return log, file


def test_a_file_that_is_deleted_while_it_is_read_is_gone(bucket: Bucket):
    """Of a bucket, unlike a folder, nothing is left to a reader that has opened what is deleted."""
    log, file = with_a_large_file(bucket)
    reading = read(log.store, file)
    next(reading)
    log.store.delete(file.name)
    with pytest.raises(FileDamaged, match="is gone"):
        list(reading)


def test_a_reader_that_is_slower_than_the_grace_is_told_to_read_again(bucket: Bucket):
    log, file = with_a_large_file(bucket)
    reading = records(log, EVENTS)
    next(reading)
    log.commit(log.draft(Kind.COMPACT, removed=(file.name,)))
    log.store.delete(file.name)
    with pytest.raises(Superseded, match="read again"):
        list(reading)


def test_a_bucket_out_of_reach_makes_the_worker_rest_until_it_is_back(archive: Archiving, bucket: Bucket):
    events = archive.events(200)
    worker = archive.worker()
    archive.send(events[:100])
    archive.drain(worker)
    held = worker.spooled_offsets().keys()
    bucket.way.cut()
    archive.send(events[100:])
    with capture_logs() as lines:
        eventually(lambda: worker.turn(0.2) or "can't be used" in (worker.ready() or ""))
    (line,) = [line for line in lines if line["event"] == "paused"]
    assert f"the archive at {bucket.url} can't be used" in line["error"]
    assert "archive-unavailable" in line["error"]
    assert worker.spooled_offsets().keys() == held
    bucket.way.mend()
    archive.drain(worker)
    assert worker.ready() is None
    assert sorted(archive.archived()) == ids(events)
    files = archive.log().manifest().files
    assert sum(file.rows for file in files.values()) == len(events)


def test_a_bucket_is_compacted_swept_and_found_whole(archive: Archiving, tmp_path: Path):
    events = archive.events(200)
    for some in (events[:120], events[100:]):
        archive.send(some)
        archive.drain(archive.worker(group=f"{archive.name}-{len(some)}"))
    assert all(each.refusal is None for each in merge_small_files(archive.log(), tmp_path, [EVENTS]))
    later = datetime.now(UTC) + timedelta(hours=2)
    assert len(list(delete_unreferenced(archive.log(), [EVENTS], now=later))) > 0
    assert sorted(archive.archived()) == sorted(event["event_id"] for event in events)
    found = audit(archive.log(), [EVENTS], now=later)
    assert (found.findings, found.rows) == ([], len(events))
