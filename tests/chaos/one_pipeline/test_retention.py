"""Retention on a whole pipeline: killed at each step, stopped by what the archive lacks, kept from what is held."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from schemas.failpoints import FailPoint
from sinks.archive.manifest import Kind
from tests.support.aged import LAST_SEASON, LONG_AGO, TODAY, Aged
from tests.support.retiring import apply, killed_and_completed, settled

STRICT_DAYS = 88  # of a policy under which data expire that no other test has written

# A kill after each kind of effect, in the order in which retention comes to them. The archive's own steps, and a second
# kill at the same step, are in test_retention_kills.py (`make test-long`) and in test_archive_kills.py.
EFFECTS = (
    (FailPoint.EVENTS_RETIRED, 1),
    (FailPoint.CUTOFF_SET, 1),
    (FailPoint.REPORT_EVENTS_RETIRED, 1),
    (FailPoint.FILE_NAMED, 2),
    (FailPoint.ROWS_ARCHIVED, 1),
    (FailPoint.ROWS_RETIRED, 1),
    (FailPoint.REPORT_ROWS_RETIRED, 1),
    (FailPoint.TOMBSTONED, 1),
    (FailPoint.RETIREMENT_NOTED, 1),
    (FailPoint.SESSIONS_RETIRED, 1),
)


def test_killed_after_each_kind_of_effect_nothing_is_in_neither_store_and_all_that_is_old_goes(aged: Aged):
    """A kill at every step is in test_retention_kills.py, run by `make test-long`."""
    killed_and_completed(aged, EFFECTS)


def test_a_replay_brings_nothing_back(aged: Aged):
    """The captured records are there until compaction; sinks refuse what is older than the cutoff. A payment's delete
    says no date, so a mark of it stays, which no reader sees."""
    aged.order("replayed", LONG_AGO[0])
    aged.event("replayed", LONG_AGO[0])
    settled(aged)
    apply(aged.pipeline)
    aged.pipeline.worker("report").terminate()
    aged.reporting.execute("UPDATE reporting_g1.checkpoint SET next_offset = 0")
    aged.pipeline.run("up")
    assert aged.pipeline.verify()["equal"]
    assert aged.reported_rows(marks=False) == 0
    assert aged.reported_events() == set()


def test_an_event_that_the_archive_lacks_stops_its_partition_and_is_named(aged: Aged, tmp_path: Path):
    """Landed and captured, and every counter says archived; the files don't have it."""
    missing = aged.event("unarchived", TODAY - timedelta(days=STRICT_DAYS + 1))
    settled(aged)
    log = aged.log()
    lost = [file for file in log.manifest().files.values() if missing in aged.ids_in(file)]
    log.commit(log.draft(Kind.EXPIRE, removed=tuple(file.name for file in lost)))
    policy = tmp_path / "policy.toml"
    policy.write_text(f"[events]\ndays = {STRICT_DAYS}\n")
    strict = {"HEADRACE_RETENTION__POLICY": str(policy)}
    assert "the minimum in sales.minimum_age" in aged.pipeline.run("retention", "apply", expect=1, **strict)
    with minimum_age(aged, STRICT_DAYS):
        kept = [item for item in apply(aged.pipeline, expect=1, **strict) if item["outcome"] == "KEPT"]
    assert {item["store"] for item in kept} == {"outbox", "reporting_g1"}
    assert all(missing in item["detail"] for item in kept)
    assert aged.hot_events(STRICT_DAYS) == aged.reported_events(STRICT_DAYS) == {missing}


@contextmanager
def minimum_age(aged: Aged, days: int) -> Iterator[None]:
    """Let events of this age be deleted, for as long as the block lasts."""

    def allow(days: int) -> None:
        aged.owner.execute(
            "UPDATE sales.minimum_age SET age = make_interval(days => %s) WHERE relation = 'outbox_events'", [days]
        )

    allow(days)
    try:
        yield
    finally:
        allow(90)


def test_a_damaged_file_is_not_relied_on(aged: Aged):
    event = aged.event("damaged", LAST_SEASON[1])
    settled(aged)
    file = aged.file_of(LAST_SEASON[1].date())
    files = list(file.parents[1].glob(f"../tenant_bucket=*/date={LAST_SEASON[1].date()}/*.avro"))
    whole = {path: path.read_bytes() for path in files}
    for path, content in whole.items():
        path.write_bytes(content[:-40] + bytes([content[-40] ^ 1]) + content[-39:])
    kept = [item for item in apply(aged.pipeline, expect=1) if item["outcome"] == "KEPT"]
    assert kept
    assert any(path.name in item["detail"] for item in kept for path in files)
    assert aged.hot_events() == {event}
    for path, content in whole.items():
        path.write_bytes(content)
    apply(aged.pipeline)
    assert aged.hot_events() == set()


def test_a_legal_hold_keeps_a_tenants_data_and_nobody_elses(aged: Aged):
    apply(aged.pipeline, "--hold", "tenant=held")  # sinks refuse nothing of it from now on
    held = aged.event("held", LAST_SEASON[1])
    aged.event("free", LAST_SEASON[1])
    order = aged.order("held", LONG_AGO[0])
    aged.order("free", LONG_AGO[0])
    settled(aged)
    apply(aged.pipeline, "--hold", "tenant=held")
    assert aged.hot_events() == aged.reported_events() == {held}
    assert aged.hot_orders() == {order}
    assert aged.pipeline.verify()["equal"]
    apply(aged.pipeline)
    assert aged.hot_events() == aged.reported_events() == aged.hot_orders() == set()
    assert aged.reported_rows() == 0


def test_a_plan_deletes_nothing_and_two_runs_never_work_at_once(aged: Aged):
    event = aged.event("planned", LAST_SEASON[1])
    settled(aged)
    said = aged.pipeline.run("retention", "plan")
    assert "would go" in said
    assert aged.hot_events() == {event}
    aged.owner.execute("SELECT pg_advisory_lock(hashtextextended('headrace retention', 0))")
    assert "another retention run" in aged.pipeline.run("retention", "apply", expect=2)
    aged.owner.execute("SELECT pg_advisory_unlock_all()")
    apply(aged.pipeline)
