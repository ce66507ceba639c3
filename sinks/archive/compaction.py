"""Compact the archive: merge the small files of a folder, and delete files that no reader needs.

1. Compare the small files with their SHA-256, and write their records into one file: each record once, without those
   that were erased.
2. Store the new file under its name. No reader knows of it yet.
3. Append one entry that adds it and removes the files that it replaces. If another writer's entry conflicts, nothing
   has changed.
4. Delete removed files after the grace period: readers that started before the entry have finished by then.
5. Delete orphans: files that a crash left without an entry. An entry first prevents a writer that is still running
   from adding them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from schemas.change import Key
from schemas.failpoints import FailPoint, reached
from schemas.tables import Table
from sinks.archive.batch import ArchiveBatch
from sinks.archive.file_writer import FileWriter
from sinks.archive.files import Codec, Datum, FileDamaged, read, read_head
from sinks.archive.layout import ArchiveFolder, made_at
from sinks.archive.log import Log, Superseded
from sinks.archive.manifest import ArchivedFile, Kind, Manifest
from sinks.archive.reader import erased_in, explain_read_error, key_of, verified
from sinks.archive.store import ArchiveUnavailable, LocalStore

TARGET = 128 << 20  # bytes
GRACE = timedelta(hours=1)
ORPHANED = timedelta(days=1)  # an entry follows its files within minutes, but its worker may have been suspended


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """The result of merging some files of a folder.

    `files` is the number of merged files. `added` is one file, or none where all records were erased. `dropped` counts
    repeated and erased records. With a `refusal` nothing was changed; `damaged` tells whether a damaged file was the
    reason.
    """

    folder: ArchiveFolder
    files: int
    added: tuple[ArchivedFile, ...] = ()
    dropped: int = 0
    refusal: str | None = None
    damaged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """A deleted file and its size in bytes; `orphan` where no entry had ever added it."""

    name: str
    size: int
    orphan: bool


def groups_to_merge(files: Iterable[ArchivedFile], target: int) -> list[list[ArchivedFile]]:
    """Group the files of a folder that are smaller than `target` bytes, in order; a group ends when it reaches that."""
    found: list[list[ArchivedFile]] = [[]]
    for file in files:
        if file.size < target:
            found[-1].append(file)
            if sum(each.size for each in found[-1]) >= target:
                found.append([])
    return [group for group in found if len(group) > 1]


def merge_small_files(
    log: Log, spool: Path, tables: Iterable[Table], *, target: int = TARGET, codec: Codec = "zstandard"
) -> Iterator[Merged]:
    """Run steps 1 to 3 for each folder that has more than one small file.

    Keeps the record identities of one group of files in memory at a time.

    Raises:
        ArchiveUnavailable: the archive can't be read or written. Files merged earlier stay merged.
        ManifestDamaged: the manifest can't be read.
    """
    for table in tables:
        for folder, files in log.manifest().folders(table.name).items():
            for group in groups_to_merge(files, target):
                try:
                    yield _merge(log, spool, table, group, codec)
                except (FileDamaged, Superseded) as error:
                    why = explain_read_error(log, group, error) if isinstance(error, FileDamaged) else error
                    damaged = isinstance(why, FileDamaged)
                    yield Merged(folder=folder, files=len(group), refusal=str(why), damaged=damaged)


def delete_unreferenced(
    log: Log, tables: Iterable[Table], *, now: datetime, grace: timedelta = GRACE
) -> Iterator[Deleted]:
    """Run steps 4 and 5. Raises ArchiveUnavailable, ManifestDamaged."""
    stored: dict[str, int] = {}
    for table in tables:  # before the manifest is read: a file that an entry adds meanwhile is then no orphan
        stored |= log.store.sizes(table.name)
    manifest = log.manifest()
    removed = [name for name in stored if _grace_has_passed(manifest, name, now - grace)]
    old = [name for name in stored if _is_orphan(manifest, name, now - ORPHANED)]
    orphans = _bar_orphans(log, [name for name in old if _is_superfluous(log, name, stored)])
    for name in [*removed, *orphans]:
        log.store.delete(name)
        reached(FailPoint.FILE_DELETED)
        yield Deleted(name=name, size=stored[name], orphan=name in orphans)
    if isinstance(log.store, LocalStore):
        for name, size in log.store.delete_temporary(now - ORPHANED).items():
            yield Deleted(name=name, size=size, orphan=True)


def _merge(log: Log, spool: Path, table: Table, group: Sequence[ArchivedFile], codec: Codec) -> Merged:
    manifest = log.manifest()
    erasures, erased, offsets = len(manifest.erasures), erased_in(manifest, table), dict(manifest.offsets)
    batch, names = ArchiveBatch(spool, codec), tuple(file.name for file in group)
    added: tuple[ArchivedFile, ...] = ()
    try:
        _fill(log, batch, table, group, erased)
        added = batch.publish(log.store, replaces=names, offsets=offsets)
        log.commit(log.draft(Kind.COMPACT, added=added, removed=names, erasures=erasures))
    except Superseded:
        _delete_unused(log, added)
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
    for each in verified(log.store, group):
        for datum in read(log.store, each):
            if erased(datum):
                left_out.add(key(datum))
                continue
            file = batch.file(table, datum[tenant], datum[day])
            file.copy(datum)
    if file is not None:
        file.erased = len(left_out) + sum(each.erased for each in group)


def _delete_unused(log: Log, added: Iterable[ArchivedFile]) -> None:
    """Delete files that no entry will add. Those that can't be deleted now are deleted later as orphans."""
    for file in added:
        if file.name not in log.manifest().files:
            try:
                log.store.delete(file.name)
            except ArchiveUnavailable:
                return


def _grace_has_passed(manifest: Manifest, name: str, before: datetime) -> bool:
    return name in manifest.gone and manifest.gone[name] <= before


def _is_orphan(manifest: Manifest, name: str, before: datetime) -> bool:
    """Tell whether a file has no entry. A name that the archive doesn't give is left alone."""
    made = made_at(name)
    return made is not None and made < before and name not in manifest.files and name not in manifest.gone


def _is_superfluous(log: Log, name: str, stored: dict[str, int]) -> bool:
    """Tell whether an orphan is superfluous: the archive has reached its offsets, and the files that it would have
    replaced exist. Otherwise the manifest may have lost its last entries, and the orphan may be the only copy."""
    try:
        commit = read_head(log.store, name, stored[name]).commit
    except FileDamaged:  # a crash never leaves a partial file
        return False
    manifest = log.manifest()
    lost = [each for each in commit.replaces if each in manifest.files and each not in stored]
    return not lost and all(_has_reached(manifest, at, *place) for at, place in commit.offsets.items())


def _has_reached(manifest: Manifest, at: str, topic_id: str, end: int) -> bool:
    """Tell whether the archive has reached an offset; False where the topic was deleted and created again."""
    known_id, known_end = manifest.offsets.get(at, (None, 0))
    return known_id == topic_id and known_end >= end


def _bar_orphans(log: Log, orphans: list[str]) -> list[str]:
    """Append an entry that bars all orphans from being added; return them, or none where one was added meanwhile."""
    if not orphans:
        return []
    try:
        log.commit(log.draft(Kind.COMPACT, swept=tuple(orphans)))
    except Superseded:
        return []
    return orphans
