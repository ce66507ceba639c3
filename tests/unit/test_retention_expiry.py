"""The archive removes its own expired records, on archives in a folder."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from operations.retention.expiry import expire_archive
from operations.retention.item import RetentionOutcome
from operations.retention.policy import Expiry, Policy
from operations.retention.stores import Stores
from schemas.tables import EVENTS, ORDER_LINES
from sinks.archive.log import Log
from sinks.archive.reader import ArchiveSelection, records
from tests.support.archive_files import NOON, append, event, flip, open_log, order_line

HELD, OTHER = "tenant-012", "tenant-025"  # of one bucket
TEN_YEARS = Expiry(years=10)
AUGUST = datetime(2026, 8, 1, tzinfo=UTC)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    log = open_log(tmp_path / "archive")
    append(log, [order_line("o-1", 1, HELD), order_line("o-2", 1, OTHER)], ORDER_LINES)
    append(log, [event(1, HELD), event(2, OTHER)])
    return log


def let_go(
    log: Log, spool: Path, *, year: int, dry: bool = False, keep: Expiry = TEN_YEARS
) -> list[tuple[RetentionOutcome, int]]:
    nobody: Any = None
    stores = Stores(
        oltp=nobody, reporting=[], generations=[], log=log, bootstrap="", decoding=nobody, barrier=nobody,
        landed=nobody, spool=spool, codec="zstandard", policy=Policy(archive=keep), held=frozenset({HELD}),
        now=datetime(year, 9, 2, tzinfo=UTC), dry=dry,
    )  # fmt: skip
    return [(item.outcome, item.count) for item in expire_archive(stores)]


def test_what_is_not_old_enough_stays(log: Log, tmp_path: Path):
    assert let_go(log, tmp_path, year=2035) == []


def test_a_plan_lets_nothing_go(log: Log, tmp_path: Path):
    assert let_go(log, tmp_path, year=2036, dry=True) == [(RetentionOutcome.GOES, 1), (RetentionOutcome.GOES, 1)]
    assert len(log.manifest().files) == 2


def test_a_held_tenants_records_stay_and_are_read_like_others(log: Log, tmp_path: Path):
    assert let_go(log, tmp_path, year=2036) == [(RetentionOutcome.GONE, 1), (RetentionOutcome.GONE, 1)]
    assert [row["tenant_id"] for row in records(log, ORDER_LINES, ArchiveSelection(since=AUGUST))] == [HELD]
    assert [row["tenant_id"] for row in records(log, EVENTS)] == [HELD]
    spans = {file.table: (file.first, file.last) for file in log.manifest().files.values()}
    at = NOON.replace(minute=1)
    assert spans == {"order_lines": (AUGUST, AUGUST), "events": (at, at)}
    assert let_go(log, tmp_path, year=2037) == []


def test_a_damaged_file_is_not_copied_under_a_hold_but_named(log: Log, tmp_path: Path):
    for name in log.manifest().files:
        flip(tmp_path / "archive" / name)
    assert {outcome for outcome, _ in let_go(log, tmp_path, year=2036)} == {RetentionOutcome.KEPT}
    assert len(log.manifest().files) == 2


def test_an_archive_without_an_end_keeps_everything(log: Log, tmp_path: Path):
    assert let_go(log, tmp_path, year=2099, keep=Expiry()) == []
