"""Erase a person's records from the archive, and keep them out with an erasure record.

1. Find the records that name the person, and all records of the same groups (orders).
2. Store the erasure record as an object of its own, which a rebuild of the manifest reads.
3. Write each file that holds such records again, without them.
4. Append one entry: it replaces the old files by the new ones, and adds the erasure.
5. Delete the old files at once, with all other files of the tenant's bucket that the manifest no longer holds. Files
   without an entry are deleted too where they hold the person's records; compaction decides on the others.

From step 4 on the worker skips erased records, and an entry with files that it opened before is refused. After a crash,
running the erasure again completes it: ids that were found earlier are read from the erasure records.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from pydantic import TypeAdapter

from schemas.failpoints import FailPoint, reached
from schemas.tables import TABLES, Table
from sinks.archive.batch import ArchiveBatch
from sinks.archive.file_writer import FileWriter
from sinks.archive.files import Codec, Datum, FileDamaged, read, verify_file
from sinks.archive.layout import bucket, made_at
from sinks.archive.log import Log, Superseded, verified_content, with_checksum
from sinks.archive.manifest import ArchivedFile, Draft, Erasure, Kind
from sinks.archive.reader import explain_read_error
from sinks.archive.store import Store
from sinks.archive.subject import Subject, belongs_to, group_of, id_of, personal_tables

ERASURES = "erasures"
Ids = dict[str, set[str]]  # by table


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureRecord:
    """An erasure as it is stored beside the manifest: who asked for it, when, and the offsets archived by then."""

    by: str
    at: datetime
    erasure: Erasure
    offsets: dict[str, tuple[str, int]]


ERASURE_RECORD: TypeAdapter[ErasureRecord] = TypeAdapter(ErasureRecord)


@dataclass(slots=True)
class FoundRecords:
    """The records of a person in the archive: their ids by table, the number of rows in files, and the files."""

    ids: Ids = field(default_factory=dict)
    rows: int = 0
    files: list[ArchivedFile] = field(default_factory=list)


class Eraser:
    """Erases `subject` from the archive.

    All methods raise FileDamaged, ManifestDamaged, ArchiveUnavailable; and Superseded where a file was removed while it
    was being read.
    """

    def __init__(
        self, log: Log, subject: Subject, spool: Path, codec: Codec = "zstandard", tables: Iterable[Table] = TABLES
    ) -> None:
        self.subject = subject
        self._log, self._spool = log, spool
        self._codec: Codec = codec
        self._tables = personal_tables(tables)

    def earlier_ids(self) -> Ids:
        """Return the ids that earlier erasures of the same person found, including unfinished ones."""
        erasures = [each.erasure for each in read_erasure_records(self._log.store)] + self._log.manifest().erasures
        return merged(each.events for each in erasures if each.subject_sha256 == self.subject.sha256)

    def groups(self) -> set[str]:
        """Return the groups (orders) that archived records show to be the person's."""
        found: set[str] = set()
        for table in self._tables:
            of = group_of(table, self.subject)
            for file in self._files(table):
                for datum in self._read(file):
                    found.update(of(datum))
        return found

    def find(self, groups: set[str], ids: Mapping[str, set[str]]) -> FoundRecords:
        """Find the person's records: those that name the person, those of `groups`, and those of `ids` (by table)."""
        found = FoundRecords()
        for table in self._tables:
            is_theirs, id_ = belongs_to(table, self.subject, groups, ids.get(table.name, set())), id_of(table)
            for file in self._files(table):
                theirs = [id_(datum) for datum in self._read(file) if is_theirs(datum)]
                if theirs:
                    found.files.append(file)
                    found.rows += len(theirs)
                    found.ids.setdefault(table.name, set()).update(theirs)
        return found

    def erase(self, files: Iterable[ArchivedFile], ids: Ids) -> None:
        """Run steps 2 to 5 for `files`; `ids` are never archived again. After Superseded, find the records again."""
        erasure = Erasure(
            id=str(uuid4()),
            tenant=self.subject.tenant,
            subject_sha256=self.subject.sha256,
            events={table: sorted(each) for table, each in sorted(ids.items()) if each},
        )
        draft = self._log.draft(Kind.ERASE, erasure=erasure)
        record = ErasureRecord(by=draft.by, at=draft.at, erasure=erasure, offsets=self._log.manifest().offsets)
        self._log.store.put(erasure_record_name(erasure), [with_checksum(ERASURE_RECORD, record)])
        self._replace(draft, files, ids)

    def reapply(self) -> int:
        """Run steps 3 to 5 for files that hold records of the tenant that were erased earlier; return how many rows.

        Only a rebuild of the manifest can have added such files.
        """
        erasures = [each for each in self._log.manifest().erasures if each.tenant == self.subject.tenant]
        ids = merged(each.events for each in erasures)
        found = self.find(set(), ids)
        if found.files:
            self._replace(self._log.draft(Kind.ERASE), found.files, ids)
        return found.rows

    def delete_removed(self) -> int:
        """Delete all files of the tenant's bucket that the manifest no longer holds, and return how many."""
        manifest = self._log.manifest()
        left = sorted(self._stored() & manifest.gone.keys() - manifest.files.keys())
        for name in left:
            self._log.store.delete(name)
            reached(FailPoint.FILE_DELETED)
        return len(left)

    def erased_ids(self) -> Ids:
        """Return the person's ids that the manifest lists as erased."""
        erasures = self._log.manifest().erasures
        return merged(each.events for each in erasures if each.subject_sha256 == self.subject.sha256)

    @property
    def _bucket(self) -> int:
        return bucket(self.subject.tenant)

    def _files(self, table: Table) -> list[ArchivedFile]:
        folders = self._log.manifest().folders(table.name)
        return [file for folder, files in folders.items() if folder.bucket == self._bucket for file in files]

    def _read(self, file: ArchivedFile) -> Iterator[Datum]:
        try:
            yield from read(self._log.store, file)
        except FileDamaged as error:
            raise explain_read_error(self._log, [file], error) from None

    def _stored(self) -> set[str]:
        """Return the names of the stored files of the tenant's bucket."""
        folders = [f"{table.name}/tenant_bucket={self._bucket:02}" for table in self._tables]
        return {name for folder in folders for name in self._log.store.sizes(folder) if made_at(name) is not None}

    def _replace(self, draft: Draft, files: Iterable[ArchivedFile], ids: Ids) -> None:
        batch = ArchiveBatch(self._spool, self._codec)
        try:
            self._commit(draft, list(files), batch, ids)
        finally:
            batch.discard()
        self.delete_removed()

    def _commit(self, draft: Draft, files: list[ArchivedFile], batch: ArchiveBatch, ids: Ids) -> None:
        log, tables = self._log, {table.name: table for table in self._tables}
        stored = self._stored()  # before the manifest is read: a file that an entry adds meanwhile is then not barred
        manifest = log.manifest()
        unknown = sorted(
            stored - manifest.files.keys() - manifest.gone.keys()
        )  # left by a crash, or about to get an entry
        theirs = tuple(name for name in unknown if self._holds(name, ids))
        for file in files:
            self._rewrite(batch, tables[file.table], file, ids.get(file.table, set()))
        old = tuple(file.name for file in files)
        added = batch.publish(log.store, replaces=old, offsets=log.manifest().offsets)
        try:
            log.commit(replace(draft, added=added, removed=old, swept=theirs))
        except Superseded:  # no entry was written, so none will ever add these
            for name in [
                *(file.name for file in added),
                *([erasure_record_name(draft.erasure)] if draft.erasure else []),
            ]:
                log.store.delete(name)
            raise

    def _holds(self, name: str, ids: Ids) -> bool:
        """Tell whether a file without an entry holds records of the person. An unreadable file is kept, as it may hold
        the only copy of other records."""
        table = next(table for table in self._tables if name.startswith(f"{table.name}/"))
        is_theirs = belongs_to(table, self.subject, set(), ids.get(table.name, set()))
        try:
            return any(is_theirs(datum) for datum in read(self._log.store, name))
        except FileDamaged:
            return False

    def _rewrite(self, batch: ArchiveBatch, table: Table, file: ArchivedFile, ids: set[str]) -> None:
        """Copy the records that remain into the batch's file of the same folder."""
        try:
            verify_file(self._log.store, file)  # a damaged file must not get a new, valid SHA-256
        except FileDamaged as error:
            raise explain_read_error(self._log, [file], error) from None
        tenant, id_, left_out = self.subject.tenant, id_of(table), 0
        into: FileWriter | None = None
        for datum in read(self._log.store, file):
            if datum["tenant_id"] == tenant and id_(datum) in ids:
                left_out += 1
            else:
                into = batch.file(table, datum["tenant_id"], file.day)
                into.copy(datum)
        if into is not None:
            into.erased += file.erased + left_out


