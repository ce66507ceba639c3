"""A manifest made anew from the files alone: each says what it holds, which commit it belongs to, and how far the
archive had come with it.

The old manifest is copied before anything of it is deleted, and the new one's files come with its last entry: whatever
stops a rebuild, running it again finishes it. No worker may run meanwhile.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from uuid_utils import uuid7

from schemas.failpoints import FailPoint, reached
from schemas.tables import TABLES, Table
from sinks.archive.erasure import Tombstone, tombstones
from sinks.archive.files import Commit, FileDamaged, Head, describe
from sinks.archive.layout import made_at
from sinks.archive.log import CHECKPOINTS, ENTRIES, Log, ManifestDamaged, unsealed
from sinks.archive.manifest import ENTRY, ArchivedFile, Draft, Kind, Progress, Retired
from sinks.archive.store import Store

MANIFEST, ASIDE = "manifest", "manifest-aside"
_COPIED = 1 << 20  # bytes at once
_FIRST = datetime.min.replace(tzinfo=UTC)
Offsets = dict[str, tuple[str, int]]


@dataclass(slots=True)
class Rebuilt:
    """What a rebuild took: files, and offsets by partition. `replaced` files are held by others that are there;
    `damaged` ones can't be relied on. Files of `incomplete` commits count, but not how far these had come: the worker
    archives what came with them again."""

    files: list[ArchivedFile] = field(default_factory=list)
    offsets: Offsets = field(default_factory=dict)
    erasures: int = 0
    replaced: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)


def rebuild(store: Store, by: str, tables: Iterable[Table] = TABLES) -> Rebuilt:
    """Makes the manifest anew. Raises ManifestDamaged for a tombstone that can't be read, ArchiveUnavailable."""
    damaged: list[str] = []
    heads = list(_heads(store, dict.fromkeys(table.name for table in tables if table.ages_by), damaged))
    erased = tombstones(store)
    rebuilt = judge(heads, erased)
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


def judge(heads: Sequence[Head], erased: Sequence[Tombstone]) -> Rebuilt:
    """Which files count, and how far the archive had come: as far as any commit says all of whose files are there, or
    were replaced by files that are. Of a topic that was made anew the later id counts."""
    commits: dict[str, list[Head]] = {}
    for head in heads:
        commits.setdefault(head.commit.id, []).append(head)
    complete = [each for each in commits.values() if _is_complete(each[0].commit, each)]
    replaced = {name for each in complete for name in each[0].commit.replaces}
    said = [(made_at(each[0].file.name) or _FIRST, each[0].commit.offsets) for each in complete]
    said += [(each.at, each.offsets) for each in erased]
    offsets = _furthest(offsets for _, offsets in sorted(said, key=lambda each: each[0]))
    return Rebuilt(
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


def _furthest(said: Iterable[Offsets]) -> Offsets:
    found: Offsets = {}
    for offsets in said:
        for at, (topic_id, end) in offsets.items():
            was_id, was_end = found.get(at, (topic_id, end))
            found[at] = (topic_id, max(end, was_end) if was_id == topic_id else end)
    return found


def _heads(store: Store, folders: Iterable[str], damaged: list[str]) -> Iterator[Head]:
    for folder in folders:
        for name, size in store.sizes(folder).items():
            if made_at(name) is not None:  # else it is none of ours
                try:
                    yield describe(store, name, size)
                except FileDamaged:
                    damaged.append(name)


def _draft(tombstone: Tombstone, log: Log) -> Draft:
    made = log.draft(Kind.ERASE, erasure=tombstone.erasure)
    return Draft(id=made.id, kind=made.kind, by=tombstone.by, at=tombstone.at, erasure=tombstone.erasure)


def _progress(offsets: Offsets) -> tuple[Progress, ...]:
    found = []
    for at, (topic_id, end) in sorted(offsets.items()):
        topic, _, number = at.rpartition("/")
        found.append(Progress(topic=topic, partition=int(number), topic_id=topic_id, start=0, end=end))
    return tuple(found)


def _unfinished(store: Store) -> list[Retired]:
    """What retention had begun, by what is left of the old manifest."""
    drafts: list[Draft] = []
    for name in [*store.sizes(ENTRIES), *store.sizes(ASIDE)]:
        try:
            with store.open(name) as stream:
                drafts.append(unsealed(ENTRY, stream.read(), name).draft)
        except ManifestDamaged:
            continue
    begun: dict[str, Retired] = {}
    for draft in sorted(drafts, key=lambda each: each.at):
        if draft.retired is not None:
            begun[draft.retired.name] = draft.retired
    return [each for each in begun.values() if not each.done]


def _set_aside(store: Store) -> None:
    """Copies what there is of the manifest, then deletes it: entries from the last one on, so that what is left at any
    moment is a manifest that once was."""
    aside = f"{ASIDE}/{uuid7()}"
    for name in store.sizes(MANIFEST):
        with store.open(name) as stream:
            store.put(f"{aside}/{name}", iter(lambda: stream.read(_COPIED), b""))  # read at once
    for name in [*store.sizes(CHECKPOINTS), *sorted(store.sizes(ENTRIES), reverse=True)]:
        store.delete(name)
        reached(FailPoint.FILE_DELETED)
