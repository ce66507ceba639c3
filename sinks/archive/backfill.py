"""Events that the archive lacks, from where they still are: what a gap, a damaged file or a dead letter left out."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

from schemas.tables import Table
from sinks.archive.batch import ArchiveBatch
from sinks.archive.files import ORIGIN, Datum, FileDamaged, check
from sinks.archive.layout import ArchiveFolder, bucket, identity
from sinks.archive.log import Log
from sinks.archive.manifest import ArchivedFile, Kind
from sinks.archive.reader import distinct, key_of


@dataclass(slots=True)
class Backfilled:
    """How many events were archived; files that are damaged and whose events are all there again, so they were taken
    out of the manifest, and damaged files of which events may still be missing."""

    events: int = 0
    replaced: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def backfill(log: Log, table: Table, day: date, rows: Iterable[Datum], batch: ArchiveBatch) -> Backfilled:
    """Archives those of a day's `rows` (without ORIGIN's columns) that no whole file holds and nobody erased, in the
    files of `batch`, which is empty again afterwards.

    Raises Superseded when something was erased or removed meanwhile: try again; ManifestDamaged, ArchiveUnavailable.
    """
    manifest = log.manifest()
    erasures, erased, id_ = len(manifest.erasures), manifest.erased(table.name), table.key[-1]
    of, key = identity(table), key_of(table)
    held, damaged = _held(log, table, day)
    written = dict.fromkeys((file.folder for file in damaged), 0)
    done = Backfilled()
    try:
        for row in rows:
            tenant = row["tenant_id"]
            if of(key(row)) in held or (tenant, row[id_]) in erased:
                continue
            if batch.file(table, tenant, day).write(key(row), row | _origin(table, row), row["occurred_at"]):
                done.events += 1
                folder = ArchiveFolder(table.name, bucket(tenant), day)
                written[folder] = written.get(folder, 0) + 1
        _judge(done, damaged, written)
        if done.events:
            removed = tuple(done.replaced)
            added = batch.publish(log.store, replaces=removed, offsets=manifest.offsets)
            log.commit(log.draft(Kind.APPEND, added=added, removed=removed, erasures=erasures))
    finally:
        batch.discard()
    return done


def add(log: Log, table: Table, row: Datum, batch: ArchiveBatch) -> bool:
    """Archives one event (without ORIGIN's columns) where no whole file holds it; `batch` is empty again afterwards.
    Returns whether the archive holds it now: an erased one it doesn't.

    Raises Superseded when something was erased or removed meanwhile: try again; ManifestDamaged, ArchiveUnavailable.
    """
    manifest, key = log.manifest(), key_of(table)(row)
    if (row["tenant_id"], row[table.key[-1]]) in manifest.erased(table.name):
        return False
    held, _ = _held(log, table, row[str(table.ages_by)])
    if identity(table)(key) in held:
        return True
    try:
        file = batch.file(table, row["tenant_id"], row[str(table.ages_by)])
        file.write(key, row | _origin(table, row), row["occurred_at"])
        added = batch.publish(log.store, offsets=manifest.offsets)
        log.commit(log.draft(Kind.APPEND, added=added, erasures=len(manifest.erasures)))
    finally:
        batch.discard()
    return True


def _judge(done: Backfilled, damaged: list[ArchivedFile], written: dict[ArchiveFolder, int]) -> None:
    """A damaged file is given up where its folder got at least as many events as its damaged files had."""
    for file in damaged:
        had = sum(other.rows for other in damaged if other.folder == file.folder)
        (done.replaced if written[file.folder] >= had else done.damaged).append(file.name)


def _held(log: Log, table: Table, day: date) -> tuple[set[str], list[ArchivedFile]]:
    """The identities of what whole files of a day hold, and the damaged files."""
    of, key = identity(table), key_of(table)
    held: set[str] = set()
    damaged: list[ArchivedFile] = []
    for folder, files in log.manifest().folders(table.name).items():
        if folder.day != day:
            continue
        for file in files:
            try:
                check(log.store, file)
                held.update(of(key(datum)) for datum in distinct(log.store, table, [file]))
            except FileDamaged:
                damaged.append(file)
    return held, damaged


def _origin(table: Table, row: Datum) -> Datum:
    """ORIGIN's columns of an event that no worker has archived: the topic that captures it, and no place in it."""
    topics = dict(zip(table.aggregates, table.captured_topics, strict=True))
    topic = topics.get(row["aggregate_type"], table.captured_topics[0])
    return dict(zip(ORIGIN, (topic, -1, -1, 0), strict=True))
