"""The audit: every entry, every file and every row of the archive, read and compared. It never stops at what it finds.

Entries come first: what they come to is what must be there. What lies there besides is listed after them, so that a
file whose entry comes meanwhile is young, never unknown and old.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from schemas.tables import Table
from sinks.archive.erasure import ERASURES, tombstone, tombstone_name
from sinks.archive.files import FileDamaged, check, read
from sinks.archive.layout import bucket, identity, made_at
from sinks.archive.log import ENTRIES, Log, ManifestDamaged
from sinks.archive.manifest import ArchivedFile, Kind, Manifest, ManifestEntry
from sinks.archive.reader import erased_of, key_of
from sinks.archive.store import ArchiveUnavailable, Missing

_LOST = "see docs/runbook.md#manifest-damaged"
_AGAIN = "The same `headrace archive erase` again, or `headrace archive rebuild`, takes them out"
IN_FLIGHT = timedelta(days=1)  # what no entry knows, and is younger, may be about to be added


class What(StrEnum):
    """What was found. `DAMAGED` and `MISSING` are a file's, `MANIFEST` an entry's or a checkpoint's."""

    DAMAGED = "damaged"
    MISSING = "missing"
    MANIFEST = "manifest"
    ERASED = "erased"
    UNREADABLE = "unreadable"
    REMOVED = "removed"
    ORPHAN = "orphan"


