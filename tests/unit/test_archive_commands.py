"""`headrace archive ls` and `compact`, as they are called."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.archive_files import NOON, append, event, flip, headrace, ids, open_log


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files of one day and one of the next, of one tenant; another tenant's event."""
    log = open_log(tmp_path / "archive")
    append(log, [event(number) for number in range(10)])
    append(log, [*map(event, range(5, 15)), event(20, "tenant-002")])
    append(log, [event(30, occurred_at=NOON + timedelta(days=1))])
    return tmp_path / "archive"


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run a command, and return its exit code and output."""
    with headrace(folder, *arguments) as process:
        said, wrong = process.communicate(timeout=60)
    assert wrong == ""
    return process.returncode, said


def test_ls_shows_folders_and_their_total(folder: Path):
    code, said = run(folder, "ls")
    *lines, total = [" ".join(line.split()) for line in said.splitlines()]
    assert code == 0
    assert [line[:24] for line in lines[1:]] == [
        "events 2026-08-03 02 1 1",
        "events 2026-08-03 08 2 2",
        "events 2026-08-04 08 1 1",
    ]
    assert total.startswith("total 4 22 ") and total.endswith("2026-08-03 12:00:00 2026-08-04 12:00:00")


def test_ls_takes_filters_and_speaks_to_machines(folder: Path):
    _, said = run(folder, "ls", "--tenant", "tenant-001", "--until", "2026-08-03", "--json")
    found = json.loads(said)
    (only,) = found["folders"]
    assert (only["table"], only["day"], only["bucket"], only["files"], only["rows"]) == (
        "events",
        "2026-08-03",
        8,
        2,
        20,
    )
    assert found["total"]["size"] == only["size"] == sum(map(size, (folder / "events/tenant_bucket=08").glob("*03/*")))


def size(path: Path) -> int:
    return path.stat().st_size


def test_compact_says_what_it_merged_and_later_what_it_deleted(folder: Path):
    before = ids(open_log(folder))
    code, said = run(folder, "compact")
    assert code == 0
    assert "2 files into 1, 15 rows" in said and "5 repeated or erased rows dropped" in said
    assert said.splitlines()[-1] == "2 files merged; 0 files deleted, 0 bytes"
    _, said = run(folder, "compact", "--grace-minutes", "0")
    assert said.count("removed earlier") == 2
    assert said.splitlines()[-1].startswith("0 files merged; 2 files deleted, ")
    assert ids(open_log(folder)) == before


def test_a_spool_without_room_is_one_line_and_nothing_has_changed(folder: Path):
    before = ids(open_log(folder))
    with headrace(folder, "compact", under=["bash", "-c", 'ulimit -f 1; exec "$@"', "-"]) as process:
        _, wrong = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "the spool in" in wrong and "archive-unavailable" in wrong and "Traceback" not in wrong
    assert ids(open_log(folder)) == before


def test_a_spool_that_is_no_folder_is_one_line(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HEADRACE_ARCHIVE__SPOOL", str(tmp_path / "file"))
    with headrace(folder, "compact") as process:
        _, wrong = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "the spool in" in wrong and "Traceback" not in wrong


def test_compact_names_a_damaged_file_and_continues_with_the_others(folder: Path):
    log = open_log(folder)
    append(log, [event(21, "tenant-002")])
    name = next(name for name in log.manifest().files if "tenant_bucket=08/date=2026-08-03" in name)
    flip(folder / name)
    code, said = run(folder, "compact")
    assert code == 1
    assert f"{name} is not what was written" in said
    assert "merged  events/tenant_bucket=02/date=2026-08-03: 2 files into 1" in said
