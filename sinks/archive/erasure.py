"""Erasure: a person's records leave the archive, and a tombstone keeps them out.

1. find them: what names the person, and all that belongs to the same groups (orders)
2. the tombstone gets an object of its own, which a rebuild of the manifest finds
3. files that hold any of them are written anew without them
4. one entry: the new files in the place of the old ones, and the tombstone
5. the old files are deleted at once, and what else of the tenant's bucket was removed from the manifest; so are files
   that no entry has added, where they hold the person: others are compaction's to judge

From 4 on the worker skips what was erased, and its open files are refused. A crash leaves what running it again does:
ids that were found earlier are taken from the tombstones, whatever is gone by then.
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
from sinks.archive.files import Codec, Datum, FileDamaged, FileWriter, check, read
from sinks.archive.layout import bucket, made_at
from sinks.archive.log import Log, Superseded, sealed, unsealed
from sinks.archive.manifest import ArchivedFile, Draft, Erasure, Kind
from sinks.archive.reader import meanwhile
from sinks.archive.store import Store
from sinks.archive.subject import Subject, group_of, id_of, is_of, personal

ERASURES = "erasures"
Ids = dict[str, set[str]]  # by table


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """An erasure as it lies beside the manifest: who asked, when, and how far the archive had come by then."""

    by: str
    at: datetime
    erasure: Erasure
    offsets: dict[str, tuple[str, int]]


TOMBSTONE: TypeAdapter[Tombstone] = TypeAdapter(Tombstone)


@dataclass(slots=True)
class FoundRecords:
    """Records of a person: their ids by table, how many rows they are in files, and which files."""

    ids: Ids = field(default_factory=dict)
    rows: int = 0
    files: list[ArchivedFile] = field(default_factory=list)


class Eraser:
    """Erases `subject` from the archive. Its methods raise FileDamaged, ManifestDamaged, ArchiveUnavailable; Superseded
    where a file was removed while it was being read."""

    def __init__(
        self, log: Log, subject: Subject, spool: Path, codec: Codec = "zstandard", tables: Iterable[Table] = TABLES
    ) -> None:
        self.subject = subject
        self._log, self._spool = log, spool
        self._codec: Codec = codec
        self._tables = personal(tables)

    def known(self) -> Ids:
        """What earlier erasures of the same person found, whether or not they came to their end."""
        erasures = [each.erasure for each in tombstones(self._log.store)] + self._log.manifest().erasures
        return merged(each.events for each in erasures if each.subject_sha256 == self.subject.sha256)

    def groups(self) -> set[str]:
        """The groups that the archive shows to be the person's."""
        found: set[str] = set()
        for table in self._tables:
            of = group_of(table, self.subject)
            for file in self._files(table):
                for datum in self._read(file):
                    found.update(of(datum))
        return found

    def find(self, groups: set[str], known: Mapping[str, set[str]]) -> FoundRecords:
        """The person's records: those of `groups`, those that name the person, and those `known` before."""
        found = FoundRecords()
        for table in self._tables:
            is_theirs, id_ = is_of(table, self.subject, groups, known.get(table.name, set())), id_of(table)
            for file in self._files(table):
                ids = [id_(datum) for datum in self._read(file) if is_theirs(datum)]
                if ids:
                    found.files.append(file)
                    found.rows += len(ids)
                    found.ids.setdefault(table.name, set()).update(ids)
        return found

    def erase(self, files: Iterable[ArchivedFile], ids: Ids) -> None:
        """Steps 2 to 5 for `files`; `ids` are what must never be archived again. Raises Superseded, then find anew."""
        erasure = Erasure(
            id=str(uuid4()),
            tenant=self.subject.tenant,
            subject_sha256=self.subject.sha256,
            events={table: sorted(each) for table, each in sorted(ids.items()) if each},
        )
        draft = self._log.draft(Kind.ERASE, erasure=erasure)
        tombstone = Tombstone(by=draft.by, at=draft.at, erasure=erasure, offsets=self._log.manifest().offsets)
        self._log.store.put(tombstone_name(erasure), [sealed(TOMBSTONE, tombstone)])
        self._replace(draft, files, ids)

    def again(self) -> int:
        """Steps 3 to 5 for files that hold what was erased earlier, of anybody of the tenant; returns how many rows
        that were. Only a rebuild can have taken such files."""
        erasures = [each for each in self._log.manifest().erasures if each.tenant == self.subject.tenant]
        ids = merged(each.events for each in erasures)
        found = self.find(set(), ids)
        if found.files:
            self._replace(self._log.draft(Kind.ERASE), found.files, ids)
        return found.rows

    def sweep(self) -> int:
        """Deletes files of the tenant's bucket that the manifest no longer holds, whoever removed them; how many."""
        manifest = self._log.manifest()
        left = sorted(self._lying() & manifest.gone.keys() - manifest.files.keys())
        for name in left:
            self._log.store.delete(name)
            reached(FailPoint.FILE_DELETED)
        return len(left)

    def erased(self) -> Ids:
        """What the manifest has tombstones for, of this person."""
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
            raise meanwhile(self._log, [file], error) from None

    def _lying(self) -> set[str]:
        """What lies in the tenant's bucket."""
        folders = [f"{table.name}/tenant_bucket={self._bucket:02}" for table in self._tables]
        return {name for folder in folders for name in self._log.store.sizes(folder) if made_at(name) is not None}

    def _replace(self, draft: Draft, files: Iterable[ArchivedFile], ids: Ids) -> None:
        batch = ArchiveBatch(self._spool, self._codec)
        try:
            self._commit(draft, list(files), batch, ids)
        finally:
            batch.discard()
        self.sweep()

    def _commit(self, draft: Draft, files: list[ArchivedFile], batch: ArchiveBatch, ids: Ids) -> None:
        log, tables = self._log, {table.name: table for table in self._tables}
        lying = self._lying()  # before the manifest is read: what an entry adds meanwhile is not swept then
        manifest = log.manifest()
        unknown = sorted(lying - manifest.files.keys() - manifest.gone.keys())  # left by a crash, or about to be added
        theirs = tuple(name for name in unknown if self._holds(name, ids))
        for file in files:
            self._rewrite(batch, tables[file.table], file, ids.get(file.table, set()))
        old = tuple(file.name for file in files)
        added = batch.publish(log.store, replaces=old, offsets=log.manifest().offsets)
        try:
            log.commit(replace(draft, added=added, removed=old, swept=theirs))
        except Superseded:  # no entry was written, so none will ever add these
            for name in [*(file.name for file in added), *([tombstone_name(draft.erasure)] if draft.erasure else [])]:
                log.store.delete(name)
            raise

    def _holds(self, name: str, ids: Ids) -> bool:
        """Whether a file that no entry has added holds anything of the person. Its other records may be nowhere else,
        so what can't be read is kept."""
        table = next(table for table in self._tables if name.startswith(f"{table.name}/"))
        is_theirs = is_of(table, self.subject, set(), ids.get(table.name, set()))
        try:
            return any(is_theirs(datum) for datum in read(self._log.store, name))
        except FileDamaged:
            return False

    def _rewrite(self, batch: ArchiveBatch, table: Table, file: ArchivedFile, ids: set[str]) -> None:
        """Writes what of a file is not to go into the batch's file of its folder."""
        try:
            check(self._log.store, file)  # a new SHA-256 must not vouch for what had been damaged before
        except FileDamaged as error:
            raise meanwhile(self._log, [file], error) from None
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