DAMAGE = frozenset({What.DAMAGED, What.MISSING, What.MANIFEST, What.ERASED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that the audit found, and what it means."""

    what: What
    name: str
    said: str

    @property
    def damage(self) -> bool:
        """Whether something must be done; else it is said for whoever wonders."""
        return self.what in DAMAGE


@dataclass(slots=True, kw_only=True)
class Audit:
    """What was looked at, and what was found."""

    findings: list[Finding] = field(default_factory=list)
    entries: int = 0
    files: int = 0
    rows: int = 0
    size: int = 0

    def note(self, what: What, name: str, said: object) -> None:
        """Notes a finding."""
        self.findings.append(Finding(what=what, name=name, said=str(said)))

    @property
    def damaged(self) -> bool:
        """Whether anything is damaged, missing, or there though it was erased."""
        return any(finding.damage for finding in self.findings)

    @property
    def undecided(self) -> bool:
        """Whether a file could not be looked at."""
        return any(finding.what is What.UNREADABLE for finding in self.findings)


def audit(
    log: Log, tables: Iterable[Table], *, now: datetime, on_file: Callable[[int, int], None] | None = None
) -> Audit:
    """Looks at everything. `on_file` is told after each file how many bytes of how many have been read. Files of a
    table that is not among `tables` are compared with their SHA-256 only. Holds the identities of one file.

    Raises ArchiveUnavailable when the archive as a whole can't be read.
    """
    found, declared = Audit(), {table.name: table for table in tables}
    manifest, why = _entries(log, found)
    lying = {name: size for table in declared for name, size in log.store.sizes(table).items()}
    total = sum(file.size for file in manifest.files.values())
    if not found.entries and not found.damaged and any(_is_old(name, now) for name in lying):
        found.note(What.MANIFEST, ENTRIES, f"{log.store.url} has files and not one entry; {_LOST}")
    for file in sorted(manifest.files.values(), key=lambda file: file.name):
        _file(log, declared, manifest, file, found)
        if on_file is not None:
            on_file(found.size, total)
    for name in lying:
        if name not in manifest.files:
            _besides(name, why.get(name), now, found)
    _tombstones(log, manifest, found)
    return found


def _entries(log: Log, found: Audit) -> tuple[Manifest, dict[str, Kind]]:
    """What the entries come to, those that can't be read left out; and why each removed file was removed."""
    built, why = Manifest(), {}

    def on_entry(entry: ManifestEntry) -> None:
        built.number = entry.number - 1  # also behind a gap
        built.apply(entry)
        found.entries += 1
        why.update(dict.fromkeys((*entry.draft.removed, *entry.draft.swept), entry.draft.kind))

    def on_damage(error: ManifestDamaged) -> None:
        found.note(What.MANIFEST, ENTRIES, error)

    log.entries(on_entry, on_damage)
    if found.damaged:
        return built, why
    manifest = log.manifest()
    if manifest.number == built.number and manifest != built:
        found.note(What.MANIFEST, "manifest/checkpoints", "a checkpoint says something else than the entries before it")
    return built, why


def _tombstones(log: Log, manifest: Manifest, found: Audit) -> None:
    """Every erasure has an object of its own, from which a rebuild takes it."""
    lying = log.store.sizes(ERASURES)
    for name in lying:
        try:
            tombstone(log.store, name)
        except ManifestDamaged as error:
            found.note(What.MANIFEST, name, error)
        except Missing:  # of an erasure that was refused, and has begun anew
            continue
    for erasure in manifest.erasures:
        name = tombstone_name(erasure)
        if name not in lying:
            found.note(What.MANIFEST, name, f"is missing, so that a rebuild would forget an erasure; {_LOST}")


def _file(log: Log, declared: Mapping[str, Table], manifest: Manifest, file: ArchivedFile, found: Audit) -> None:
    found.files += 1
    found.size += file.size
    try:
        check(log.store, file)
        if file.table in declared:
            rows, erased = _rows(log, declared[file.table], manifest, file)
            found.rows += rows
            if erased:
                found.note(
                    What.ERASED, file.name, f"holds {erased:,} records that were erased; no reader sees them. {_AGAIN}"
                )
    except FileDamaged as error:
        if _is_still(log, file):
            missing = _is_missing(log, file)
            found.note(What.MISSING if missing else What.DAMAGED, file.name, error)
    except ArchiveUnavailable as error:
        log.store.sizes(ENTRIES)  # raises where it is not this file alone
        found.note(What.UNREADABLE, file.name, error)


def _rows(log: Log, table: Table, manifest: Manifest, file: ArchivedFile) -> tuple[int, int]:
    """How many different rows a file has, and how many of them were erased. Raises FileDamaged where the rows are not
    those that its entry tells of."""
    key, of, tenant, day = key_of(table), identity(table), table.key[0], str(table.ages_by)
    is_erased, erased = erased_of(manifest, table), 0
    seen, strayed = set(), 0
    for datum in read(log.store, file):
        seen.add(of(key(datum)))
        erased += is_erased(datum)
        strayed += (bucket(datum[tenant]), datum[day]) != (file.bucket, file.day)
    if strayed or len(seen) != file.rows:
        held = f"{len(seen)} different rows of {file.rows}, {strayed} of another folder"
        raise FileDamaged(f"{log.store.url}/{file.name} holds {held}. See docs/runbook.md#file-damaged")
    return len(seen), erased


def _is_still(log: Log, file: ArchivedFile) -> bool:
    """Whether the archive still has a file: it may have been removed and deleted while the audit went on."""
    try:
        return file.name in log.manifest().files
    except ManifestDamaged:  # which is found already
        return True


def _is_old(name: str, now: datetime) -> bool:
    """Whether a file is old enough for an entry to know it."""
    made = made_at(name)
    return made is not None and now - made >= IN_FLIGHT


def _is_missing(log: Log, file: ArchivedFile) -> bool:
    try:
        log.store.open(file.name).close()
    except Missing:
        return True
    return False


def _besides(name: str, removed: Kind | None, now: datetime, found: Audit) -> None:
    """A file that the manifest doesn't hold."""
    made = made_at(name)
    if removed is Kind.ERASE:
        said = "was erased and still lies there; `headrace archive compact` deletes it once its grace is over"
        found.note(What.ERASED, name, said)
    elif removed is not None:
        said = f"was removed ({removed}), and lies there for readers that began before; `compact` deletes it"
        found.note(What.REMOVED, name, said)
    elif found.damaged and any(each.what is What.MANIFEST for each in found.findings):
        found.note(What.ORPHAN, name, "no entry that can be read knows it; the damaged one may: keep it")
    elif made is None:
        found.note(What.ORPHAN, name, "is none of the archive's names; nobody reads it, and nothing deletes it")
    elif now - made < IN_FLIGHT:
        found.note(
            What.ORPHAN, name, "no entry knows it yet: in flight, or left by a crash less than a day ago; harmless"
        )
    else:
        found.note(
            What.ORPHAN,
            name,
            "no entry knows it: left by a crash; harmless, `compact` deletes it where the archive has come as far",
        )
