"""Audit the archive: read every manifest entry, file and row, and report each deviation without stopping.

The entries are read first: they define which files must exist. The stored files are listed afterwards, so that a file
whose entry is added during the audit is recent and never counts as unknown and old.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from schemas.tables import Table
from sinks.archive.erasure import ERASURES, erasure_record_name, read_erasure_record
from sinks.archive.files import FileDamaged, read, verify_file
from sinks.archive.layout import bucket, identity, made_at
from sinks.archive.log import ENTRIES, Log, ManifestDamaged
from sinks.archive.manifest import ArchivedFile, Kind, Manifest, ManifestEntry
from sinks.archive.reader import erased_in, key_of
from sinks.archive.store import ArchiveUnavailable, Missing

_LOST = "see docs/runbook.md#manifest-damaged"
_AGAIN = "The same `headrace archive erase` again, or `headrace archive rebuild`, takes them out"
IN_FLIGHT = timedelta(days=1)  # a file without an entry that is younger may still get one


class FindingKind(StrEnum):
    """The kinds of findings. `DAMAGED` and `MISSING` concern a file, `MANIFEST` an entry or a checkpoint."""

    DAMAGED = "damaged"
    MISSING = "missing"
    MANIFEST = "manifest"
    ERASED = "erased"
    UNREADABLE = "unreadable"
    REMOVED = "removed"
    ORPHAN = "orphan"


DAMAGE = frozenset({FindingKind.DAMAGED, FindingKind.MISSING, FindingKind.MANIFEST, FindingKind.ERASED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding: its kind, the name of the file or folder, and an explanation."""

    what: FindingKind
    name: str
    said: str

    @property
    def damage(self) -> bool:
        """True where the operator must act. Other findings are informational."""
        return self.what in DAMAGE


@dataclass(slots=True, kw_only=True)
class Audit:
    """The result of an audit: its findings, and the numbers of entries, files, rows and bytes read."""

    findings: list[Finding] = field(default_factory=list)
    entries: int = 0
    files: int = 0
    rows: int = 0
    size: int = 0

    def note(self, what: FindingKind, name: str, said: object) -> None:
        """Add a finding."""
        self.findings.append(Finding(what=what, name=name, said=str(said)))

    @property
    def damaged(self) -> bool:
        """True where anything is damaged or missing, or still exists after its erasure."""
        return any(finding.damage for finding in self.findings)

    @property
    def undecided(self) -> bool:
        """True where a file could not be read."""
        return any(finding.what is FindingKind.UNREADABLE for finding in self.findings)


def audit(
    log: Log, tables: Iterable[Table], *, now: datetime, on_file: Callable[[int, int], None] | None = None
) -> Audit:
    """Audit the whole archive.

    Keeps the record identities of one file in memory at a time.

    Args:
        log: the archive's log.
        tables: the declared tables. Files of other tables are only compared with their SHA-256.
        now: the present time, for the age of files without an entry.
        on_file: called after each file with the bytes read so far and the total.

    Raises:
        ArchiveUnavailable: the archive as a whole can't be read.
    """
    found, declared = Audit(), {table.name: table for table in tables}
    manifest, why = _entries(log, found)
    stored = {name: size for table in declared for name, size in log.store.sizes(table).items()}
    total = sum(file.size for file in manifest.files.values())
    if not found.entries and not found.damaged and any(_is_old(name, now) for name in stored):
        found.note(FindingKind.MANIFEST, ENTRIES, f"{log.store.url} has files and not one entry; {_LOST}")
    for file in sorted(manifest.files.values(), key=lambda file: file.name):
        _check_file(log, declared, manifest, file, found)
        if on_file is not None:
            on_file(found.size, total)
    for name in stored:
        if name not in manifest.files:
            _check_unlisted(name, why.get(name), now, found)
    _check_erasure_records(log, manifest, found)
    return found


def _entries(log: Log, found: Audit) -> tuple[Manifest, dict[str, Kind]]:
    """Return the manifest that the readable entries define, and the kind of entry that removed each removed file."""
    built, why = Manifest(), {}

    def on_entry(entry: ManifestEntry) -> None:
        built.number = entry.number - 1  # also after a gap
        built.apply(entry)
        found.entries += 1
        why.update(dict.fromkeys((*entry.draft.removed, *entry.draft.swept), entry.draft.kind))

    def on_damage(error: ManifestDamaged) -> None:
        found.note(FindingKind.MANIFEST, ENTRIES, error)

    log.entries(on_entry, on_damage)
    if found.damaged:
        return built, why
    manifest = log.manifest()
    if manifest.number == built.number and manifest != built:
        found.note(FindingKind.MANIFEST, "manifest/checkpoints", "a checkpoint differs from the entries before it")
    return built, why


