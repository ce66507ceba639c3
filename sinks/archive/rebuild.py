"""Rebuild the manifest from the files alone: each file's head has its manifest entry, its commit and the offsets.

The old manifest is copied before any of it is deleted, and the last entry of the new one adds the files, so running an
interrupted rebuild again finishes it. No archive worker may run meanwhile.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from uuid_utils import uuid7

from schemas.failpoints import FailPoint, reached
from schemas.tables import TABLES, Table
from sinks.archive.erasure import ErasureRecord, read_erasure_records
from sinks.archive.files import Commit, FileDamaged, Head, read_head
from sinks.archive.layout import made_at
from sinks.archive.log import CHECKPOINTS, ENTRIES, Log, ManifestDamaged, verified_content
from sinks.archive.manifest import ENTRY, ArchivedFile, Draft, Kind, Progress, Retired
from sinks.archive.store import Store

MANIFEST, ASIDE = "manifest", "manifest-aside"
_COPIED = 1 << 20  # bytes at once
_FIRST = datetime.min.replace(tzinfo=UTC)
Offsets = dict[str, tuple[str, int]]


@dataclass(slots=True)
class RebuildResult:
    """The result of a rebuild: the files of the new manifest, its offsets, and the number of erasures.

    `replaced` are files whose records are in other files, `damaged` are unreadable files; both are left out. Files of
    `incomplete` commits are added, but these commits' offsets are not: the worker archives their records again.
    """

    files: list[ArchivedFile] = field(default_factory=list)
    offsets: Offsets = field(default_factory=dict)
    erasures: int = 0
    replaced: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)


def rebuild_manifest(store: Store, by: str, tables: Iterable[Table] = TABLES) -> RebuildResult:
    """Rebuild the manifest. Raises ManifestDamaged for an unreadable erasure record, ArchiveUnavailable."""
    damaged: list[str] = []
    heads = list(_heads(store, dict.fromkeys(table.name for table in tables if table.ages_by), damaged))
    erased = read_erasure_records(store)
    rebuilt = choose_files(heads, erased)
    rebuilt.damaged = damaged
    unfinished = _unfinished(store)
    _set_aside(store)
    log = Log(store, by)
    for each in erased:
        log.commit(_draft(each, log))
    for retired in unfinished:
        log.commit(log.draft(Kind.RETIRE, retired=retired))
    log.commit(log.draft(Kind.REBUILD, added=tuple(rebuilt.files), progress=_progress(rebuilt.offsets)))
    return rebuilt


def choose_files(heads: Sequence[Head], erased: Sequence[ErasureRecord]) -> RebuildResult:
    """Choose the files of the new manifest, and its offsets: the furthest of all complete commits.

    A commit is complete if all its files exist, or were replaced by files that exist. For a topic that was deleted and
    created again the later id counts.
    """
    commits: dict[str, list[Head]] = {}
    for head in heads:
        commits.setdefault(head.commit.id, []).append(head)
    complete = [each for each in commits.values() if _is_complete(each[0].commit, each)]
    replaced = {name for each in complete for name in each[0].commit.replaces}
    stated = [(made_at(each[0].file.name) or _FIRST, each[0].commit.offsets) for each in complete]
    stated += [(each.at, each.offsets) for each in erased]
    offsets = _furthest(offsets for _, offsets in sorted(stated, key=lambda each: each[0]))
    return RebuildResult(
        files=[head.file for head in heads if head.file.name not in replaced],
        offsets=offsets,
        erasures=len(erased),
        replaced=sorted(head.file.name for head in heads if head.file.name in replaced),
        incomplete=sorted(id_ for id_, each in commits.items() if _goes_further(each[0].commit.offsets, offsets)),
    )


def _is_complete(commit: Commit, heads: Sequence[Head]) -> bool:
    return len(heads) == commit.files


def _goes_further(offsets: Offsets, found: Offsets) -> bool:
    return any(at not in found or (found[at][0] == id_ and end > found[at][1]) for at, (id_, end) in offsets.items())


def _furthest(stated: Iterable[Offsets]) -> Offsets:
    found: Offsets = {}
    for offsets in stated:
        for at, (topic_id, end) in offsets.items():
            was_id, was_end = found.get(at, (topic_id, end))
            found[at] = (topic_id, max(end, was_end) if was_id == topic_id else end)
    return found


def _heads(store: Store, folders: Iterable[str], damaged: list[str]) -> Iterator[Head]:
    for folder in folders:
        for name, size in store.sizes(folder).items():
            if made_at(name) is not None:  # other names are not the archive's
                try:
                    yield read_head(store, name, size)
                except FileDamaged:
                    damaged.append(name)


def _draft(record: ErasureRecord, log: Log) -> Draft:
    made = log.draft(Kind.ERASE, erasure=record.erasure)
    return Draft(id=made.id, kind=made.kind, by=record.by, at=record.at, erasure=record.erasure)


def _progress(offsets: Offsets) -> tuple[Progress, ...]:
    found = []
    for at, (topic_id, end) in sorted(offsets.items()):
        topic, _, number = at.rpartition("/")
        found.append(Progress(topic=topic, partition=int(number), topic_id=topic_id, start=0, end=end))
    return tuple(found)


def _unfinished(store: Store) -> list[Retired]:
    """Return the deletions that retention had begun, from the readable entries of the old manifest."""
    drafts: list[Draft] = []
    for name in [*store.sizes(ENTRIES), *store.sizes(ASIDE)]:
        try:
            with store.open(name) as stream:
                drafts.append(verified_content(ENTRY, stream.read(), name).draft)
        except ManifestDamaged:
            continue
    begun: dict[str, Retired] = {}
    for draft in sorted(drafts, key=lambda each: each.at):
        if draft.retired is not None:
            begun[draft.retired.name] = draft.retired
    return [each for each in begun.values() if not each.done]


def _set_aside(store: Store) -> None:
    """Copy the old manifest, then delete it, the last entry first: so the remaining entries are always a valid log."""
    aside = f"{ASIDE}/{uuid7()}"
    for name in store.sizes(MANIFEST):
        with store.open(name) as stream:
            store.put(f"{aside}/{name}", iter(lambda: stream.read(_COPIED), b""))  # consumed before the next iteration
    for name in [*store.sizes(CHECKPOINTS), *sorted(store.sizes(ENTRIES), reverse=True)]:
        store.delete(name)
        reached(FailPoint.FILE_DELETED)
