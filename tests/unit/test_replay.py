"""A rebuild's decisions: the progress of a generation, and the events that only the archive has."""

import io
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from rich.console import Console

from operations.replay.archived_events import captured_since, change, missing_in_kafka, unexpired
from operations.replay.progress import BuildRate, TopicProgress, build_rate, topic_progress
from operations.replay.workers import LocalWorkers, workers_of
from operations.settings import KafkaSettings, Settings
from schemas.tables import EVENTS, ORDERS
from sinks.archive.reader import ArchiveSelection
from sinks.reporting.cutoff import Cutoff
from stack.folder import Folder
from tests.support.setting_names import setting_names

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
DATUM = {
    "tenant_id": "t", "event_day": NOON.date(), "event_id": "e", "aggregate_type": "order", "aggregate_id": "o",
    "event_type": "OrderPlaced", "schema_version": 1, "payload": "{}", "occurred_at": NOON, "traceparent": None,
    "_topic": "shop.events.order", "_partition": 0, "_offset": 12, "_epoch": 1,
}  # fmt: skip
BACKFILLED = {"_partition": -1, "_offset": -1, "_epoch": 0}


def test_what_kafka_has_let_go_counts_neither_as_done_nor_as_to_do():
    starts, ends = {("t", 0): 100, ("t", 1): 0}, {("t", 0): 150, ("t", 1): 10}
    assert topic_progress("t", starts, ends, {}) == TopicProgress(topic="t", done=0, total=60)
    assert topic_progress("t", starts, ends, {("t", 0): 120, ("t", 1): 10}) == TopicProgress(
        topic="t", done=30, total=60
    )


def test_records_that_come_while_one_looks_are_not_done_before_they_are_there():
    assert topic_progress("t", {("t", 0): 0}, {("t", 0): 5}, {("t", 0): 7}).behind == 0


@pytest.mark.parametrize(
    ("first", "now", "expected"),
    [
        (0, 50, BuildRate(rate=5.0, left_s=10.0)),
        (40, 60, BuildRate(rate=2.0, left_s=20.0)),
        (40, 40, BuildRate(rate=0.0, left_s=None)),
        (0, 100, BuildRate(rate=10.0, left_s=0.0)),
    ],
)
def test_time_left_is_what_is_behind_at_the_rate_so_far(first, now, expected):
    at = TopicProgress(topic="t", done=first, total=100)
    assert build_rate(at, replace(at, done=now), seconds=10.0) == expected


def test_an_event_is_landed_from_the_archive_where_kafka_begins_behind_it_or_never_had_it():
    assert not missing_in_kafka({("shop.events.order", 0): 12})(DATUM)
    assert missing_in_kafka({("shop.events.order", 0): 13})(DATUM)
    assert missing_in_kafka({})(DATUM), "its topic is gone"
    assert missing_in_kafka({("shop.events.order", 0): 0})(DATUM | BACKFILLED)


def test_what_has_aged_out_is_not_even_read_unless_somebody_is_held():
    assert unexpired(None) == ArchiveSelection()
    assert unexpired(Cutoff("events", date(2026, 9, 1))) == ArchiveSelection(since=date(2026, 9, 1))
    assert unexpired(Cutoff("events", date(2026, 9, 1), frozenset({"t"}))) == ArchiveSelection()


def test_events_of_a_future_that_the_source_has_left_stay_out():
    assert captured_since(DATUM, 1)
    assert not captured_since(DATUM, 2)
    assert captured_since(DATUM | BACKFILLED, 2), "read at the source, not captured"


def test_an_archived_event_is_the_change_that_capture_made():
    made = change(EVENTS, DATUM)
    assert made.key == ("t", NOON.date(), "e")
    assert made.row is not None and len(made.row) == len(EVENTS.columns)
    assert (made.position.epoch, made.position.offset, made.source_time) == (1, 12, NOON)
    assert ORDERS.mode is not made.table.mode


def test_where_headrace_up_does_not_run_the_line_it_says_which_workers_to_start(tmp_path: Path):
    said = io.StringIO()
    settings = Settings.model_construct(kafka=KafkaSettings(bootstrap="kafka:9092"))
    workers = workers_of(settings, tmp_path, 2, Console(file=said, width=300))
    workers.start(500)
    workers.check()
    assert "HEADRACE_REPORTING__GENERATION=2 and HEADRACE_REPORTING__MAX_RATE=500" in said.getvalue()
    assert {"HEADRACE_REPORTING__GENERATION", "HEADRACE_REPORTING__MAX_RATE"} <= set(setting_names(Settings))


def test_the_line_of_another_folder_is_not_taken_for_the_one_of_the_settings(tmp_path: Path):
    settings = Settings.model_construct(kafka=KafkaSettings(bootstrap="127.0.0.1:9092"))
    environment = Folder(tmp_path).environment
    environment.write_text("HEADRACE_KAFKA__BOOTSTRAP=127.0.0.1:9093\n")
    assert not isinstance(workers_of(settings, tmp_path, 2, Console()), LocalWorkers)
    environment.write_text("HEADRACE_KAFKA__BOOTSTRAP=127.0.0.1:9092\n")
    assert isinstance(workers_of(settings, tmp_path, 2, Console()), LocalWorkers)