def forget_erased(log: Log, spool: Path, codec: Codec = "zstandard", tables: Iterable[Table] = TABLES) -> int:
    """Leaves out of files again what was erased, where a rebuild has taken files that still lay there; returns how many
    rows those were. Raises Superseded, and what Eraser does."""
    tenants = sorted({each.tenant for each in log.manifest().erasures})
    return sum(Eraser(log, Subject(tenant, ""), spool, codec, tables).again() for tenant in tenants)


def tombstone_name(erasure: Erasure) -> str:
    """The object that an erasure lies in, beside its entry."""
    return f"{ERASURES}/{erasure.id}.json"


def tombstone(store: Store, name: str) -> Tombstone:
    """The erasure of one object. Raises ManifestDamaged, Missing, ArchiveUnavailable."""
    with store.open(name) as stream:
        return unsealed(TOMBSTONE, stream.read(), f"{store.url}/{name}")


def tombstones(store: Store) -> list[Tombstone]:
    """Every erasure that ever began, in the order in which they did. Raises ManifestDamaged, ArchiveUnavailable."""
    return sorted((tombstone(store, name) for name in store.sizes(ERASURES)), key=lambda each: each.at)


def merged(several: Iterable[Mapping[str, Iterable[str]]]) -> Ids:
    """Ids by table, of all of them together."""
    found: Ids = {}
    for one in several:
        for table, ids in one.items():
            found.setdefault(table, set()).update(ids)
    return found
