"""The manifest: a log of numbered entries, each of which adds files, removes files or moves offsets. No I/O.

The entries define the content of the archive: no reader reads a file that no entry has added.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum

from pydantic import TypeAdapter

from schemas.checksums import Sum
from sinks.archive.layout import ArchiveFolder, made_at

KEPT = timedelta(days=30)  # the least time for which the name of a removed file is kept
_FORGET_EVERY = 100  # entries


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedFile:
    """One immutable Avro object container file.

    `rows` counts its records, which are distinct within the file; `size` is in bytes. `first` and `last` are the
    earliest and latest instant at which its events occurred, or the month of rows that age by month. `offsets` has the
    least and greatest captured offset of each `topic/partition`. `erased` counts the rows that erasures left out of the
    file. `schema` is the SHA-256 of the Avro schema's canonical form.
    """

    name: str
    table: str
    bucket: int
    day: date
    rows: int
    size: int
    sha256: str
    first: datetime
    last: datetime
    offsets: dict[str, tuple[int, int]]
    schema: str
    erased: int = 0

    @property
    def folder(self) -> ArchiveFolder:
        """The file's folder in the layout."""
        return ArchiveFolder(self.table, self.bucket, self.day)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Offsets of one partition, from `start` to before `end`, that an entry marks as archived."""

    topic: str
    partition: int
    topic_id: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """The erasure of a person's records. The subject is stored as a hash only; the entry has who asked for it.

    `events` are the ids of the erased records, by table. They are never archived again, and retention doesn't expect
    them in the archive.
    """

    id: str
    tenant: str
    subject_sha256: str
    events: dict[str, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retired:
    """A deletion by retention from a hot store, with its proof: counts and sums of hashes, by tenant or table.

    `held` are the tenants whose rows were kept for a legal hold. A deletion of several steps is recorded twice: before
    the first step, and when it is `done`. The next run resumes one that is not done.
    """

    store: str
    what: str
    proof: dict[str, Sum]
    held: list[str] = field(default_factory=list)
    done: bool = True

    @property
    def name(self) -> str:
        """The identity of the deletion: its store and what is deleted."""
        return f"{self.store}/{self.what}"


class Kind(StrEnum):
    """The reason for an entry."""

    APPEND = "append"
    COMPACT = "compact"
    ERASE = "erase"
    EXPIRE = "expire"
    RETIRE = "retire"
    REBUILD = "rebuild"
    SKIP = "skip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An entry that has no number yet.

    `id` identifies it in the log. `erasures` is the number of erasures that its files respect, or None where the files
    hold no captured records. `swept` are files without an entry, which no later entry may add.
    """

    id: str
    kind: Kind
    by: str
    at: datetime
    added: tuple[ArchivedFile, ...] = ()
    removed: tuple[str, ...] = ()
    swept: tuple[str, ...] = ()
    progress: tuple[Progress, ...] = ()
    erasures: int | None = None
    erasure: Erasure | None = None
    retired: Retired | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestEntry:
    """One entry of the log."""

    number: int
    draft: Draft


