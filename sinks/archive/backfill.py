"""Backfill events that the archive lacks because of a gap, a damaged file or a dead letter."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

from schemas.tables import Table
from sinks.archive.batch import ArchiveBatch
from sinks.archive.files import ORIGIN, Datum, FileDamaged, verify_file
from sinks.archive.layout import ArchiveFolder, bucket, identity
from sinks.archive.log import Log
from sinks.archive.manifest import ArchivedFile, Kind
from sinks.archive.reader import distinct, key_of


@dataclass(slots=True)
class BackfillResult:
    """The result of a backfill.

    `events` is the number of archived events, `replaced` are the damaged files that left the manifest because all of
    their events are archived again, and `damaged` are the damaged files whose events may still be missing.
    """

    events: int = 0
    replaced: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def archive_missing(log: Log, table: Table, day: date, rows: Iterable[Datum], batch: ArchiveBatch) -> BackfillResult:
    """Archive those of a day's `rows` that no intact file holds and that were not erased.

    Args:
        log: the archive's log.
        table: a table of events.
        day: the day of the events (UTC).
        rows: events of that day, without the columns of ORIGIN.
        batch: an empty batch to write with; it is empty again afterwards.

    Raises:
        Superseded: something was erased or removed meanwhile; try again.
        ManifestDamaged: the manifest can't be read.
        ArchiveUnavailable: the archive can't be read or written.
    """
    manifest = log.manifest()
    erasures, erased, id_ = len(manifest.erasures), manifest.erased(table.name), table.key[-1]
    of, key = identity(table), key_of(table)
    archived, damaged = _archived_on(log, table, day)
    written = dict.fromkeys((file.folder for file in damaged), 0)
    done = BackfillResult()
    try:
        for row in rows:
            tenant = row["tenant_id"]
            if of(key(row)) in archived or (tenant, row[id_]) in erased:
                continue
            if batch.file(table, tenant, day).write(key(row), row | _origin(table, row), row["occurred_at"]):
                done.events += 1
                folder = ArchiveFolder(table.name, bucket(tenant), day)
                written[folder] = written.get(folder, 0) + 1
        _sort_damaged(done, damaged, written)
        if done.events:
            removed = tuple(done.replaced)
            added = batch.publish(log.store, replaces=removed, offsets=manifest.offsets)
            log.commit(log.draft(Kind.APPEND, added=added, removed=removed, erasures=erasures))
    finally:
        batch.discard()
    return done


def archive_event(log: Log, table: Table, row: Datum, batch: ArchiveBatch) -> bool:
    """Archive one event, unless an intact file holds it or it was erased.

    `row` lacks the columns of ORIGIN. `batch` is an empty batch to write with; it is empty again afterwards.

    Returns:
        True where the archive holds the event now, False where the event was erased.

    Raises:
        Superseded: something was erased or removed meanwhile; try again.
        ManifestDamaged: the manifest can't be read.
        ArchiveUnavailable: the archive can't be read or written.
    """
    manifest, key = log.manifest(), key_of(table)(row)
    if (row["tenant_id"], row[table.key[-1]]) in manifest.erased(table.name):
        return False
    archived, _ = _archived_on(log, table, row[str(table.ages_by)])
    if identity(table)(key) in archived:
        return True
    try:
        file = batch.file(table, row["tenant_id"], row[str(table.ages_by)])
        file.write(key, row | _origin(table, row), row["occurred_at"])
        added = batch.publish(log.store, offsets=manifest.offsets)
        log.commit(log.draft(Kind.APPEND, added=added, erasures=len(manifest.erasures)))
    finally:
        batch.discard()
    return True


def _sort_damaged(done: BackfillResult, damaged: list[ArchivedFile], written: dict[ArchiveFolder, int]) -> None:
    """Replace a damaged file where its folder got at least as many events as its damaged files had."""
    for file in damaged:
        had = sum(other.rows for other in damaged if other.folder == file.folder)
        (done.replaced if written[file.folder] >= had else done.damaged).append(file.name)


def _archived_on(log: Log, table: Table, day: date) -> tuple[set[str], list[ArchivedFile]]:
    """Return the identities of the records in the intact files of a day, and the damaged files."""
    of, key = identity(table), key_of(table)
    archived: set[str] = set()
    damaged: list[ArchivedFile] = []
    for folder, files in log.manifest().folders(table.name).items():
        if folder.day != day:
            continue
        for file in files:
            try:
                verify_file(log.store, file)
                archived.update(of(key(datum)) for datum in distinct(log.store, table, [file]))
            except FileDamaged:
                damaged.append(file)
    return archived, damaged


def _origin(table: Table, row: Datum) -> Datum:
    """Return the columns of ORIGIN for an event that was not archived from Kafka: its topic, without an offset."""
    topics = dict(zip(table.aggregates, table.captured_topics, strict=True))
    topic = topics.get(row["aggregate_type"], table.captured_topics[0])
    return dict(zip(ORIGIN, (topic, -1, -1, 0), strict=True))
