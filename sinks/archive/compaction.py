"""Compaction: the small files of a folder become one, and what no reader needs any more is deleted.

1. The small files are compared with their SHA-256, and their records written into one file, each once and none that was
   erased.
2. The new file gets its name; no reader knows of it.
3. One entry adds it and removes those that it replaces. Where somebody else was faster nothing has happened.
4. Removed files are deleted once the grace is over: a reader that began before the entry has finished by then.
5. A file that no entry knows was left by a crash. Before it is deleted, an entry keeps its writer, should it
   live, from adding it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from schemas.change import Key
from schemas.failpoints import FailPoint, reached
from schemas.tables import Table
from sinks.archive.batch import ArchiveBatch
from sinks.archive.files import Codec, Datum, FileDamaged, FileWriter, describe, read
from sinks.archive.layout import ArchiveFolder, made_at
from sinks.archive.log import Log, Superseded
from sinks.archive.manifest import ArchivedFile, Kind, Manifest
from sinks.archive.reader import checked, erased_of, key_of, meanwhile
from sinks.archive.store import ArchiveUnavailable, LocalStore

TARGET = 128 << 20  # bytes
GRACE = timedelta(hours=1)
ORPHANED = timedelta(days=1)  # an entry follows the files that it adds within minutes; a worker may sleep meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What became of some files of a folder: `added` is one file, or none where all of it was erased. `dropped` are the
    repeats and erased records. Where there is a `refusal` nothing was changed; `damaged` says whether a file was the
    reason."""

    folder: ArchiveFolder
    files: int
    added: tuple[ArchivedFile, ...] = ()
    dropped: int = 0
    refusal: str | None = None
    damaged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """A file that was deleted; `orphan` where no entry had ever added it."""

    name: str
    size: int
    orphan: bool


def groups(files: Iterable[ArchivedFile], target: int) -> list[list[ArchivedFile]]:
    """Which files of a folder become one: those below `target` bytes, in their order, until they are as large."""
    found: list[list[ArchivedFile]] = [[]]
    for file in files:
        if file.size < target:
            found[-1].append(file)
            if sum(each.size for each in found[-1]) >= target:
                found.append([])
    return [group for group in found if len(group) > 1]


def merge(
    log: Log, spool: Path, tables: Iterable[Table], *, target: int = TARGET, codec: Codec = "zstandard"
) -> Iterator[Merged]:
    """Steps 1 to 3 for each folder that has more than one small file. Holds the identities of one group of files.

    Raises ArchiveUnavailable, ManifestDamaged; what was merged before stays so.
    """
    for table in tables:
        for folder, files in log.manifest().folders(table.name).items():
            for group in groups(files, target):
                try:
                    yield _merge(log, spool, table, group, codec)
                except (FileDamaged, Superseded) as error:
                    why = meanwhile(log, group, error) if isinstance(error, FileDamaged) else error
                    damaged = isinstance(why, FileDamaged)
                    yield Merged(folder=folder, files=len(group), refusal=str(why), damaged=damaged)


def sweep(log: Log, tables: Iterable[Table], *, now: datetime, grace: timedelta = GRACE) -> Iterator[Deleted]:
    """Steps 4 and 5: deletes what the manifest no longer holds. Raises ArchiveUnavailable, ManifestDamaged."""
    lying: dict[str, int] = {}
    for table in tables:  # before the manifest is read: what an entry adds meanwhile is no orphan then
        lying |= log.store.sizes(table.name)
    manifest = log.manifest()
    removed = [name for name in lying if _is_over(manifest, name, now - grace)]
    old = [name for name in lying if _is_orphan(manifest, name, now - ORPHANED)]
    orphans = _swept(log, [name for name in old if _is_waste(log, name, lying)])
    for name in [*removed, *orphans]:
        log.store.delete(name)
        reached(FailPoint.FILE_DELETED)
        yield Deleted(name=name, size=lying[name], orphan=name in orphans)
    if isinstance(log.store, LocalStore):
        for name, size in log.store.delete_temporary(now - ORPHANED).items():
            yield Deleted(name=name, size=size, orphan=True)


def _merge(log: Log, spool: Path, table: Table, group: Sequence[ArchivedFile], codec: Codec) -> Merged:
    manifest = log.manifest()
    erasures, erased, offsets = len(manifest.erasures), erased_of(manifest, table), dict(manifest.offsets)
    batch, names = ArchiveBatch(spool, codec), tuple(file.name for file in group)
    added: tuple[ArchivedFile, ...] = ()
    try:
        _fill(log, batch, table, group, erased)
        added = batch.publish(log.store, replaces=names, offsets=offsets)
        log.commit(log.draft(Kind.COMPACT, added=added, removed=names, erasures=erasures))
    except Superseded:
        _withdraw(log, added)
        raise
    finally:
        batch.discard()
    dropped = sum(file.rows for file in group) - sum(file.rows for file in added)
    return Merged(folder=group[0].folder, files=len(group), added=added, dropped=dropped)


def _fill(
    log: Log, batch: ArchiveBatch, table: Table, group: Sequence[ArchivedFile], erased: Callable[[Datum], bool]
) -> None:
    key, tenant, day = key_of(table), table.key[0], str(table.ages_by)
    file: FileWriter | None = None
    left_out: set[Key] = set()
    for each in checked(log.store, group):
        for datum in read(log.store, each):
            if erased(datum):
                left_out.add(key(datum))
                continue
            file = batch.file(table, datum[tenant], datum[day])
            file.copy(datum)
    if file is not None:
        file.erased = len(left_out) + sum(each.erased for each in group)


def _withdraw(log: Log, added: Iterable[ArchivedFile]) -> None:
    """What no entry will add any more is waste; where it can't be deleted now it is swept as an orphan."""
    for file in added:
        if file.name not in log.manifest().files:
            try:
                log.store.delete(file.name)
            except ArchiveUnavailable:
                return


def _is_over(manifest: Manifest, name: str, before: datetime) -> bool:
    return name in manifest.gone and manifest.gone[name] <= before


def _is_orphan(manifest: Manifest, name: str, before: datetime) -> bool:
    """A name that is none of ours is left alone, whoever put it there."""
    made = made_at(name)
    return made is not None and made < before and name not in manifest.files and name not in manifest.gone


def _is_waste(log: Log, name: str, lying: dict[str, int]) -> bool:
    """Whether the archive has what an orphan holds: it has come as far, and what the orphan would have replaced is
    there. Else it was no crash: the manifest has lost its last entries, and the file may be all that is left."""
    try:
        commit = describe(log.store, name, lying[name]).commit
    except FileDamaged:  # no crash leaves half a file
        return False
    manifest = log.manifest()
    lost = [each for each in commit.replaces if each in manifest.files and each not in lying]
    return not lost and all(_has_reached(manifest, at, *place) for at, place in commit.offsets.items())


def _has_reached(manifest: Manifest, at: str, topic_id: str, end: int) -> bool:
    """Not where the topic was made anew: nobody knows whether what the old one held was read again."""
    known_id, known_end = manifest.offsets.get(at, (None, 0))
    return known_id == topic_id and known_end >= end


def _swept(log: Log, orphans: list[str]) -> list[str]:
    """The orphans that nobody can add any more; none where one of them was added after all."""
    if not orphans:
        return []
    try:
        log.commit(log.draft(Kind.COMPACT, swept=tuple(orphans)))
    except Superseded:
        return []
    return orphans
