"""Compaction on archives in a folder: readers see the same before, meanwhile and after."""

import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given
from hypothesis import settings as examples
from uuid_utils import uuid7

from schemas.tables import EVENTS, ORDER_LINES
from sinks.archive.batch import ArchiveBatch
from sinks.archive.compaction import Merged, delete_unreferenced, groups_to_merge, merge_small_files
from sinks.archive.erasure import Eraser
from sinks.archive.files import Datum, read, read_head, verify_file
from sinks.archive.log import Log, Superseded
from sinks.archive.manifest import Kind, Progress
from sinks.archive.reader import records
from sinks.archive.store import Exists
from sinks.archive.subject import Subject
from tests.support.archive_files import NOON, append, erase, event, flip, ids, open_log, order_line

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def compact(log: Log, **how) -> list[Merged]:
    with tempfile.TemporaryDirectory() as spool:
        return list(merge_small_files(log, Path(spool), [EVENTS], **how))


def swept(log: Log, after: timedelta = timedelta(), grace: timedelta = HOUR) -> list[str]:
    """Delete unreferenced files `after` that time, and return their names."""
    return [each.name for each in delete_unreferenced(log, [EVENTS], now=datetime.now(UTC) + after, grace=grace)]


def lying(log: Log) -> set[str]:
    return set(log.store.sizes("events"))


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """Three files in one folder: events 0 to 29, of which ten stand in two files."""
    log = open_log(tmp_path / "archive")
    append(log, map(event, range(10)))
    append(log, [event(number, _offset=100 + number) for number in range(20)])
    append(log, map(event, range(20, 30)))
    return log


def test_small_files_become_one_and_repeats_are_gone(log: Log):
    before = ids(log)
    (merged,) = compact(log)
    (file,) = log.manifest().files.values()
    assert ids(open_log(Path(log.store.url))) == before
    assert (merged.files, merged.dropped, merged.refusal) == (3, 10, None)
    assert (file.rows, file.offsets) == (30, {"shop.events.order/0": (0, 119)})
    verify_file(log.store, file)


def test_a_merged_file_says_what_it_replaces(log: Log):
    before = set(log.manifest().files)
    compact(log)
    (file,) = log.manifest().files.values()
    head = read_head(log.store, file.name, file.size)
    assert head.file == file
    assert set(head.commit.replaces) == before


def test_a_second_compaction_has_nothing_to_do(log: Log):
    compact(log)
    number = log.manifest().number
    assert compact(log) == []
    assert log.manifest().number == number


def test_large_files_are_left_alone(log: Log):
    assert compact(log, target=1) == []
    sizes = sorted(file.size for file in log.manifest().files.values())
    (merged,) = compact(log, target=sizes[-1])
    assert merged.files == 2


def test_no_file_becomes_much_larger_than_the_target(log: Log):
    (file, *_) = log.manifest().files.values()
    assert [len(group) for group in groups_to_merge([file] * 7, 2 * file.size + 1)] == [3, 3]


def test_erased_events_are_left_out_and_counted(log: Log):
    gone = [event(number)["event_id"] for number in (3, 25)]
    erase(log, {"events": gone})
    compact(log)
    (file,) = log.manifest().files.values()
    assert (file.rows, file.erased) == (28, 2)


def test_erased_rows_of_every_key_are_left_out(log: Log):
    for line in (1, 2):
        append(log, [order_line("o-1", line), order_line("o-2", line)], ORDER_LINES)
    erase(log, {"order_lines": ["o-1/1", "o-1/2"]})
    with tempfile.TemporaryDirectory() as spool:
        (merged,) = merge_small_files(log, Path(spool), [ORDER_LINES])
    (file,) = merged.added
    assert (file.rows, file.erased, merged.dropped) == (2, 2, 2)


def test_what_was_not_captured_has_no_offset(log: Log):
    append(log, [event(40, _partition=-1, _offset=-1, _epoch=0)])
    compact(log)
    (file,) = log.manifest().files.values()
    assert file.offsets == {"shop.events.order/0": (0, 119)}


def test_a_file_that_is_erased_while_its_folder_waits_is_no_damage(log: Log):
    append(log, [event(40, occurred_at=NOON + DAY)])
    append(log, [event(41, occurred_at=NOON + DAY)])
    other, waiting = (
        open_log(Path(log.store.url)),
        [file for file in log.manifest().files.values() if file.day.day == 4],
    )
    with tempfile.TemporaryDirectory() as spool:
        merging = merge_small_files(log, Path(spool), [EVENTS])
        next(merging)
        other.commit(other.draft(Kind.ERASE, removed=(waiting[0].name,)))
        other.store.delete(waiting[0].name)
        (left,) = merging
    assert not left.damaged
    assert "removed from the archive while it was being read" in str(left.refusal)


