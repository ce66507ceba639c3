"""The manifest: a log of numbered entries, each of which adds files, removes files, or moves offsets. Opens nothing.

What is in the archive is what the entries say: a file that no entry has added does not exist for any reader.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum

from pydantic import TypeAdapter

from schemas.checksums import Sum
from sinks.archive.layout import ArchiveFolder, made_at

KEPT = timedelta(days=30)  # how long the name of a removed file is remembered at least
_FORGET_EVERY = 100  # entries


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedFile:
    """One Avro object container file, which never changes once it has its name.

    `rows` are different from each other within the file. `first` and `last` are the least and greatest instant at which
    its events occurred (of rows that age by month: the month). `offsets` are, for each `topic/partition`, the least and
    greatest captured offset among them. `erased` counts the rows that an erasure left out of it. `schema` is the
    SHA-256 of the Avro schema's canonical form.
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
        """Its place in the layout."""
        return ArchiveFolder(self.table, self.bucket, self.day)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Offsets of one partition, `start` to before `end`, that an entry adds to what is archived."""

    topic: str
    partition: int
    topic_id: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """The tombstone of a person's events: who asked and when is the entry's; the subject itself is kept as a hash only.

    `events` are the ids of what was erased, by table: they are never archived again, and retention does not miss them.
    """

    id: str
    tenant: str
    subject_sha256: str
    events: dict[str, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retired:
    """What retention deletes from a hot store, and on what proof: counts and sums of hashes, by tenant or table.

    What takes several steps is noted twice: before the first one, and when it is `done`; until then it is gone on with.
    """

    store: str
    what: str
    proof: dict[str, Sum]
    held: list[str] = field(default_factory=list)
    done: bool = True

    @property
    def name(self) -> str:
        """Its name among others."""
        return f"{self.store}/{self.what}"


class Kind(StrEnum):
    """Why an entry was written."""

    APPEND = "append"
    COMPACT = "compact"
    ERASE = "erase"
    EXPIRE = "expire"
    RETIRE = "retire"
    REBUILD = "rebuild"
    SKIP = "skip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An entry that has no number yet. `id` tells whether an entry of that number is this one; `erasures` is how many
    erasures its files respect, where they hold what was captured. `swept` are files that no entry has added, and from
    now on none may."""

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
    """What all entries up to `number` come to.

    `offsets` are, for each `topic/partition`, the topic's id and the first offset that is not archived. `gone` are
    files that were removed, with when: they may still lie there, for readers that began earlier. `forgotten` is when
    the youngest of those that are not remembered any more was made.
    """

    number: int = 0
    files: dict[str, ArchivedFile] = field(default_factory=dict)
    offsets: dict[str, tuple[str, int]] = field(default_factory=dict)
    gone: dict[str, datetime] = field(default_factory=dict)
    forgotten: datetime | None = None
    erasures: list[Erasure] = field(default_factory=list)
    unfinished: dict[str, Retired] = field(default_factory=dict)

    def after(self, progress: Iterable[Progress]) -> dict[str, tuple[str, int]]:
        """The offsets as they will be once `progress` is made."""
        return self.offsets | {partition(each.topic, each.partition): (each.topic_id, each.end) for each in progress}

    def apply(self, entry: ManifestEntry) -> None:
        """Goes one entry further. Raises ValueError for one that does not follow."""
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
        if self.number % _FORGET_EVERY == 0:  # by number, so that every reader forgets the same
            self._forget(draft.at - KEPT)

    def _forget(self, before: datetime) -> None:
        """`objection` needs the names of removed files to refuse a late writer that would add one, however long it has
        slept. What is forgotten here it refuses by age: nothing that was made no later than the youngest file forgotten
        may be added. No clock is compared with another one by that, and a writer that is refused begins anew.

        A file that still lies there when it is forgotten becomes one that no entry knows, which is swept like others.
        """
        for name in [name for name, at in self.gone.items() if at < before]:
            made = made_at(name)
            if made is not None:
                del self.gone[name]
                self.forgotten = max(self.forgotten or made, made)

    def objection(self, draft: Draft) -> str | None:
        """Why `draft` must not come next: it does not follow from what is archived by now; None where it does."""
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
                return f"{at} is archived up to {end}, this goes on at {moved.start}"
        return None

    def _forgets(self, name: str) -> bool:
        made = made_at(name)
        return self.forgotten is not None and made is not None and made <= self.forgotten

    def folders(self, table: str) -> dict[ArchiveFolder, list[ArchivedFile]]:
        """The files of a table by folder, in the order of days and buckets; a folder's files as they were written."""
        found: dict[ArchiveFolder, list[ArchivedFile]] = {}
        for file in sorted(self.files.values(), key=lambda file: (file.day, file.bucket, file.name)):
            if file.table == table:
                found.setdefault(file.folder, []).append(file)
        return found

    def archived(self, topics: Mapping[str, str]) -> dict[tuple[str, int], int]:
        """The first offset that is not archived of each (topic, partition). `topics` are their ids: of a topic that was
        made anew nothing is archived, whatever was of the old one."""
        found: dict[tuple[str, int], int] = {}
        for at, (topic_id, end) in self.offsets.items():
            topic, _, number = at.rpartition("/")
            if topics.get(topic) == topic_id:
                found[topic, int(number)] = end
        return found

    def erased(self, table: str) -> set[tuple[str, str]]:
        """(tenant, event id) of everything of a table that was erased."""
        return {(each.tenant, id_) for each in self.erasures for id_ in each.events.get(table, ())}


def partition(topic: str, number: int) -> str:
    """How the manifest names a partition."""
    return f"{topic}/{number}"


ENTRY: TypeAdapter[ManifestEntry] = TypeAdapter(ManifestEntry)
MANIFEST: TypeAdapter[Manifest] = TypeAdapter(Manifest)
