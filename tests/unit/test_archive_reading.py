"""`headrace archive cat` on archives in a folder."""

import json
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from operations.archive.cat import json_lines
from schemas.tables import EVENTS, ORDER_LINES
from sinks.archive.files import FileDamaged
from sinks.archive.log import Log
from sinks.archive.reader import ArchiveSelection, records
from tests.support.archive_files import NOON, append, erase, event, flip, headrace, ids, open_log, order_line

MANY = [
    event(1),
    event(2, event_type="OrderPaid"),
    event(3, "tenant-002"),
    event(4, occurred_at=NOON + timedelta(days=1)),
    event(5, occurred_at=NOON + timedelta(days=2)),
]


@pytest.fixture
def log(tmp_path: Path) -> Log:
    log = open_log(tmp_path / "archive")
    append(log, MANY)
    return log


@pytest.mark.parametrize(
    ("selection", "numbers"),
    [
        (ArchiveSelection(), {1, 2, 3, 4, 5}),
        (ArchiveSelection(tenant="tenant-002"), {3}),
        (ArchiveSelection(tenant="nobody"), set()),
        (ArchiveSelection(event_type="OrderPaid"), {2}),
        (ArchiveSelection(since=date(2026, 8, 4)), {4, 5}),
        (ArchiveSelection(until=date(2026, 8, 4)), {1, 2, 3, 4}),
        (ArchiveSelection(since=date(2026, 8, 4), until=date(2026, 8, 4), tenant="tenant-001"), {4}),
        (ArchiveSelection(since=NOON + timedelta(minutes=2)), {2, 3, 4, 5}),
        (ArchiveSelection(until=NOON + timedelta(minutes=2)), {1}),
        (ArchiveSelection(since=NOON + timedelta(minutes=2), until=NOON + timedelta(days=1)), {2, 3}),
        (ArchiveSelection(since=date(2026, 8, 4), until=NOON + timedelta(days=1, seconds=1)), {4}),
        (ArchiveSelection(since=date.min, until=date.max), {1, 2, 3, 4, 5}),
    ],
)
def test_only_what_is_selected_is_read(log: Log, selection: ArchiveSelection, numbers: set[int]):
    assert {datum["_offset"] for datum in records(log, EVENTS, selection)} == numbers


def test_tenants_of_one_bucket_are_told_apart(tmp_path: Path):
    log = open_log(tmp_path)
    append(log, [event(1, "tenant-012"), event(2, "tenant-025")])
    assert len(log.manifest().files) == 1
    assert [datum["_offset"] for datum in records(log, EVENTS, ArchiveSelection(tenant="tenant-025"))] == [2]


def test_folders_that_cannot_hold_what_is_selected_are_not_opened(log: Log):
    for file in log.manifest().files.values():
        if file.day == date(2026, 8, 3):
            log.store.delete(file.name)
    assert len(list(records(log, EVENTS, ArchiveSelection(since=date(2026, 8, 4))))) == 2


def test_files_that_cannot_hold_what_is_selected_are_not_opened(log: Log):
    append(log, [event(600)])
    for file in log.manifest().files.values():
        if file.last < NOON + timedelta(hours=10):
            log.store.delete(file.name)
    evening = ArchiveSelection(since=NOON + timedelta(hours=5), until=date(2026, 8, 3))
    assert [datum["_offset"] for datum in records(log, EVENTS, evening)] == [600]


def test_erased_rows_of_every_key_are_not_shown(tmp_path: Path):
    log = open_log(tmp_path)
    append(log, [order_line("o-1", 1), order_line("o-1", 2), order_line("o-2", 1)], ORDER_LINES)
    erase(log, {"order_lines": ["o-1/1", "o-1/2"]})
    assert [(row["order_id"], row["line_no"]) for row in records(log, ORDER_LINES)] == [("o-2", 1)]


def test_rows_that_age_by_month_are_of_its_first_instant(tmp_path: Path):
    log = open_log(tmp_path)
    append(log, [order_line("o-1", 1)], ORDER_LINES)
    august = date(2026, 8, 1)
    assert len(list(records(log, ORDER_LINES, ArchiveSelection(since=august, until=august)))) == 1
    assert not list(records(log, ORDER_LINES, ArchiveSelection(since=date(2026, 8, 2))))


def test_a_repeat_in_another_file_is_read_once(log: Log):
    append(log, [event(1, _offset=101), event(6)])
    assert ids(log) == sorted(event(number)["event_id"] for number in range(1, 7))


def test_an_erased_event_is_not_shown_even_where_a_file_still_holds_it(log: Log):
    gone = event(2)["event_id"]
    erase(log, {"events": [gone]})
    assert {datum["_offset"] for datum in records(log, EVENTS)} == {1, 3, 4, 5}


def test_a_flipped_byte_is_refused_before_anything_of_that_file_is_shown(tmp_path: Path):
    log = open_log(tmp_path)
    append(log, [event(number) for number in range(50)])
    (name,) = log.manifest().files
    flip(tmp_path / name)
    with pytest.raises(FileDamaged, match=name):
        next(records(log, EVENTS))


def test_values_are_printed_exactly(tmp_path: Path):
    log = open_log(tmp_path)
    append(log, [event(1)])
    (line,) = json_lines(log, EVENTS, ArchiveSelection())
    shown = json.loads(line)
    assert shown["occurred_at"] == "2026-08-03T12:01:00.000000+00:00"
    assert shown["event_day"] == "2026-08-03"
    assert shown["payload"] == '{"number": 1, "name": "São"}'
    assert list(shown) == [column.name for column in EVENTS.columns] + ["_topic", "_partition", "_offset", "_epoch"]


def test_decimals_are_printed_as_text():
    from operations.archive.cat import _exact

    assert _exact(Decimal("12345678901234.5600")) == "12345678901234.5600"


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (["--since", "2026-08-03T12:02", "--until", "2026-08-04"], 3),
        (["--since", "2026-08-03T14:02:00+02:00", "--until", "2026-08-04T00:00Z"], 2),
    ],
)
def test_the_command_takes_days_and_instants(log: Log, arguments: list[str], count: int):
    said, wrong = headrace(log.store.url, "cat", *arguments).communicate(timeout=60)
    assert (len(said.splitlines()), wrong) == (count, "")


def test_a_wrong_instant_is_named_with_what_was_expected(log: Log):
    with headrace(log.store.url, "cat", "--since", "yesterday") as process:
        _, wrong = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "expected 2026-11-23 or" in " ".join(wrong.split())


def test_the_command_ends_at_its_limit(log: Log):
    said, wrong = headrace(log.store.url, "cat", "--limit", "2").communicate(timeout=60)
    assert (len(said.splitlines()), wrong) == (2, "")


def test_a_reader_that_has_had_enough_is_no_error(tmp_path: Path):
    log = open_log(tmp_path)
    append(log, [event(number) for number in range(5_000)])
    with headrace(tmp_path, "cat") as process:
        assert process.stdout is not None and process.stderr is not None
        json.loads(process.stdout.readline())
        process.stdout.close()
        assert (process.stderr.read(), process.wait(60)) == ("", 0)
