"""Statements on the tables that describe generations: headrace.generation, headrace.epoch, headrace.repair, freshness.

Text and parameters only; golden files in tests/golden. Postgres and SQL Server take the same text, with one exception:
a parameter is marked `%s` here, and a connection to SQL Server sends `?` instead. Instants are stored in UTC.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from schemas.change import Value
from schemas.generations import schema
from schemas.tables import Table
from sinks.reporting.query import Query

REASON_LENGTH = 512  # characters of headrace.epoch's texts
OBSERVED_AT = {"complete_through": "passed_at", "verified_through": "verified_at"}  # a stamp's column → its instant's


def read_generations() -> Query:
    """Return a query for number, state and epoch of every generation, in order."""
    return "SELECT generation, state, epoch FROM headrace.generation ORDER BY generation", ()


def count_generation_tables() -> Query:
    """Return a query that gives 1 if `headrace.generation` exists, else 0."""
    return (
        "SELECT COUNT(*) FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'headrace' AND TABLE_NAME = 'generation'",
        (),
    )


def add_generation(number: int, state: str, epoch: int) -> Query:
    """Return a statement that inserts a generation."""
    return f"INSERT INTO headrace.generation (generation, state, epoch) VALUES ({number}, '{state}', {epoch})", ()


def add_first_generation(number: int) -> Query:
    """Return a statement that inserts a live generation if the database has no generation."""
    text = f"""
INSERT INTO headrace.generation (generation, state, epoch)
SELECT {number}, 'live', 1 WHERE NOT EXISTS (SELECT 1 FROM headrace.generation)
"""
    return text, ()


def set_state(number: int, state: str, at: datetime) -> Query:
    """Return a statement that sets a generation's state, changed at the instant `at`."""
    changed_at = at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    text = f"UPDATE headrace.generation SET state = '{state}', changed_at = '{changed_at}' WHERE generation = {number}"
    return text, ()


def list_schemas() -> Query:
    """Return a query for the names of the schemas that this login owns or may see."""
    return "SELECT SCHEMA_NAME FROM INFORMATION_SCHEMA.SCHEMATA", ()


def list_tables(generation: int) -> Query:
    """Return a query for the names of a generation's tables."""
    return f"SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = '{schema(generation)}'", ()


def list_view_columns() -> Query:
    """Return a query for view and column of every column of the readers' views, in their order."""
    return (
        "SELECT TABLE_NAME, COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = 'report' "
        "ORDER BY TABLE_NAME, ORDINAL_POSITION",
        (),
    )


def drop_table(generation: int, name: str) -> Query:
    """Return a statement that drops a table of a generation; the database refuses while a view depends on the table."""
    return f'DROP TABLE {schema(generation)}."{name}"', ()


def drop_schema(generation: int) -> Query:
    """Return a statement that drops the empty schema of a generation."""
    return f"DROP SCHEMA {schema(generation)}", ()


def read_checkpoints(generation: int) -> Query:
    """Return a query for topic, partition and next offset of every checkpoint of a generation."""
    # Quoted: CHECKPOINT is a statement of T-SQL.
    return f'SELECT "topic", "partition", "next_offset" FROM {schema(generation)}."checkpoint"', ()


def read_epochs() -> Query:
    """Return a query for every epoch, in order: number, reason, who raised it and when, the source's identity (system
    identifier and timeline), and why it ended (NULL while it has not)."""
    return (
        "SELECT epoch, reason, raised_by, raised_at, system_identifier, timeline, ended_because "
        "FROM headrace.epoch ORDER BY epoch",
        (),
    )


def begin_epoch(number: int, *, reason: str, by: str, system: int, timeline: int) -> Query:
    """Return a statement that inserts an epoch if it does not exist."""
    return (
        "INSERT INTO headrace.epoch (epoch, reason, raised_by, system_identifier, timeline) SELECT %s, %s, %s, %s, %s "
        "WHERE NOT EXISTS (SELECT 1 FROM headrace.epoch WHERE epoch = %s)",
        [number, reason[:REASON_LENGTH], by, system, timeline, number],
    )