def _check_erasure_records(log: Log, manifest: Manifest, found: Audit) -> None:
    """Check that every erasure has its record, which a rebuild of the manifest needs."""
    stored = log.store.sizes(ERASURES)
    for name in stored:
        try:
            read_erasure_record(log.store, name)
        except ManifestDamaged as error:
            found.note(FindingKind.MANIFEST, name, error)
        except Missing:  # deleted since it was listed: its erasure was refused and started again
            continue
    for erasure in manifest.erasures:
        name = erasure_record_name(erasure)
        if name not in stored:
            found.note(FindingKind.MANIFEST, name, f"is missing, so a rebuild would lose an erasure; {_LOST}")


def _check_file(log: Log, declared: Mapping[str, Table], manifest: Manifest, file: ArchivedFile, found: Audit) -> None:
    found.files += 1
    found.size += file.size
    try:
        verify_file(log.store, file)
        if file.table in declared:
            rows, erased = _rows(log, declared[file.table], manifest, file)
            found.rows += rows
            if erased:
                found.note(
                    FindingKind.ERASED,
                    file.name,
                    f"holds {erased:,} records that were erased; no reader sees them. {_AGAIN}",
                )
    except FileDamaged as error:
        if _is_still(log, file):
            missing = _is_missing(log, file)
            found.note(FindingKind.MISSING if missing else FindingKind.DAMAGED, file.name, error)
    except ArchiveUnavailable as error:
        log.store.sizes(ENTRIES)  # raises where it is not this file alone
        found.note(FindingKind.UNREADABLE, file.name, error)


def _rows(log: Log, table: Table, manifest: Manifest, file: ArchivedFile) -> tuple[int, int]:
    """Return the number of distinct rows in a file, and how many of them were erased.

    Raises FileDamaged where the rows differ from the file's manifest entry.
    """
    key, of, tenant, day = key_of(table), identity(table), table.key[0], str(table.ages_by)
    is_erased, erased = erased_in(manifest, table), 0
    seen, misplaced = set(), 0
    for datum in read(log.store, file):
        seen.add(of(key(datum)))
        erased += is_erased(datum)
        misplaced += (bucket(datum[tenant]), datum[day]) != (file.bucket, file.day)
    if misplaced or len(seen) != file.rows:
        counts = f"{len(seen)} different rows of {file.rows}, {misplaced} of another folder"
        raise FileDamaged(f"{log.store.url}/{file.name} holds {counts}. See docs/runbook.md#file-damaged")
    return len(seen), erased


def _is_still(log: Log, file: ArchivedFile) -> bool:
    """Tell whether the manifest still holds a file, which may have been removed and deleted during the audit."""
    try:
        return file.name in log.manifest().files
    except ManifestDamaged:  # already reported
        return True


def _is_old(name: str, now: datetime) -> bool:
    """Tell whether a file is old enough to have its entry."""
    made = made_at(name)
    return made is not None and now - made >= IN_FLIGHT


def _is_missing(log: Log, file: ArchivedFile) -> bool:
    try:
        log.store.open(file.name).close()
    except Missing:
        return True
    return False


def _check_unlisted(name: str, removed: Kind | None, now: datetime, found: Audit) -> None:
    """Report a stored file that the manifest doesn't hold."""
    made = made_at(name)
    if removed is Kind.ERASE:
        said = "was erased and is still stored; `headrace archive compact` deletes it after the grace period"
        found.note(FindingKind.ERASED, name, said)
    elif removed is not None:
        said = f"was removed ({removed}), and is kept for readers that started earlier; `compact` deletes it"
        found.note(FindingKind.REMOVED, name, said)
    elif found.damaged and any(each.what is FindingKind.MANIFEST for each in found.findings):
        found.note(FindingKind.ORPHAN, name, "no readable entry names it, but a damaged one may: keep it")
    elif made is None:
        found.note(FindingKind.ORPHAN, name, "is not a name of the archive's; it is never read or deleted")
    elif now - made < IN_FLIGHT:
        found.note(
            FindingKind.ORPHAN,
            name,
            "no entry names it yet: in flight, or left by a crash less than a day ago; harmless",
        )
    else:
        found.note(
            FindingKind.ORPHAN,
            name,
            "no entry names it: left by a crash; harmless, `compact` deletes it once the archive holds its records",
        )
