"""`headrace archive verify` names all that is wrong, and goes on."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from uuid_utils import uuid7

from schemas.tables import EVENTS
from sinks.archive.audit import Audit, FindingKind, audit
from sinks.archive.compaction import merge_small_files
from sinks.archive.erasure import erasure_record_name
from sinks.archive.log import ManifestDamaged
from sinks.archive.manifest import Kind
from sinks.archive.reader import records
from tests.support.archive_files import append, erase, event, flip, headrace, open_log


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three entries of ten events, each with one file, all in one folder."""
    log = open_log(tmp_path / "archive")
    for begin in (0, 10, 20):
        append(log, map(event, range(begin, begin + 10)))
    return tmp_path / "archive"


def look(folder: Path, after: timedelta = timedelta()) -> Audit:
    return audit(open_log(folder), [EVENTS], now=datetime.now(UTC) + after)


def found(some: Audit) -> dict[str, FindingKind]:
    return {each.name: each.what for each in some.findings}


def names(folder: Path) -> list[str]:
    return sorted(open_log(folder).manifest().files)


def entry(folder: Path, number: int) -> Path:
    return folder / f"manifest/entries/{number:020}.json"


def test_a_whole_archive_is_whole(folder: Path):
    some = look(folder)
    assert (some.findings, some.entries, some.files, some.rows) == ([], 3, 3, 30)
    assert some.size == sum(path.stat().st_size for path in folder.rglob("*.avro"))


def test_every_damaged_and_missing_file_is_named(folder: Path):
    first, second, third = names(folder)
    flip(folder / first)
    (folder / second).unlink()
    flip(folder / third, (folder / third).read_bytes().index(b"sha256"))
    some = look(folder)
    assert found(some) == {first: FindingKind.DAMAGED, second: FindingKind.MISSING, third: FindingKind.DAMAGED}
    assert some.damaged and some.files == 3


def test_a_file_whose_rows_are_not_what_its_entry_tells_of_is_damaged(folder: Path):
    log = open_log(folder)
    file, *_ = log.manifest().files.values()
    for change in ({"rows": 11}, {"bucket": 3}):
        wrong = type(file)(**{name: getattr(file, name) for name in file.__slots__} | change)
        log.commit(log.draft(Kind.REBUILD, added=(wrong,)))
        assert found(look(folder)) == {file.name: FindingKind.DAMAGED}


def test_a_flipped_byte_in_an_entry_is_found_and_the_others_are_looked_at(folder: Path):
    flip(entry(folder, 2))
    flip(folder / names_of_entry(folder, 3))
    with pytest.raises(ManifestDamaged, match=r"0002\.json is not what was written"):
        next(records(open_log(folder), EVENTS))
    some = look(folder)
    assert [each.what for each in some.findings if each.damage] == [FindingKind.MANIFEST, FindingKind.DAMAGED]
    (orphan,) = (each for each in some.findings if not each.damage)
    assert "keep it" in orphan.said
    assert some.entries == 2


def names_of_entry(folder: Path, number: int) -> str:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.avro"))[number - 1]


def test_an_entry_in_the_place_of_another_is_found(folder: Path):
    shutil.copy(entry(folder, 2), entry(folder, 3))
    with pytest.raises(ManifestDamaged, match="is entry 2"):
        open_log(folder).manifest()
    assert [each.what for each in look(folder).findings if each.damage] == [FindingKind.MANIFEST]


def test_a_file_that_cannot_be_looked_at_leaves_it_undecided_and_the_others_are(folder: Path):
    log, (first, second, _) = open_log(folder), names(folder)
    flip(folder / second)
    unreadable = folder / first
    unreadable.unlink()
    unreadable.mkdir()
    some = audit(log, [EVENTS], now=datetime.now(UTC))
    assert found(some) == {first: FindingKind.UNREADABLE, second: FindingKind.DAMAGED}
    assert some.undecided and some.damaged


def test_a_missing_entry_is_found(folder: Path):
    entry(folder, 2).unlink()
    assert "2.json is missing" in str(look(folder).findings[0].said)
    with pytest.raises(ManifestDamaged, match="missing"):
        open_log(folder).entries(lambda _: None)


def test_lost_last_entries_are_found_by_a_checkpoint(folder: Path):
    log = open_log(folder)
    while log.manifest().number < 100:
        log.commit(log.draft(Kind.APPEND))
    entry(folder, 100).unlink()
    assert [each.what for each in look(folder).findings] == [FindingKind.MANIFEST]


