"""Events that a rebuild finds in the archive alone: Kafka has let them go, reporting has not.

Retention deletes Kafka's records by their age, but keeps in reporting what a legal hold keeps, or a policy that was
made longer since. Landing them goes the ordinary way: what has aged out or was erased is refused, what is there stays.
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


def land(settings: Settings, generation: Generation, tables: Iterable[Table] = EVENTS) -> int:
    """Land what Kafka has no longer; returns how many events were new to the generation. Nothing where there is no
    archive. Raises what reading the archive and landing do."""
    if settings.archive.url is None:
        return 0
    log = connections.archive(settings, "replay")
    with closing(connections.report(settings, generation=generation.number)) as report:
        cutoffs = report.cutoffs()
    reporting = RetryingReporting(connections.landing(settings.of_generation(generation.number)), PATIENCE_S)
    new = 0
    try:
        for table in tables:
            gone = lacking(clients.start_offsets(settings.kafka.bootstrap, table.captured_topics))
            found = records(log, table, hot(cutoffs.get(table.retention or "")))
            wanted = (datum for datum in found if gone(datum) and captured_since(datum, generation.epoch))
            changes = (change(table, datum) for datum in wanted)
            while batch := list(islice(changes, AT_ONCE)):
                new += reporting.land(Batch(changes=batch, checkpoints={})).written
    finally:
        reporting.close()
    return new


def hot(cutoff: Cutoff | None) -> ArchiveSelection:
    """What has not aged out. Where a tenant is held, any day may be of that tenant."""
    return ArchiveSelection(since=None if cutoff is None or cutoff.held else cutoff.before)


def lacking(starts: Offsets) -> Callable[[Datum], bool]:
    """A function that tells whether Kafka lacks an event: it begins behind it, or never had it (it was backfilled)."""
    return lambda datum: datum["_offset"] < starts.get((datum["_topic"], datum["_partition"]), datum["_offset"] + 1)


def captured_since(datum: Datum, epoch: int) -> bool:
    """Whether an event belongs to this epoch or a later one; one that was backfilled (0) was read at the source."""
    captured: int = datum["_epoch"]
    return captured >= epoch or captured == 0


def change(table: Table, datum: Datum) -> Change:
    """An archived event as the change that capture made of it."""
    row = {column.name: datum[column.name] for column in table.columns}
    return Change(
        table=table,
        key=tuple(row[name] for name in table.key),
        op=Op.CREATE,
        position=Position(max(1, datum["_epoch"]), datum["_offset"]),
        source_time=datum["occurred_at"],
        row=tuple(row.values()),
    )
