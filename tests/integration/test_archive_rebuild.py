"""The manifest is rebuilt from the files, and equals what it was; what is not all there is archived again."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from operations.archive.rebuild import rebuild_manifest as command
from schemas.failpoints import FailPoint
from sinks.archive.batch import ArchiveBatch, spooling
from sinks.archive.erasure import Eraser
from sinks.archive.files import read
from sinks.archive.log import ENTRIES
from sinks.archive.manifest import Kind, Manifest, Retired
from sinks.archive.rebuild import ASIDE, rebuild_manifest
from sinks.archive.store import open_store
from sinks.archive.subject import Subject
from tests.support.archive_killed import run_killed
from tests.support.archiving import Archiving
from tests.support.eventually import eventually


def said(manifest: Manifest) -> tuple[object, ...]:
    return manifest.files, manifest.offsets, manifest.erasures, manifest.unfinished


def erase(archive: Archiving, tenant: str, subject: str) -> None:
    with spooling(archive.store) as spool:
        eraser = Eraser(archive.log(), Subject(tenant, subject), spool, tables=[archive.table])
        found = eraser.find(eraser.groups(), {})
        eraser.erase(found.files, found.ids)


def replaced(archive: Archiving) -> str:
    """An erasure has rewritten one file, and the old file is still stored."""
    log = archive.log()
    old = next(iter(log.manifest().files.values()))
    with spooling(archive.store) as spool:
        batch = ArchiveBatch(spool)
        for datum in read(archive.store, old):
            key = tuple(datum[name] for name in archive.table.key)
            batch.file(archive.table, datum["tenant_id"], old.day).write(key, datum, datum["occurred_at"])
        added = batch.publish(log.store, replaces=(old.name,), offsets=log.manifest().offsets)
    log.commit(log.draft(Kind.COMPACT, added=added, removed=(old.name,)))
    return old.name


def filled(archive: Archiving) -> list[dict]:
    """Create an archive with every kind of entry: appended twice, a file replaced, an event erased, a month begun."""
    events = archive.events(200)
    worker = archive.worker()
    archive.send(events[:100])
    archive.drain(worker)
    archive.send(events[100:])
    archive.drain(worker)
    worker.close()
    replaced(archive)
    erase(archive, events[7]["tenant_id"], events[7]["aggregate_id"])
    log = archive.log()
    log.commit(log.draft(Kind.RETIRE, retired=Retired(store="orders", what="2026-08-01", proof={}, done=False)))
    return events[:7] + events[8:]


def test_a_rebuilt_manifest_says_what_the_old_one_said(archive: Archiving):
    kept = filled(archive)
    before = archive.log().manifest()
    for name in [*archive.store.sizes("manifest")][2:3]:
        archive.store.delete(name)  # what a rebuild is for
    rebuilt = rebuild_manifest(archive.store, "test")
    after = archive.log().manifest()
    assert said(after) == said(before)
    assert len(rebuilt.replaced) == 1
    assert rebuilt.damaged == rebuilt.incomplete == []
    assert sorted(archive.archived()) == sorted(event["event_id"] for event in kept)


def test_the_old_manifest_is_kept(archive: Archiving):
    filled(archive)
    old = {}
    for name in archive.store.sizes("manifest"):
        with archive.store.open(name) as stream:
            old[name] = stream.read()
    rebuild_manifest(archive.store, "test")
    found = {}
    for name in archive.store.sizes(ASIDE):
        with archive.store.open(name) as stream:
            found["/".join(name.split("/")[2:])] = stream.read()
    assert found == old


def test_offsets_do_not_pass_a_commit_that_lacks_a_file_and_its_events_are_archived_again(
    archive: Archiving,
):
    events = archive.events(200)
    worker = archive.worker()
    archive.send(events[:100])
    archive.drain(worker)
    before = archive.log().manifest()
    archive.send(events[100:])
    eventually(lambda: worker.turn(0.2) or sum(archive.offsets().values()) == len(events))
    worker.close()
    log = archive.log()
    newest = [file for name, file in log.manifest().files.items() if name not in before.files]
    assert len(newest) > 1
    Path(archive.url, newest[0].name).unlink()
    last = f"{ENTRIES}/{log.manifest().number:020}.json"
    archive.store.delete(last)  # the worker died before it
    rebuilt = rebuild_manifest(archive.store, "test")
    assert archive.log().manifest().offsets == before.offsets
    assert len(rebuilt.incomplete) == 1
    archive.drain(archive.worker(group=f"{archive.name}-again"))
    assert sorted(archive.archived()) == sorted(event["event_id"] for event in events)


def test_a_damaged_file_is_named_and_left_out(archive: Archiving):
    archive.send(archive.events(100))
    archive.drain(archive.worker())
    name, file = next(iter(archive.log().manifest().files.items()))
    with Path(archive.url, name).open("r+b") as stream:
        stream.seek(file.size - 20)
        stream.write(b"x")
    assert rebuild_manifest(archive.store, "test").damaged == [name]
    assert name not in archive.log().manifest().files


def test_what_was_erased_does_not_come_back_with_a_file_that_still_lay_there(archive: Archiving):
    events = archive.events(40)
    archive.send(events)
    archive.drain(archive.worker())
    old = {name: Path(archive.url, name).read_bytes() for name in archive.log().manifest().files}
    for event in events[:20]:
        erase(archive, event["tenant_id"], event["aggregate_id"])
    for name, content in old.items():  # as when it died before it deleted them
        Path(archive.url, name).write_bytes(content)
    at = archive.settings.archive.model_copy(update={"url": archive.url})
    said = io.StringIO()
    assert command(archive.settings.model_copy(update={"archive": at}), Console(file=said, width=200))
    assert "erased again: " in said.getvalue()
    assert sorted(archive.archived()) == sorted(event["event_id"] for event in events[20:])
    assert archive.store.sizes("events").keys() == archive.log().manifest().files.keys()


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("point", "times"),
    [
        (FailPoint.FILE_NAMED, 2),  # copying the old manifest
        (FailPoint.FILE_DELETED, 1),
        (FailPoint.FILE_DELETED, 3),
        (FailPoint.ENTRY_PUBLISHED, 1),  # the tombstone is there, the files are not
        (FailPoint.ENTRY_PUBLISHED, 2),
        (FailPoint.ENTRY_PUBLISHED, 3),
    ],
)
def test_a_rebuild_that_was_killed_is_finished_by_the_next_one(
    archive: Archiving, point: FailPoint, times: int, seed: int
):
    filled(archive)
    before = archive.log().manifest()
    run_killed(url=archive.url, point=point, times=times, seed=seed)
    rebuild_manifest(open_store(archive.url), "test")
    assert said(archive.log().manifest()) == said(before)