@dataclass(slots=True)
class Manifest:
    """The state after all entries up to `number`.

    `offsets` has, for each `topic/partition`, the topic's id and the first offset that is not archived. `gone` has the
    removed files with the time of their removal; they may still be stored, for readers that started earlier. Old names
    leave `gone`, and `forgotten` is the creation time of the youngest of these files. `unfinished` are the deletions
    that retention has begun and not recorded as done.
    """

    number: int = 0
    files: dict[str, ArchivedFile] = field(default_factory=dict)
    offsets: dict[str, tuple[str, int]] = field(default_factory=dict)
    gone: dict[str, datetime] = field(default_factory=dict)
    forgotten: datetime | None = None
    erasures: list[Erasure] = field(default_factory=list)
    unfinished: dict[str, Retired] = field(default_factory=dict)

    def after(self, progress: Iterable[Progress]) -> dict[str, tuple[str, int]]:
        """Return the offsets after `progress`."""
        return self.offsets | {partition(each.topic, each.partition): (each.topic_id, each.end) for each in progress}

    def apply(self, entry: ManifestEntry) -> None:
        """Apply the next entry. Raises ValueError for one whose number does not follow."""
        if entry.number != self.number + 1:
            raise ValueError(f"entry {entry.number} does not follow entry {self.number}")
        draft = entry.draft
        self.number = entry.number
        self.files |= {file.name: file for file in draft.added}
        for name in draft.removed:
            self.files.pop(name, None)
            self.gone[name] = draft.at
        self.gone |= dict.fromkeys(draft.swept, draft.at)
        self.offsets = self.after(draft.progress)
        if draft.erasure is not None:
            self.erasures.append(draft.erasure)
        if draft.retired is not None and draft.retired.done:
            self.unfinished.pop(draft.retired.name, None)
        elif draft.retired is not None:
            self.unfinished[draft.retired.name] = draft.retired
        if self.number % _FORGET_EVERY == 0:  # by number, so that every reader drops the same names
            self._forget(draft.at - KEPT)

    def _forget(self, before: datetime) -> None:
        """Drop the names of files that were removed before an instant.

        `commit_conflict` needs the names of removed files to refuse a late writer that would add one, however long that
        writer was suspended. Instead of by a dropped name it refuses by age: no file created at or before `forgotten`
        may be added. That compares no two clocks, and a writer that is refused starts again.

        A dropped file that is still stored becomes an orphan, which compaction deletes.
        """
        for name in [name for name, at in self.gone.items() if at < before]:
            made = made_at(name)
            if made is not None:
                del self.gone[name]
                self.forgotten = max(self.forgotten or made, made)

    def commit_conflict(self, draft: Draft) -> str | None:
        """Return why `draft` conflicts with the present state and must not be committed; None where it may be."""
        lost = [name for name in draft.removed if name not in self.files]
        if lost:
            return f"{lost[0]} is no longer in the archive"
        late = [file.name for file in draft.added if file.name in self.gone or self._forgets(file.name)]
        if late:
            return f"{late[0]} was removed before it was added"
        found = [name for name in draft.swept if name in self.files]
        if found:
            return f"{found[0]} was added meanwhile"
        if draft.erasures is not None and draft.erasures != len(self.erasures):
            return "something was erased meanwhile"
        for moved in draft.progress:
            at = partition(moved.topic, moved.partition)
            topic_id, end = self.offsets.get(at, (moved.topic_id, moved.start))
            if topic_id == moved.topic_id and end != moved.start:
                return f"{at} is archived up to {end}, this continues at {moved.start}"
        return None

    def _forgets(self, name: str) -> bool:
        made = made_at(name)
        return self.forgotten is not None and made is not None and made <= self.forgotten

    def folders(self, table: str) -> dict[ArchiveFolder, list[ArchivedFile]]:
        """Return the files of a table by folder, ordered by day and bucket; within a folder, the oldest first."""
        found: dict[ArchiveFolder, list[ArchivedFile]] = {}
        for file in sorted(self.files.values(), key=lambda file: (file.day, file.bucket, file.name)):
            if file.table == table:
                found.setdefault(file.folder, []).append(file)
        return found

    def archived(self, topics: Mapping[str, str]) -> dict[tuple[str, int], int]:
        """Return the first offset that is not archived, by (topic, partition).

        `topics` has the topics' present ids. A topic that was deleted and created again has a new id and is left out.
        """
        found: dict[tuple[str, int], int] = {}
        for at, (topic_id, end) in self.offsets.items():
            topic, _, number = at.rpartition("/")
            if topics.get(topic) == topic_id:
                found[topic, int(number)] = end
        return found

    def erased(self, table: str) -> set[tuple[str, str]]:
        """Return (tenant, record id) of all erased records of a table."""
        return {(each.tenant, id_) for each in self.erasures for id_ in each.events.get(table, ())}


def partition(topic: str, number: int) -> str:
    """Return the manifest's name for a partition."""
    return f"{topic}/{number}"


ENTRY: TypeAdapter[ManifestEntry] = TypeAdapter(ManifestEntry)
MANIFEST: TypeAdapter[Manifest] = TypeAdapter(Manifest)