def test_a_checkpoint_that_says_something_else_is_found(folder: Path, tmp_path: Path):
    other = open_log(tmp_path / "other")
    for log in (other, open_log(folder)):
        while log.manifest().number < 100:
            log.commit(log.draft(Kind.APPEND))
    shutil.copytree(tmp_path / "other/manifest/checkpoints", folder / "manifest/checkpoints", dirs_exist_ok=True)
    assert found(look(folder)) == {"manifest/checkpoints": FindingKind.MANIFEST}


def test_an_audit_is_not_disturbed_by_entries_that_come_meanwhile(folder: Path):
    log, other = open_log(folder), open_log(folder)
    came: list[int] = []

    def on_entry(one) -> None:
        came.append(one.number)
        append(other, [event(100 + one.number)])

    log.entries(on_entry)
    assert came == [1, 2, 3]


def test_what_was_left_by_a_crash_is_said_and_harmless(folder: Path):
    name = f"{names(folder)[0].rpartition('/')[0]}/{uuid7()}.avro"
    shutil.copy(folder / names(folder)[0], folder / name)
    for after, said in ((timedelta(), "in flight"), (timedelta(days=1), "left by a crash")):
        some = look(folder, after)
        (orphan,) = some.findings
        assert (orphan.what, orphan.name, some.damaged) == (FindingKind.ORPHAN, name, False)
        assert said in orphan.said


def test_files_that_compaction_has_replaced_are_harmless(folder: Path, tmp_path: Path):
    before = names(folder)
    list(merge_small_files(open_log(folder), tmp_path, [EVENTS]))
    some = look(folder)
    assert found(some) == dict.fromkeys(before, FindingKind.REMOVED)
    assert not some.damaged


def test_an_erased_file_that_still_lies_there_is_damage(folder: Path):
    name, *_ = names(folder)
    erase(open_log(folder), {}, removed=(name,))
    some = look(folder)
    assert found(some) == {name: FindingKind.ERASED}
    assert some.damaged


def test_an_erased_event_that_a_file_still_holds_is_damage(folder: Path):
    name, *_ = names(folder)
    erase(open_log(folder), {"events": [event(3)["event_id"]]})
    (one,) = look(folder).findings
    assert (one.what, one.name) == (FindingKind.ERASED, name)
    assert "holds 1 records that were erased" in one.said


def test_a_tombstone_that_a_rebuild_could_not_read_is_found(folder: Path):
    damaged, missing = (folder / erasure_record_name(erase(open_log(folder), {})) for _ in range(2))
    assert not look(folder).findings
    flip(damaged)
    missing.unlink()
    assert found(look(folder)) == {
        path.relative_to(folder).as_posix(): FindingKind.MANIFEST for path in (damaged, missing)
    }


def test_files_without_any_entry_are_no_whole_archive(folder: Path):
    shutil.rmtree(folder / "manifest")
    assert FindingKind.MANIFEST in [each.what for each in look(folder, timedelta(days=1)).findings]
    assert not look(folder).damaged  # its first entry may be on its way


def test_a_missing_archive_is_never_reported_as_intact(tmp_path: Path):
    code, said = run(tmp_path / "not-mounted", "verify")
    assert code == 2
    assert "nothing was ever archived at" in said and "HEADRACE_ARCHIVE__URL" in said


def test_the_command_says_all_of_it_by_its_exit_code(folder: Path, tmp_path: Path):
    assert run(folder, "verify")[0] == 0
    first, second, _ = names(folder)
    flip(folder / first)
    (folder / second).unlink()
    code, said = run(folder, "verify")
    assert code == 1
    assert first in said and second in said and "2 DAMAGED" in said
    (tmp_path / "no-folder").write_text("")
    code, said = run(tmp_path / "no-folder", "verify")
    assert code == 2, said


def test_the_command_says_what_is_harmless_in_one_line(folder: Path, tmp_path: Path):
    before = names(folder)
    list(merge_small_files(open_log(folder), tmp_path, [EVENTS]))
    code, said = run(folder, "verify")
    line, verdict = said.splitlines()
    assert code == 0
    assert line.startswith(f"removed: 3 files, {before[0]} for one: ")
    assert verdict.startswith("everything is whole")
    found = json.loads(run(folder, "verify", "--json")[1])["findings"]
    assert [each["name"] for each in found] == before


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    with headrace(folder, *arguments) as process:
        said, wrong = process.communicate(timeout=60)
    return process.returncode, said + wrong
