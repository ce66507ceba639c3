"""Read archived records, for readers, proofs and compaction. A record that is in two files counts once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from schemas.change import Key
from schemas.errors import HeadraceError
from schemas.tables import Mode, Table
from sinks.archive.files import Datum, FileDamaged, read, verify_file
from sinks.archive.layout import ArchiveFolder, bucket, identity
from sinks.archive.log import Log, Superseded
from sinks.archive.manifest import ArchivedFile, Manifest
from sinks.archive.store import Store
from sinks.archive.subject import id_of

_EARLIEST, _LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveSelection:
    """A selection of records by tenant, event type and time; None selects all.

    `since` and `until` are days (UTC), both included, or instants: from `since` to before `until`. Records that age by
    month count as of the month's first instant.
    """

    tenant: str | None = None
    event_type: str | None = None
    since: date | datetime | None = None
    until: date | datetime | None = None

    def reaches(self, folder: ArchiveFolder) -> bool:
        """Tell whether a folder may hold selected records."""
        begin, end = self._span()
        midnight = _midnight(folder.day)
        of_its_bucket = self.tenant is None or bucket(self.tenant) == folder.bucket
        return of_its_bucket and midnight < end and begin < _day_after(midnight)

    def reaches_file(self, file: ArchivedFile) -> bool:
        """Tell whether a file of such a folder may hold selected records."""
        begin, end = self._span()
        return begin <= file.last and file.first < end

    def matcher(self, table: Table) -> Callable[[Datum], bool]:
        """Return a function that tells whether a record of `table` is selected."""
        (begin, end), at = self._span(), instant_of(table)
        wanted = {"tenant_id": self.tenant, "event_type": self.event_type}
        equal = [(name, value) for name, value in wanted.items() if value is not None]
        return lambda datum: all(datum[name] == value for name, value in equal) and begin <= at(datum) < end

    def _span(self) -> tuple[datetime, datetime]:
        """Return the selected time: from the first instant to before the second."""
        since, until = self.since, self.until
        begin = _EARLIEST if since is None else since if isinstance(since, datetime) else _midnight(since)
        end = _LATEST if until is None else until if isinstance(until, datetime) else _day_after(_midnight(until))
        return begin, end


def records(log: Log, table: Table, selection: ArchiveSelection = ArchiveSelection()) -> Iterator[Datum]:
    """Yield the selected records of a table, each once, without erased ones, in the order of day, bucket and file.

    Keeps the record identities of one folder in memory at a time. A file is compared with its SHA-256 before its first
    record is yielded.

    Raises:
        FileDamaged: a file differs from its manifest entry.
        ManifestDamaged: the manifest can't be read.
        ArchiveUnavailable: the archive can't be read.
        Superseded: files were removed and deleted meanwhile; read again.
    """
    manifest = log.manifest()
    erased, wanted = erased_in(manifest, table), selection.matcher(table)
    for folder, files in manifest.folders(table.name).items():
        if selection.reaches(folder):
            for datum in _verified_records(log, table, [file for file in files if selection.reaches_file(file)]):
                if wanted(datum) and not erased(datum):
                    yield datum


def distinct(store: Store, table: Table, files: Iterable[ArchivedFile]) -> Iterator[Datum]:
    """Yield the records of some files of one folder, each once. Raises FileDamaged, ArchiveUnavailable."""
    key, of = key_of(table), identity(table)
    seen: set[str] = set()
    for file in files:
        for datum in read(store, file):
            id_ = of(key(datum))
            if id_ not in seen:
                seen.add(id_)
                yield datum


def verified(store: Store, files: Iterable[ArchivedFile]) -> Iterator[ArchivedFile]:
    """Yield each file after comparing it with its SHA-256. Raises FileDamaged, ArchiveUnavailable."""
    for file in files:
        verify_file(store, file)
        yield file


def key_of(table: Table) -> Callable[[Datum], Key]:
    """Return a function from a record to its key."""
    names = table.key
    return lambda datum: tuple(datum[name] for name in names)


def instant_of(table: Table) -> Callable[[Datum], datetime]:
    """Return a function from a record to when it occurred; for rows that age by month, the start of the month."""
    if table.mode is Mode.EVENT:
        return lambda datum: datum["occurred_at"]
    return lambda datum: _midnight(datum[str(table.ages_by)])


def erased_in(manifest: Manifest, table: Table) -> Callable[[Datum], bool]:
    """Return a function that tells whether a record of `table` was erased."""
    erased, tenant, id_ = manifest.erased(table.name), table.key[0], id_of(table)
    return lambda datum: bool(erased) and (datum[tenant], id_(datum)) in erased


def explain_read_error(log: Log, files: Iterable[ArchivedFile], error: FileDamaged) -> HeadraceError:
    """Return the cause of an error while reading `files`: Superseded where one of them was removed meanwhile, as it may
    be deleted then; else the error itself. Raises ManifestDamaged, ArchiveUnavailable.
    """
    known = log.manifest().files
    removed = [file.name for file in files if file.name not in known]
    if not removed:
        return error
    return Superseded(f"{removed[0]} was removed from the archive while it was being read: read again")


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _day_after(midnight: datetime) -> datetime:
    return midnight + timedelta(days=1) if midnight.date() < date.max else _LATEST


def _verified_records(log: Log, table: Table, files: Sequence[ArchivedFile]) -> Iterator[Datum]:
    try:
        yield from distinct(log.store, table, verified(log.store, files))
    except FileDamaged as error:
        raise explain_read_error(log, files, error) from None
