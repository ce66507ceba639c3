"""Reading back: what readers, proofs and compaction see of the archive. A record that is in two files counts once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from schemas.change import Key
from schemas.tables import Table
from sinks.archive.files import Datum, FileDamaged, check, read
from sinks.archive.layout import Folder, bucket, identity
from sinks.archive.log import Log, Superseded
from sinks.archive.manifest import ArchivedFile
from sinks.archive.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which records to read: of a tenant, of an event type, of the days (UTC) `since` to `until`, both included. None
    is all of them. Records that age by month have the first of the month for their day."""

    tenant: str | None = None
    event_type: str | None = None
    since: date | None = None
    until: date | None = None

    def on(self, day: date) -> bool:
        """Whether a day is selected."""
        return (self.since is None or self.since <= day) and (self.until is None or day <= self.until)

    def reaches(self, folder: Folder) -> bool:
        """Whether a folder may hold selected records."""
        return self.on(folder.day) and (self.tenant is None or bucket(self.tenant) == folder.bucket)

    def matcher(self, table: Table) -> Callable[[Datum], bool]:
        """A function that tells whether a record of `table` is selected."""
        day = str(table.ages_by)
        wanted = {"tenant_id": self.tenant, "event_type": self.event_type}
        equal = [(name, value) for name, value in wanted.items() if value is not None]
        return lambda datum: all(datum[name] == value for name, value in equal) and self.on(datum[day])


def records(log: Log, table: Table, selection: Selection = Selection()) -> Iterator[Datum]:
    """The selected records of a table, each once, without those that were erased; by day, bucket and file. It holds the
    identities of one folder. A file is compared with its SHA-256 before the first record of it is given.

    Raises FileDamaged, ManifestDamaged, ArchiveUnavailable; Superseded where files were removed and deleted meanwhile.
    """
    manifest = log.manifest()
    erased, tenant, id_ = manifest.erased(table.name), table.key[0], table.key[-1]
    wanted = selection.matcher(table)
    for folder, files in manifest.folders(table.name).items():
        if selection.reaches(folder):
            for datum in _whole(log, table, files):
                if wanted(datum) and (datum[tenant], str(datum[id_])) not in erased:
                    yield datum


def distinct(store: Store, table: Table, files: Iterable[ArchivedFile]) -> Iterator[Datum]:
    """The records of some files of one folder, each once. Raises FileDamaged, ArchiveUnavailable."""
    key, of = key_of(table), identity(table)
    seen: set[str] = set()
    for file in files:
        for datum in read(store, file):
            id_ = of(key(datum))
            if id_ not in seen:
                seen.add(id_)
                yield datum


def checked(store: Store, files: Iterable[ArchivedFile]) -> Iterator[ArchivedFile]:
    """The files, each once it was found to be what was written. Raises FileDamaged, ArchiveUnavailable."""
    for file in files:
        check(store, file)
        yield file


def key_of(table: Table) -> Callable[[Datum], Key]:
    """A function from a record to its key."""
    names = table.key
    return lambda datum: tuple(datum[name] for name in names)


def _whole(log: Log, table: Table, files: Sequence[ArchivedFile]) -> Iterator[Datum]:
    try:
        yield from distinct(log.store, table, checked(log.store, files))
    except FileDamaged:
        removed = [file.name for file in files if file.name not in log.manifest().files]
        if not removed:
            raise
        raise Superseded(f"{removed[0]} was removed from the archive while it was being read: read again") from None