def end_epoch(number: int, reason: str, at: datetime) -> Query:
    """Return a statement that ends an epoch, unless it has ended: the first reason is kept."""
    return (
        "UPDATE headrace.epoch SET ended_at = %s, ended_because = %s WHERE epoch = %s AND ended_because IS NULL",
        [at, reason[:REASON_LENGTH], number],
    )


def reopen_epoch(number: int, reason: str, timeline: int) -> Query:
    """Return a statement that cancels the end of an epoch and sets its reason and timeline."""
    return (
        "UPDATE headrace.epoch SET ended_at = NULL, ended_because = NULL, reason = %s, timeline = %s WHERE epoch = %s",
        [reason[:REASON_LENGTH], timeline, number],
    )


def set_timeline(number: int, timeline: int) -> Query:
    """Return a statement that sets the timeline of an epoch."""
    return "UPDATE headrace.epoch SET timeline = %s WHERE epoch = %s", [timeline, number]


def read_freshness(generation: int, stamp: str) -> Query:
    """Return a query for table and instant of every table whose column `stamp` is set."""
    return f"SELECT table_name, {stamp} FROM {schema(generation)}.freshness WHERE {stamp} IS NOT NULL", ()


def add_freshness(generation: int, table: str, stamp: str, through: datetime, at: datetime) -> Query:
    """Return a statement that inserts a table's freshness if it has none: `stamp` is `through`, observed at `at`."""
    name, observed = f"{schema(generation)}.freshness", OBSERVED_AT[stamp]
    return (
        f"INSERT INTO {name} (table_name, {stamp}, {observed}) SELECT %s, %s, %s "
        f"WHERE NOT EXISTS (SELECT 1 FROM {name} WHERE table_name = %s)",
        [table, through, at, table],
    )


def advance_freshness(generation: int, table: str, stamp: str, through: datetime, at: datetime) -> Query:
    """Return a statement that moves a table's freshness forward, as `add_freshness`; it never moves back."""
    return (
        f"UPDATE {schema(generation)}.freshness SET {stamp} = %s, {OBSERVED_AT[stamp]} = %s "
        f"WHERE table_name = %s AND ({stamp} IS NULL OR {stamp} < %s)",
        [through, at, table, through],
    )


def read_reported_freshness() -> Query:
    """Return the readers' query for table, instant and lag in seconds of every table that has ever been complete."""
    return (
        "SELECT table_name, complete_through, lag_seconds FROM report.freshness "
        "WHERE complete_through IS NOT NULL ORDER BY table_name",
        (),
    )


def keep_row(table: Table, generation: int, where: Mapping[str, Value], kept: Mapping[str, Value]) -> Query:
    """Return a statement that copies `kept` into headrace.repair if a row of the table satisfies `where`.

    `kept` are repaired_at, repaired_by, row_key and old_row, `where` are columns and their values.
    """
    condition, parameters = _equal(where)
    return (
        "INSERT INTO headrace.repair (repaired_at, repaired_by, generation, table_name, row_key, old_row) "
        f"SELECT %s, %s, %s, %s, %s, %s FROM {_target(table, generation)} WHERE {condition}",
        [
            kept["repaired_at"],
            kept["repaired_by"],
            generation,
            table.name,
            kept["row_key"],
            kept["old_row"],
            *parameters,
        ],
    )


def delete_row(table: Table, generation: int, where: Mapping[str, Value]) -> Query:
    """Return a statement that deletes the rows that satisfy `where`."""
    condition, parameters = _equal(where)
    return f"DELETE FROM {_target(table, generation)} WHERE {condition}", parameters


def mark_deleted(table: Table, generation: int, where: Mapping[str, Value], offset: int) -> Query:
    """Return a statement that marks the rows that satisfy `where` as deleted at `offset`, and empties their columns."""
    condition, parameters = _equal(where)
    others = [column.name for column in table.all_columns if column.name not in table.key]
    emptied = ", ".join(f'"{name}" = NULL' for name in others)
    return (
        f'UPDATE {_target(table, generation)} SET {emptied}, "_deleted" = %s, "_offset" = %s WHERE {condition}',
        [True, offset, *parameters],
    )


def _target(table: Table, generation: int) -> str:
    return f'{schema(generation)}."{table.name}"'


def _equal(where: Mapping[str, Value]) -> tuple[str, list[Value]]:
    return " AND ".join(f'"{name}" = %s' for name in where), list(where.values())
