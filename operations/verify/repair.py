"""Repair rows that differ: `headrace verify --repair`. Each repair travels the pipeline as every change does.

1. A row that only reporting has gets a delete record in its topic (delete_records.py), so that a rebuild does not bring
   it back. It is also marked as deleted in reporting, if it is still at the position at which it was read; every later
   change of its key has a higher position. An event can't be marked and is never overwritten, so one that differs is
   deleted. Before that, `headrace.repair` gets a row with the time, the person, the key and the old row. An event that
   only reporting has is kept (`only_copy`).
2. Debezium reads rows that the source has again, in an incremental snapshot of exactly these keys. They travel the
   pipeline, enrichment included, and land at newer positions. A document's record is written here (documents.py).
3. The keys are compared again, each time behind a barrier, until they are equal or the deadline has passed.
"""

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

import orjson
from psycopg import sql

from connectors.signals import signal_rows
from messaging import clients
from messaging.registry import Registry
from operations import connections
from operations.barrier import PipelineProbe
from operations.databases.queries import in_source
from operations.databases.sides import Report
from operations.epoch import store
from operations.settings import Settings
from operations.verify.delete_records import deletable, write_deletes
from operations.verify.diff import Difference
from operations.verify.documents import can_capture_again, write_documents
from operations.verify.output import row_fields
from operations.verify.settle import Result, Sides, read_differences, settle
from schemas.change import Row, Value
from schemas.position import FIRST_EPOCH
from schemas.tables import Mode, Source, Table
from sinks.reporting import control

KEYS_A_SIGNAL = 100
SIGNAL_LENGTH = 1_800  # of a filter, in characters: a signal's data has 2,048


def repair(  # noqa: PLR0913
    settings: Settings, result: Result, probe: PipelineProbe, sides: Sides, *, by: str, deadline_s: float
) -> Result:
    """Repair a comparison's differences, and return the comparison after the repair.

    Unsettled rows are captured again, too: a row may wait for an enrichment decision that was lost. Rows that can't be
    repaired stay in the result (`unrepairable_tables`, `only_copies`).

    Args:
        settings: Where the servers are.
        result: The comparison to repair.
        probe: The pipeline that was compared.
        sides: Its sides.
        by: The person's name, for `headrace.repair`.
        deadline_s: Seconds that the pipeline has to land the repair.
    """
    end = time.monotonic() + deadline_s
    with (
        closing(connections.report(settings, "retention", probe.report.generation)) as remover,
        closing(Registry(settings.registry.url)) as registry,
        connections.oltp(settings, "cdc_reader") as source,
    ):
        for each in result.tables:
            table, unexpected = each.table, deletable(each.different)
            back = write_deletes(probe.bootstrap, registry, unexpected, sides.source(table))
            for found in each.different:
                if found not in back and not only_copy(found) and (found.source is None or table.mode is Mode.EVENT):
                    reached = min(clients.end_offsets(probe.bootstrap, table.captured_topics).values())
                    remove_row(found, probe.report, remover, reached=reached, by=by)
            captured = [found for found in (*each.different, *each.unsettled) if found.source is not None]
            for condition in key_conditions(table, [*captured, *back]):
                signal_rows(source, f"{table.schema}.{table.relation}", condition)
            if table.source is Source.MONGODB and each.different:
                keys = [found.key for found in each.different]
                write_documents(probe.bootstrap, registry, probe.catalog, table, keys, capture_epoch(probe))
    return _after(result, sides, end)


def capture_epoch(probe: PipelineProbe) -> int:
    """Return the epoch that capture stamps on records now."""
    newest = store.newest(probe.report)
    return FIRST_EPOCH if newest is None else newest.number


def only_copy(found: Difference) -> bool:
    """Return whether the difference is an event that only reporting has. Such an event is never repaired.

    It may be the only copy of what happened. No record deletes it from its topic, and whatever rejects it permanently
    would reject it from the outbox, too. Removing it is a person's decision: `headrace archive erase --event`.
    """
    return found.table.mode is Mode.EVENT and found.source is None


