"""Named moments between two effects of the archive, retention, a rebuild, a new epoch or redriving.

A process that stops at any of them must leave everything consistent. In production nothing happens here. A test's
process sets `on_reach` and kills itself.
"""

from collections.abc import Callable
from enum import StrEnum


class FailPoint(StrEnum):
    """A moment, named by the step that has just been done. The value describes it."""

    # the archive worker, compaction, erasure
    SPOOLED = "fetched events are in files that are not published"
    FILE_WRITTEN = "a file or manifest entry was written under its temporary name"
    FILE_SYNCED = "the file was synced"
    FILE_NAMED = "the file has its name"
    ENTRY_PUBLISHED = "the manifest has the entry"
    CHECKPOINT_PUBLISHED = "the manifest has a checkpoint"
    OFFSETS_COMMITTED = "the group's offsets were committed"
    FILE_DELETED = "a file that the manifest no longer holds was deleted"

    # retention
    PROVEN = "the archive is proven to hold the rows to delete"
    EVENTS_RETIRED = "events were deleted in Postgres"
    REPORT_EVENTS_RETIRED = "events were deleted in reporting"
    RECORDS_DELETED = "records of an event topic were deleted"
    SESSIONS_RETIRED = "sessions were deleted in Postgres"
    ROWS_ARCHIVED = "the rows of a month are in the archive"
    CUTOFF_SET = "sinks refuse rows of the month"
    ROWS_RETIRED = "the rows of the month were deleted in Postgres"
    REPORT_ROWS_RETIRED = "the rows of the month were deleted in reporting"
    TOMBSTONED = "the keys of the month have their tombstones"
    RETIREMENT_NOTED = "the manifest records that the month is deleted"

    # dead letters
    REDRIVEN = "a dead letter was landed again, and its outcome is not recorded yet"

    # raising the epoch
    EPOCH_BEGUN = "capture is stopped, and the next epoch is recorded"
    CAPTURE_REMOVED = "connectors, offsets and slot are gone"
    CAPTURE_APPLIED = "capture streams under the new epoch"

    # replay
    GENERATION_BEGUN = "a new generation has its tables"
    TOPICS_MADE = "the generation has its topics"
    WORKERS_STARTED = "the generation's workers run"
    ARCHIVE_LANDED = "events that only the archive has are in the generation"
    CAUGHT_UP = "the generation has caught up"
    GENERATION_PROVEN = "the generation was found equal to the source"
    VIEWS_SWAPPED = "the views are swapped, not committed"
    CUT_OVER = "readers see the generation"
    GENERATION_DROPPED = "a generation no longer receives changes"
    WORKERS_GONE = "the generation's workers have ended, its groups are gone"
    TOPICS_GONE = "the generation's topics are gone"
    SCHEMA_GONE = "the generation's tables are gone"


def _nothing(_point: FailPoint) -> None:
    return None


on_reach: Callable[[FailPoint], None] = _nothing


def reached(point: FailPoint) -> None:
    """Report that `point` has been reached."""
    on_reach(point)
