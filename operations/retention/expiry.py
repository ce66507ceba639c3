"""What the archive itself lets go of, for good, where the policy says so. `archive compact` deletes the files."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime

from operations.months import month
from operations.retention.item import Item, Outcome
from operations.retention.policy import Age
from operations.retention.stores import Stores
from schemas.tables import TABLES, Mode, Table
from sinks.archive.batch import Batch
from sinks.archive.files import Datum, read
from sinks.archive.layout import Folder, bucket
from sinks.archive.log import Superseded
from sinks.archive.manifest import ArchivedFile, Kind
from sinks.archive.reading import key_of


def expired(stores: Stores) -> Iterator[Item]:
    """Folders that are older than the policy's [archive]; nothing where it has none. What belongs to a tenant under a
    legal hold is written anew into files of its own."""
    years = stores.policy.archive.years
    if years is None:
        return
    before = Age(years=years).before(stores.now.date())
    for table in TABLES:
        for folder, files in stores.log.manifest().folders(table.name).items():
            if _end(table, folder) <= before:
                yield from _expire(stores, table, folder, files)


def _end(table: Table, folder: Folder) -> date:
    return folder.day if table.mode is Mode.EVENT else month(folder.day, 1)


def _expire(stores: Stores, table: Table, folder: Folder, files: Sequence[ArchivedFile]) -> Iterator[Item]:
    held = {tenant for tenant in stores.held if bucket(tenant) == folder.bucket}
    batch = Batch(stores.spool, stores.codec)
    try:
        kept = sum(_keep(batch, table, folder, datum) for datum in _held(stores, files, held))
        gone = sum(file.rows for file in files) - kept
        if gone > 0:
            yield _let_go(stores, folder, files, batch, gone)
    finally:
        batch.discard()


def _held(stores: Stores, files: Sequence[ArchivedFile], held: set[str]) -> Iterator[Datum]:
    if held:
        for file in files:
            yield from (datum for datum in read(stores.log.store, file) if datum["tenant_id"] in held)


def _keep(batch: Batch, table: Table, folder: Folder, datum: Datum) -> bool:
    at = datum.get("occurred_at") or datetime.combine(folder.day, datetime.min.time())
    return batch.file(table, datum["tenant_id"], folder.day).write(key_of(table)(datum), datum, at)


def _let_go(stores: Stores, folder: Folder, files: Sequence[ArchivedFile], batch: Batch, gone: int) -> Item:
    outcome, detail = Outcome.GOES, ""
    if not stores.dry:
        log, names = stores.log, tuple(file.name for file in files)
        try:
            added = batch.publish(log.store, replaces=names, offsets=log.manifest().offsets)
            log.commit(log.draft(Kind.EXPIRE, added=added, removed=names))
            outcome = Outcome.GONE
        except Superseded as error:
            outcome, detail = Outcome.KEPT, str(error)
    why = f"older than {stores.policy.archive.years} years, for good"
    return Item(store="archive", what=str(folder), count=gone, why=why, outcome=outcome, detail=detail)