def only_copies(result: Result) -> dict[str, int]:
    """Return table → the number of events that only reporting has, which a repair keeps."""
    counts = {each.table.name: sum(map(only_copy, each.different)) for each in result.tables}
    return {name: count for name, count in counts.items() if count}


def unrepairable_tables(result: Result) -> list[str]:
    """Return the names of tables with differing documents whose records can't be written here (documents.py)."""
    return [
        each.table.name
        for each in result.tables
        if not all(can_capture_again(each.table, found.key) for found in each.different)
    ]


def key_conditions(table: Table, found: Iterable[Difference]) -> Iterator[str]:
    """Yield SQL conditions that together select the rows of these keys in the source, each short enough for a signal.

    There are none for a table that isn't in Postgres.
    """
    if table.source is Source.MONGODB:
        return
    column = {name: in_source(table).equal(table.column(name)) for name in table.key}
    some: list[str] = []
    for each in found:
        terms = (f"{column[name]} = {_literal(value)}" for name, value in zip(table.key, each.key, strict=True))
        one = f"({' AND '.join(terms)})"
        if some and (len(some) == KEYS_A_SIGNAL or len(json.dumps(" OR ".join([*some, one]))) > SIGNAL_LENGTH):
            yield " OR ".join(some)
            some = []
        some.append(one)
    if some:
        yield " OR ".join(some)


def _after(result: Result, sides: Sides, end: float) -> Result:
    """Return the comparison once its keys are equal, or at the time `end`."""
    found = {table.table: [*table.different, *table.unsettled] for table in result.tables}
    left = {table: [each for each in some if not only_copy(each)] for table, some in found.items()}
    retry = True
    while retry and any(left.values()):
        late = time.monotonic() > end
        sides.barrier()
        for table, some in left.items():
            left[table] = read_differences(table, sides, [each.key for each in some])
        retry = not late
    still = {table: [*filter(only_copy, some), *left[table]] for table, some in found.items()}
    now = settle({table: [each.key for each in some] for table, some in still.items()}, sides, end)
    return replace(
        result,
        tables=[
            replace(each, different=now[each.table].different, unsettled=now[each.table].unsettled)
            for each in result.tables
        ],
    )


def remove_row(found: Difference, report: Report, remover: Report, *, reached: int, by: str) -> None:
    """Remove a row from reporting, unless a newer change of its key has landed since the row was read.

    Args:
        found: The difference that the row is part of.
        report: The generation, as a role that may update it.
        remover: The same generation, as a role that may delete from it.
        reached: An offset below which no later change of any key lies.
        by: The person's name, for `headrace.repair`.
    """
    table, generation = found.table, report.generation
    row = report.stored(table, found.key)
    if row is None:
        return
    where = _unchanged(found)
    kept: dict[str, Value] = {
        "repaired_at": datetime.now(UTC),
        "repaired_by": by,
        "row_key": _key_json(found),
        "old_row": _row_json(found, row),
    }
    if not report.execute(*control.keep_row(table, generation, where, kept)):
        return
    if table.mode is Mode.EVENT:
        remover.execute(*control.delete_row(table, generation, where))
    elif found.place is not None:
        offset = min(found.place.position.offset, reached - 1)
        report.execute(*control.mark_deleted(table, generation, where, offset))


def _unchanged(found: Difference) -> dict[str, Value]:
    """Return the columns and values by which the row is still the one that was compared."""
    where: dict[str, Value] = dict(zip(found.table.key, found.key, strict=True))
    if found.place is not None:
        at = found.place.position
        where |= {"_epoch": at.epoch, "_offset": at.offset, "_version": at.version, "_deleted": False}
    return where


def _key_json(found: Difference) -> str:
    return orjson.dumps(list(map(str, found.key))).decode()


def _row_json(found: Difference, row: Row) -> str:
    place = {} if found.place is None else {"_position": list(found.place.position)}
    return orjson.dumps((row_fields(found.table, row) or {}) | place).decode()


def _literal(value: Value) -> str:
    return sql.Literal(value).as_string()
