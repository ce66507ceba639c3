"""The moments between two effects of the archive, of retention, of a rebuild, of a new epoch and of redriving, by name:
whatever stops a process at one of them must leave everything in order. Nothing happens here; a test's process sets
`on_reach` and kills itself."""

from collections.abc import Callable
from enum import StrEnum


class FailPoint(StrEnum):
    """What has just been done."""

    # the archive worker, compaction, erasure
    SPOOLED = "what was fetched is in files that are not published"
    FILE_WRITTEN = "a file or manifest entry was written under its temporary name"
    FILE_SYNCED = "its bytes were synced"
    FILE_NAMED = "it has its name"
    ENTRY_PUBLISHED = "the manifest has the entry"
    CHECKPOINT_PUBLISHED = "the manifest has a checkpoint"
    OFFSETS_TOLD = "the group's offsets were committed"
    FILE_DELETED = "a file that the manifest no longer holds was deleted"

    # retention
    PROVEN = "the archive was shown to hold what is to go"
    EVENTS_RETIRED = "events have left Postgres"
    REPORT_EVENTS_RETIRED = "events have left reporting"
    RECORDS_DELETED = "records of an event topic were deleted"
    SESSIONS_RETIRED = "sessions have left Postgres"
    ROWS_ARCHIVED = "the rows of a month are in the archive"
    CUTOFF_SET = "sinks refuse rows of the month"
    ROWS_RETIRED = "the rows of the month have left Postgres"
    REPORT_ROWS_RETIRED = "the rows of the month have left reporting"
    TOMBSTONED = "the keys of the month have their tombstones"
    RETIREMENT_NOTED = "the manifest says that the month is gone"

    # dead letters
    REDRIVEN = "a dead letter was sent again, and nobody has written down what became of it"

    # raising the epoch
    EPOCH_BEGUN = "capture is stopped, and the next epoch is noted"
    CAPTURE_REMOVED = "connectors, offsets and slot are gone"
    CAPTURED_ANEW = "capture streams under the new epoch"

    # replay
    GENERATION_BEGUN = "a new generation has its tables"
    TOPICS_MADE = "it has its topics"
    WORKERS_STARTED = "its workers run"
    ARCHIVE_LANDED = "events that only the archive has are in it"
    CAUGHT_UP = "it has landed what there was"
    GENERATION_PROVEN = "it was found to equal the source"
    VIEWS_TURNED = "readers would see it, were this committed"
    GENERATION_SHOWN = "readers see it"
    GENERATION_GIVEN_UP = "a generation is no longer fed"
    WORKERS_GONE = "its workers have ended, its groups are gone"
    TOPICS_GONE = "its topics are gone"
    SCHEMA_GONE = "its tables are gone"


def _nothing(_point: FailPoint) -> None:
    return None


on_reach: Callable[[FailPoint], None] = _nothing


def reached(point: FailPoint) -> None:
    """Called when `point` has been reached."""
    on_reach(point)