def test_a_folder_of_which_all_is_erased_has_no_file(log: Log):
    gone = [event(number)["event_id"] for number in range(30)]
    erase(log, {"events": gone})
    (merged,) = compact(log)
    assert (merged.added, log.manifest().files) == ((), {})


def test_an_erasure_during_a_compaction_wins(log: Log, monkeypatch: pytest.MonkeyPatch):
    _before_commit(log, monkeypatch, lambda other: erase(other, {"events": [event(3)["event_id"]]}))
    before = lying(log)
    (merged,) = compact(log)
    assert merged.refusal is not None and "something was erased meanwhile" in merged.refusal
    assert lying(log) == before


def test_a_compaction_that_loses_the_race_changes_nothing(log: Log, monkeypatch: pytest.MonkeyPatch):
    before = ids(log)
    _before_commit(log, monkeypatch, compact)
    (merged,) = compact(log)
    assert merged.refusal is not None and "no longer in the archive" in merged.refusal
    (file,) = log.manifest().files.values()
    assert file.rows == 30
    assert ids(log) == before
    assert len(lying(log)) == 4


def _before_commit(log: Log, monkeypatch: pytest.MonkeyPatch, act) -> None:
    """Another process acts between a compaction's files and its entry."""
    commit = log.commit
    other = open_log(Path(log.store.url))
    monkeypatch.setattr(log, "commit", lambda draft: act(other) and commit(draft))


def test_damage_is_never_merged(log: Log):
    files = dict(log.manifest().files)
    name = next(iter(files))
    path = Path(log.store.url) / name
    flip(path, path.read_bytes().index(b"sha256"))  # in the file's own description: readers of Avro don't see it
    (merged,) = compact(log)
    assert merged.damaged and name in str(merged.refusal)
    assert log.manifest().files == files


def test_a_reader_that_started_earlier_reads_to_its_end(log: Log):
    append(log, [event(number, "tenant-002") for number in range(40, 50)])
    reader = records(log, EVENTS)
    seen = [next(reader)]
    other = open_log(Path(log.store.url))
    compact(other)
    swept(other)
    assert len(lying(other)) == 5
    seen += reader
    assert sorted(datum["event_id"] for datum in seen) == ids(other)
    assert len(seen) == 40


def test_a_reader_that_is_slower_than_the_grace_is_told_to_read_again(log: Log):
    reader = records(log, EVENTS)
    next(reader)
    other = open_log(Path(log.store.url))
    compact(other)
    swept(other, after=2 * HOUR)
    with pytest.raises(Superseded, match="read again"):
        list(reader)


def test_files_stay_until_the_grace_is_over(log: Log):
    before = lying(log)
    compact(log)
    assert swept(log, after=HOUR / 2) == []
    assert set(swept(log, after=HOUR)) == before
    assert lying(log) == set(log.manifest().files)
    assert swept(log, after=2 * HOUR) == []


def test_what_a_crash_has_left_is_swept_when_it_is_a_day_old(log: Log):
    name = _orphan(log)
    assert swept(log) == []
    assert swept(log, after=DAY) == [name]
    assert name not in lying(log)


def test_a_writer_that_wakes_up_after_its_files_were_swept_is_refused(log: Log):
    (file, *_) = log.manifest().files.values()
    orphan = type(file)(**{name: getattr(file, name) for name in file.__slots__} | {"name": _orphan(log)})
    late = open_log(Path(log.store.url))
    draft = late.draft(Kind.APPEND, added=(orphan,))
    swept(log, after=DAY)
    with pytest.raises(Superseded, match="was removed before it was added"):
        late.commit(draft)


def test_a_file_that_is_added_after_all_is_not_swept(log: Log, monkeypatch: pytest.MonkeyPatch):
    (file, *_) = log.manifest().files.values()
    orphan = type(file)(**{name: getattr(file, name) for name in file.__slots__} | {"name": _orphan(log)})
    _before_commit(log, monkeypatch, lambda other: other.commit(other.draft(Kind.APPEND, added=(orphan,))))
    assert swept(log, after=DAY) == []
    assert orphan.name in lying(log)


def test_a_file_that_holds_more_than_the_archive_is_kept(log: Log, tmp_path: Path):
    """As after a restore of the manifest from an older backup: the file may be all that is left."""
    with tempfile.TemporaryDirectory() as spool:
        batch = ArchiveBatch(Path(spool))
        batch.file(EVENTS, "tenant-001", event(90)["event_day"]).write(("", "", "90"), event(90), NOON)
        (file,) = batch.publish(log.store, offsets={"shop.events.order/0": ("a", 91)})
        batch.discard()
    assert swept(log, after=DAY) == []
    for start, end in ((0, 90), (90, 91)):
        assert swept(log, after=DAY) == []
        progress = Progress(topic="shop.events.order", partition=0, topic_id="a", start=start, end=end)
        log.commit(log.draft(Kind.APPEND, progress=(progress,)))
    assert swept(log, after=DAY) == [file.name]


