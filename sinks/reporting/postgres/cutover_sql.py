"""Postgres' statements for a cutover, which swaps the readers' views: text only, golden files in tests/golden/postgres.

DDL takes no parameters, so each function returns its statement alone. Opens nothing.
"""

from schemas.generations import schema
from schemas.tables import Mode, Table


def take_replay_lock() -> str:
    """Return a query that takes the lock against a second replay for the session; it gives 1 if this session has it."""
    return "SELECT CAST(pg_try_advisory_lock(hashtextextended('headrace replay', 0)) AS int)"


def limit_lock_wait(milliseconds: int) -> str:
    """Return a statement that limits how long later statements of the transaction wait for a lock."""
    return f"SET LOCAL lock_timeout = {milliseconds}"


def block_landing(generation: int) -> str:
    """Return a statement that keeps every worker from landing in a generation until the transaction ends."""
    return f"LOCK TABLE {schema(generation)}.checkpoint IN EXCLUSIVE MODE"


def list_views() -> str:
    """Return a query for the name and definition of each of the readers' views."""
    return "SELECT viewname, definition FROM pg_views WHERE schemaname = 'report'"


def drop_view(table: Table) -> str:
    """Return a statement that drops a table's readers' view if it exists."""
    return f'DROP VIEW IF EXISTS report."{table.name}"'


def create_view(table: Table, generation: int) -> str:
    """Return a statement that creates a table's readers' view, without system columns and deleted rows."""
    columns = ", ".join(f'"{column.name}"' for column in table.all_columns)
    hidden = [] if table.mode is Mode.EVENT else ['NOT "_deleted"']
    if table.soft_deleted:
        hidden.append(f'"{table.soft_deleted}" IS NULL')
    where = f"\nWHERE {' AND '.join(hidden)}" if hidden else ""
    return f'CREATE VIEW report."{table.name}" AS\nSELECT {columns}\nFROM {schema(generation)}."{table.name}"{where}'


def drop_freshness_view() -> str:
    """Return a statement that drops the readers' view of each table's freshness if it exists."""
    return "DROP VIEW IF EXISTS report.freshness"


def create_freshness_view(generation: int) -> str:
    """Return a statement that creates the readers' view of each table's freshness (docs/freshness.md).

    Its lag, in seconds, is that of the moment of reading.
    """
    return f"""\
CREATE VIEW report.freshness AS
SELECT table_name, complete_through,
    CAST(EXTRACT(EPOCH FROM statement_timestamp() - complete_through) AS decimal(19, 3)) AS lag_seconds,
    passed_at, verified_through, verified_at
FROM {schema(generation)}.freshness"""
