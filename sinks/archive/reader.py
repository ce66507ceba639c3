"""Reading back: what readers, proofs and compaction see of the archive. A record that is in two files counts once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from schemas.change import Key
from schemas.errors import HeadraceError
from schemas.tables import Mode, Table
from sinks.archive.files import Datum, FileDamaged, check, read
from sinks.archive.layout import ArchiveFolder, bucket, identity
from sinks.archive.log import Log, Superseded
from sinks.archive.manifest import ArchivedFile, Manifest
from sinks.archive.store import Store
from sinks.archive.subject import id_of

_EARLIEST, _LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveSelection:
    """Which records to read: of a tenant, of an event type, of a time. None is all of them.

    `since` and `until` are days (UTC), both included, or instants: from `since` on, before `until`. Records that age by
    month are of its first instant.
    """

    tenant: str | None = None
    event_type: str | None = None
    since: date | datetime | None = None
    until: date | datetime | None = None

    def reaches(self, folder: ArchiveFolder) -> bool:
        """Whether a folder may hold selected records."""
        begin, end = self._span()
        midnight = _midnight(folder.day)
        of_its_bucket = self.tenant is None or bucket(self.tenant) == folder.bucket
        return of_its_bucket and midnight < end and begin < _day_after(midnight)

    def reaches_file(self, file: ArchivedFile) -> bool:
        """Whether a file of such a folder may."""
        begin, end = self._span()
        return begin <= file.last and file.first < end

    def matcher(self, table: Table) -> Callable[[Datum], bool]:
        """A function that tells whether a record of `table` is selected."""
        (begin, end), at = self._span(), instant_of(table)
        wanted = {"tenant_id": self.tenant, "event_type": self.event_type}
        equal = [(name, value) for name, value in wanted.items() if value is not None]
        return lambda datum: all(datum[name] == value for name, value in equal) and begin <= at(datum) < end

    def _span(self) -> tuple[datetime, datetime]:
        """From the one instant on to before the other."""
        since, until = self.since, self.until
        begin = _EARLIEST if since is None else since if isinstance(since, datetime) else _midnight(since)
        end = _LATEST if until is None else until if isinstance(until, datetime) else _day_after(_midnight(until))
        return begin, end


def records(log: Log, table: Table, selection: ArchiveSelection = ArchiveSelection()) -> Iterator[Datum]:
    """The selected records of a table, each once, without those that were erased; by day, bucket and file. It holds the
    identities of one folder. A file is compared with its SHA-256 before the first record of it is given.

    Raises FileDamaged, ManifestDamaged, ArchiveUnavailable; Superseded where files were removed and deleted meanwhile.
    """
    manifest = log.manifest()
    erased, wanted = erased_of(manifest, table), selection.matcher(table)
    for folder, files in manifest.folders(table.name).items():
        if selection.reaches(folder):
            for datum in _whole(log, table, [file for file in files if selection.reaches_file(file)]):
                if wanted(datum) and not erased(datum):
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


def instant_of(table: Table) -> Callable[[Datum], datetime]:
    """A function from a record to when it occurred; for what ages by month, that is the month."""
    if table.mode is Mode.EVENT:
        return lambda datum: datum["occurred_at"]
    return lambda datum: _midnight(datum[str(table.ages_by)])


def erased_of(manifest: Manifest, table: Table) -> Callable[[Datum], bool]:
    """A function that tells whether a record of `table` was erased."""
    erased, tenant, id_ = manifest.erased(table.name), table.key[0], id_of(table)
    return lambda datum: bool(erased) and (datum[tenant], id_(datum)) in erased


def meanwhile(log: Log, files: Iterable[ArchivedFile], error: FileDamaged) -> HeadraceError:
    """What it means that one of `files` can't be read: Superseded where one was removed since they were looked up, as
    it may be deleted then; else the error itself. Raises ManifestDamaged, ArchiveUnavailable."""
    known = log.manifest().files
    removed = [file.name for file in files if file.name not in known]
    if not removed:
        return error
    return Superseded(f"{removed[0]} was removed from the archive while it was being read: read again")


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _day_after(midnight: datetime) -> datetime:
    return midnight + timedelta(days=1) if midnight.date() < date.max else _LATEST


def _whole(log: Log, table: Table, files: Sequence[ArchivedFile]) -> Iterator[Datum]:
    try:
        yield from distinct(log.store, table, checked(log.store, files))
    except FileDamaged as error:
        raise meanwhile(log, files, error) from None