def reapply_erasures(log: Log, spool: Path, codec: Codec = "zstandard", tables: Iterable[Table] = TABLES) -> int:
    """Erase again from files that a rebuild has added back, and return the number of rows. Raises as Eraser does."""
    tenants = sorted({each.tenant for each in log.manifest().erasures})
    return sum(Eraser(log, Subject(tenant, ""), spool, codec, tables).reapply() for tenant in tenants)


def erasure_record_name(erasure: Erasure) -> str:
    """Return the name of the object that holds an erasure's record."""
    return f"{ERASURES}/{erasure.id}.json"


def read_erasure_record(store: Store, name: str) -> ErasureRecord:
    """Read one erasure record. Raises ManifestDamaged, Missing, ArchiveUnavailable."""
    with store.open(name) as stream:
        return verified_content(ERASURE_RECORD, stream.read(), f"{store.url}/{name}")


def read_erasure_records(store: Store) -> list[ErasureRecord]:
    """Read all erasure records, the oldest first. Raises ManifestDamaged, ArchiveUnavailable."""
    return sorted((read_erasure_record(store, name) for name in store.sizes(ERASURES)), key=lambda each: each.at)


def merged(several: Iterable[Mapping[str, Iterable[str]]]) -> Ids:
    """Merge several sets of ids by table into one."""
    found: Ids = {}
    for one in several:
        for table, ids in one.items():
            found.setdefault(table, set()).update(ids)
    return found