def test_a_merged_file_is_kept_where_what_it_replaces_is_lost(log: Log, monkeypatch: pytest.MonkeyPatch):
    replaced = list(log.manifest().files)
    with monkeypatch.context() as crashed:
        crashed.setattr(log, "commit", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            compact(log)
    (orphan,) = lying(log) - set(replaced)
    log.store.delete(replaced[0])
    assert swept(log, after=DAY) == []
    assert orphan in lying(log)


def test_names_that_are_none_of_ours_are_left_alone(log: Log):
    theirs = Path(log.store.url) / "events" / "notes.txt"
    theirs.write_text("x")
    assert swept(log, after=365 * DAY) == []
    assert theirs.exists()


def test_temporary_files_of_killed_writers_are_swept_when_they_are_a_day_old(log: Log):
    folder = Path(log.store.url) / ".tmp"
    old, young = folder / "old", folder / "young"
    for path in (old, young):
        path.write_text("x")
    os.utime(old, (0, 0))
    assert swept(log) == [".tmp/old"]
    assert young.exists() and not old.exists()


def _orphan(log: Log) -> str:
    """Copy a file to a new name."""
    (name, *_) = log.manifest().files
    copy = f"{name.rpartition('/')[0]}/{uuid7()}.avro"
    with log.store.open(name) as stream:
        log.store.put(copy, [stream.read()])
    return copy


steps = st.one_of(
    st.lists(st.integers(0, 30), min_size=1, max_size=8),
    st.sampled_from(["compact", "sweep now", "sweep later"]),
    st.builds(Subject, st.sampled_from(["tenant-000", "tenant-001", "tenant-002"]), st.sampled_from("abc")),
)


def of_customer(number: int) -> Datum:
    """Return an event that is the same each time it is sent."""
    return event(number, f"tenant-{number % 3:03}", payload=f'{{"customer_id": "{"abc"[number % 5 % 3]}"}}')


def erase_all_of(log: Log, subject: Subject) -> None:
    with tempfile.TemporaryDirectory() as spool:
        eraser = Eraser(log, subject, Path(spool), tables=[EVENTS])
        found = eraser.find(eraser.groups(), eraser.earlier_ids())
        if found.files:
            eraser.erase(found.files, found.ids)


@examples(max_examples=25)
@given(st.lists(steps, max_size=12))
def test_whatever_happens_a_reader_sees_each_event_once(history):
    with tempfile.TemporaryDirectory() as folder:
        log = open_log(Path(folder))
        model: set[int] = set()
        gone: set[int] = set()
        for step in history:
            match step:
                case "compact":
                    compact(log)
                case "sweep now":
                    swept(log)
                case "sweep later":
                    swept(log, after=2 * DAY)
                case Subject():
                    erase_all_of(log, step)
                    theirs = {n for n in model if of_customer(n)["tenant_id"] == step.tenant and is_of(n, step)}
                    model, gone = model - theirs, gone | theirs
                case _:
                    fresh = set(step) - gone  # what was erased the worker does not archive again
                    append(log, map(of_customer, sorted(fresh)))
                    model |= fresh
            assert ids(open_log(Path(folder))) == sorted(event(number)["event_id"] for number in model)
            for file in log.manifest().files.values():
                verify_file(log.store, file)
                assert not gone & {datum["_offset"] for datum in read(log.store, file)}


def is_of(number: int, subject: Subject) -> bool:
    return f'"{subject.id}"' in of_customer(number)["payload"]


def test_an_entry_that_was_written_and_not_answered_is_found_behind_others(log: Log, monkeypatch: pytest.MonkeyPatch):
    """A bucket's client asks again when an answer was lost, and then finds its own entry there."""
    other, put = open_log(Path(log.store.url)), log.store.put

    def lost(name: str, chunks) -> None:
        put(name, chunks)
        append(other, [event(70)])
        monkeypatch.undo()
        raise Exists(name)

    monkeypatch.setattr(log.store, "put", lost)
    (name, *_) = log.manifest().files
    draft = log.draft(Kind.COMPACT, removed=(name,))
    assert log.commit(draft).draft == draft
    assert name not in log.manifest().files
    assert len([each for each in _entries(other) if each == draft.id]) == 1


def _entries(log: Log) -> list[str]:
    found: list[str] = []
    log.entries(lambda entry: found.append(entry.draft.id))
    return found
