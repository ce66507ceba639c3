"""Land events that a rebuild finds only in the archive: Kafka has deleted them and reporting has not.

Retention deletes Kafka's records by their age. In reporting it keeps events of tenants under a legal hold, and those
that a longer policy keeps now. Events are landed as any others are: those that have passed their retention period or
were erased are refused, and those that exist stay.
"""

from collections.abc import Callable, Iterable
from contextlib import closing
from itertools import islice

from messaging import clients
from operations import connections
from operations.barrier import Offsets
from operations.generations import Generation
from operations.settings import Settings
from schemas.change import Change, Op
from schemas.position import Position
from schemas.tables import TABLES, Mode, Table
from sinks.archive.files import Datum
from sinks.archive.reader import ArchiveSelection, records
from sinks.reporting.cutoff import Cutoff
from sinks.reporting.port import Batch
from sinks.reporting.retrying import RetryingReporting

AT_ONCE = 5_000  # events in one transaction
PATIENCE_S = 60.0
EVENTS = tuple(table for table in TABLES if table.mode is Mode.EVENT)


def land_archived(settings: Settings, generation: Generation, tables: Iterable[Table] = EVENTS) -> int:
    """Land events that Kafka no longer has, and return how many were new to the generation; 0 without an archive.

    Raises:
        HeadraceError: The archive can't be read, or reporting refuses an event.
    """
    if settings.archive.url is None:
        return 0
    log = connections.archive(settings, "replay")
    with closing(connections.report(settings, generation=generation.number)) as report:
        cutoffs = report.cutoffs()
    reporting = RetryingReporting(connections.landing(settings.of_generation(generation.number)), PATIENCE_S)
    new = 0
    try:
        for table in tables:
            is_missing = missing_in_kafka(clients.start_offsets(settings.kafka.bootstrap, table.captured_topics))
            found = records(log, table, unexpired(cutoffs.get(table.retention or "")))
            wanted = (datum for datum in found if is_missing(datum) and captured_since(datum, generation.epoch))
            changes = (change(table, datum) for datum in wanted)
            while batch := list(islice(changes, AT_ONCE)):
                new += reporting.land(Batch(changes=batch, checkpoints={})).written
    finally:
        reporting.close()
    return new


def unexpired(cutoff: Cutoff | None) -> ArchiveSelection:
    """Return the selection of events within their retention period.

    If a tenant is under a legal hold, it is every event, as those of that tenant may be of any day.
    """
    return ArchiveSelection(since=None if cutoff is None or cutoff.held else cutoff.before)


def missing_in_kafka(starts: Offsets) -> Callable[[Datum], bool]:
    """Return a function from an event to whether Kafka lacks it.

    Kafka lacks it when its partition begins after the event, or when the event was backfilled and never was in Kafka.
    """
    return lambda datum: datum["_offset"] < starts.get((datum["_topic"], datum["_partition"]), datum["_offset"] + 1)


def captured_since(datum: Datum, epoch: int) -> bool:
    """Return whether an event belongs to this epoch or a later one.

    Backfilled events have epoch 0: they were read at the source and belong to every epoch.
    """
    captured: int = datum["_epoch"]
    return captured >= epoch or captured == 0


def change(table: Table, datum: Datum) -> Change:
    """Return an archived event as the change that capture made of it."""
    row = {column.name: datum[column.name] for column in table.columns}
    return Change(
        table=table,
        key=tuple(row[name] for name in table.key),
        op=Op.CREATE,
        position=Position(max(1, datum["_epoch"]), datum["_offset"]),
        source_time=datum["occurred_at"],
        row=tuple(row.values()),
    )
