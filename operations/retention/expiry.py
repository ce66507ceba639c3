"""Remove expired records from the archive itself, where the policy says so. `archive compact` deletes the files."""

from collections.abc import Iterator, Sequence
from datetime import date

from operations.months import month
from operations.retention.item import RetentionItem, RetentionOutcome
from operations.retention.policy import Age
from operations.retention.stores import Stores
from schemas.tables import TABLES, Mode, Table
from sinks.archive.batch import ArchiveBatch
from sinks.archive.files import Datum, FileDamaged, read
from sinks.archive.layout import ArchiveFolder, bucket
from sinks.archive.log import Log, Superseded
from sinks.archive.manifest import ArchivedFile, Kind
from sinks.archive.reader import verified


def expire_archive(stores: Stores) -> Iterator[RetentionItem]:
    """Yield the folders older than the policy's [archive], each after its removal; none where the policy has no limit.

    Records of tenants under a legal hold are copied to new files first. With `stores.dry` nothing is removed.
    """
    years = stores.policy.archive.years
    if years is None:
        return
    before = Age(years=years).before(stores.now.date())
    for table in TABLES:
        for folder, files in stores.log.manifest().folders(table.name).items():
            if _end(table, folder) <= before:
                yield from _expire(stores, table, folder, files)


def _end(table: Table, folder: ArchiveFolder) -> date:
    return folder.day if table.mode is Mode.EVENT else month(folder.day, 1)


def _expire(
    stores: Stores, table: Table, folder: ArchiveFolder, files: Sequence[ArchivedFile]
) -> Iterator[RetentionItem]:
    held = {tenant for tenant in stores.held if bucket(tenant) == folder.bucket}
    batch, outcome, detail = ArchiveBatch(stores.spool, stores.codec), RetentionOutcome.GOES, ""
    gone = sum(file.rows for file in files)
    try:
        for datum in _records_on_hold(stores, files, held):
            gone -= batch.file(table, datum["tenant_id"], folder.day).copy(datum)
        if gone and not stores.dry:
            _remove(stores.log, files, batch)
            outcome = RetentionOutcome.GONE
    except (FileDamaged, Superseded) as error:
        outcome, detail = RetentionOutcome.KEPT, str(error)
    finally:
        batch.discard()
    if gone:
        why = f"older than {stores.policy.archive.years} years, for good"
        yield RetentionItem(store="archive", what=str(folder), count=gone, why=why, outcome=outcome, detail=detail)


def _records_on_hold(stores: Stores, files: Sequence[ArchivedFile], held: set[str]) -> Iterator[Datum]:
    if held:
        for file in verified(stores.log.store, files):
            yield from (datum for datum in read(stores.log.store, file) if datum["tenant_id"] in held)


def _remove(log: Log, files: Sequence[ArchivedFile], batch: ArchiveBatch) -> None:
    names = tuple(file.name for file in files)
    added = batch.publish(log.store, replaces=names, offsets=log.manifest().offsets)
    log.commit(log.draft(Kind.EXPIRE, added=added, removed=names))
