"""The manifest's rules against a plain model: what may come next, and what all entries come to."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import hypothesis.strategies as st
from hypothesis import given
from hypothesis import settings as examples

from sinks.archive.manifest import (
    ENTRY,
    MANIFEST,
    ArchivedFile,
    Draft,
    Erasure,
    Kind,
    Manifest,
    ManifestEntry,
    Progress,
)

NOON = datetime(2026, 8, 3, 12, tzinfo=UTC)
NAMES = [
    f"events/tenant_bucket=00/date=2026-08-03/0198700{number}-0000-7000-8000-000000000000.avro" for number in range(6)
]


def file(name: str) -> ArchivedFile:
    return ArchivedFile(
        name=name, table="events", bucket=0, day=date(2026, 8, 3), rows=1, size=1, sha256="", first=NOON, last=NOON,
        offsets={}, schema="",
    )  # fmt: skip


names = st.lists(st.sampled_from(NAMES), max_size=2, unique=True).map(tuple)
progress = st.lists(
    st.builds(
        Progress,
        topic=st.just("t"),
        partition=st.integers(0, 1),
        topic_id=st.sampled_from(["one", "two"]),
        start=st.integers(0, 3),
        end=st.integers(4, 6).map(lambda end: end - 3),
    ),
    max_size=1,
).map(tuple)
erasure = st.builds(Erasure, id=st.just("x"), tenant=st.just("t"), subject_sha256=st.just(""), events=st.just({}))
drafts = st.builds(
    Draft,
    id=st.just("x"),
    kind=st.just(Kind.APPEND),
    by=st.just("test"),
    at=st.just(NOON),
    added=names.map(lambda some: tuple(map(file, some))),
    removed=names,
    swept=names,
    progress=progress,
    erasures=st.none() | st.integers(0, 2),
    erasure=st.none() | erasure,
)


@dataclass
class Model:
    """The present files, all removed files, the offset of each partition, the number of erasures."""

    there: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    at: dict[str, tuple[str, int]] = field(default_factory=dict)
    erasures: int = 0

    def allows(self, draft: Draft) -> bool:
        return (
            self.there.issuperset(draft.removed)
            and self.gone.isdisjoint(each.name for each in draft.added)
            and self.there.isdisjoint(draft.swept)
            and draft.erasures in (None, self.erasures)
            and all(map(self._follows, draft.progress))
        )

    def _follows(self, moved: Progress) -> bool:
        """Return whether it begins at the partition's offset; in a topic with another id it may begin anywhere."""
        at = self.at.get(f"t/{moved.partition}")
        return at is None or at[0] != moved.topic_id or at[1] == moved.start

    def take(self, draft: Draft) -> None:
        added = {each.name for each in draft.added}
        self.there = (self.there | added) - set(draft.removed)
        self.gone |= {*draft.removed, *draft.swept}
        self.at |= {f"t/{each.partition}": (each.topic_id, each.end) for each in draft.progress}
        self.erasures += draft.erasure is not None


@examples(max_examples=300)
@given(st.lists(drafts, max_size=14))
def test_what_may_come_next_is_what_follows_and_nothing_else(some: list[Draft]):
    manifest, model = Manifest(), Model()
    for draft in some:
        commit_conflict = manifest.commit_conflict(draft)
        assert (commit_conflict is None) == model.allows(draft), commit_conflict
        if commit_conflict is None:
            manifest.apply(ManifestEntry(number=manifest.number + 1, draft=draft))
            model.take(draft)
        assert manifest.files.keys() == model.there
        assert manifest.gone.keys() == model.gone
        assert manifest.offsets == model.at
        assert len(manifest.erasures) == model.erasures


@examples(max_examples=100)
@given(st.lists(drafts, max_size=14), st.integers(0, 14))
def test_a_checkpoint_and_the_entries_behind_it_say_what_all_entries_say(some: list[Draft], at: int):
    entries = [ManifestEntry(number=number, draft=draft) for number, draft in enumerate(some, start=1)]
    whole = Manifest()
    kept = MANIFEST.dump_json(whole)
    for entry in entries:
        whole.apply(entry)
        if entry.number == at:
            kept = MANIFEST.dump_json(whole)
    restored = MANIFEST.validate_json(kept)
    for entry in entries[restored.number :]:
        restored.apply(ENTRY.validate_json(ENTRY.dump_json(entry)))
    assert restored == whole


@given(st.lists(st.integers(0, 60), max_size=8))
def test_forgetting_never_lets_a_removed_name_come_back(days: list[int]):
    manifest, removed = Manifest(), []
    for number, day in enumerate(sorted(days)):
        name = NAMES[0].replace("0198700", f"019870{number:x}")
        manifest.files[name] = file(name)
        manifest.number = 99  # so that the next entry is one at which names are forgotten
        draft = Draft(id="x", kind=Kind.COMPACT, by="test", at=NOON + timedelta(days=day), removed=(name,))
        manifest.apply(ManifestEntry(number=100, draft=draft))
        removed.append(name)
        for each in removed:
            late = Draft(id="y", kind=Kind.APPEND, by="test", at=NOON, added=(file(each),))
            assert manifest.commit_conflict(late) is not None
