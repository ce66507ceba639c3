"""Delete expired rows from the source, as the role retention.

The callers decide what is expired. Postgres decides whether it may be deleted: it compares its rows with the caller's
proof under a lock (migrations/oltp/versions/0006_retention.sql), and with minimum ages and legal holds that the role
retention can't change (0009_retention_bounds.sql).

In all functions `held` are the tenants under a legal hold, whose rows are kept, and a month is its first day.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import psycopg
from psycopg import errors
from psycopg.types.json import Jsonb

from operations import outbox
from operations.databases.postgres import stream
from operations.months import months
from operations.retention.errors import Busy, Protected
from schemas.change import Row
from schemas.checksums import Sum
from schemas.errors import HeadraceError, Unavailable, Unproven
from schemas.tables import Mode, Table
from sinks.reporting.postgres.checksum_sql import plain

UNPROVEN, PROTECTED = "HR001", "HR002"
LOCK = "hashtextextended('headrace retention', 0)"
NOT_HELD = "(tenant_id = ANY (%s)) IS NOT TRUE"
SESSIONS = "sales.sessions"

# The bounds' text has the time zone of the session, in which it is parsed again.
LEAVES = r"""
SELECT class.relname,
    substring(bounds FROM 'FROM \(''(.*?)''\)')::timestamptz AS begins,
    substring(bounds FROM 'TO \(''(.*?)''\)')::timestamptz AS ends,
    pg_total_relation_size(class.oid)
FROM pg_partition_tree(%s::regclass) AS tree
JOIN pg_class AS class ON class.oid = tree.relid
CROSS JOIN pg_get_expr(class.relpartbound, class.oid) AS bounds
WHERE tree.isleaf AND class.relispartition
ORDER BY begins
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One leaf partition: the instants from `start` to before `end` (UTC), and its size in bytes, with indexes."""

    name: str
    start: datetime
    end: datetime
    bytes: int


class OltpRetention:
    """Retention's queries and deletions in the source. `connection` is the role retention's, in autocommit and in UTC.

    Every method raises Busy (an Unavailable) where another session uses the rows to be deleted, and Unavailable for a
    lost connection. The call has deleted nothing then, unless a method says otherwise.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock of retention runs on this database. Raises Unavailable where another run holds it."""
        if not self._one(f"SELECT pg_try_advisory_lock({LOCK})", [])[0]:
            raise Unavailable("another retention run is active on this database; wait until it has ended")
        try:
            yield
        finally:
            if not self._connection.closed:  # else the lock ended with the connection
                self._connection.execute(f"SELECT pg_advisory_unlock({LOCK})".encode())

    # Bounds

    def legal_holds(self) -> frozenset[str]:
        """Return the tenants under a legal hold in the source. Every `held` must contain them."""
        return frozenset(tenant for (tenant,) in self._all("SELECT tenant_id FROM sales.legal_hold", []))

    def require_old(self, table: Table, before: datetime) -> None:
        """Raise Protected unless a table's rows before an instant are all older than its minimum age in the source."""
        self._require_old(table.relation, _ages_by(table) if table.mode is Mode.STATE else None, before)

    def require_old_sessions(self, before: datetime) -> None:
        """Raise Protected as `require_old` does, for sessions, whose age counts from when they were last seen."""
        self._require_old("sessions", None, before)

    def _require_old(self, relation: str, ages_by: str | None, before: datetime) -> None:
        self._one("SELECT sales.require_old(%s, %s, %s)::text", [relation, ages_by, before])

    # Events

    def leaves(self, table: Table) -> list[Leaf]:
        """Return the leaf partitions of a table that is partitioned by an instant, the oldest first."""
        return self._leaves(f"{table.schema}.{table.relation}")

    def event_sums(self, table: Table, leaf: Leaf, held: Sequence[str]) -> dict[str, Sum]:
        """Return the number of rows in a leaf of the outbox and the sum of their hashes, by tenant, without `held`.

        A row is hashed as `schemas.checksums.row_text` of the table's columns, as in the archive.
        """
        found = self._all(f"SELECT * FROM {table.schema}.event_sums(%s, %s)", [leaf.name, list(held)])
        return {tenant: Sum(count, int(total)) for tenant, count, total in found}

    def events(self, table: Table, leaf: Leaf, tenant: str) -> Iterator[Row]:
        """Yield the rows of a tenant in a leaf, as values in the order of the table's columns.

        The rows are streamed: read them to the end before the next call.
        """
        with _translating_errors():
            yield from outbox.events(self._connection, table, leaf.start, leaf.end, tenant)

    def retire_events(self, leaf: Leaf, held: Sequence[str], proven: Mapping[str, Sum]) -> int:
        """Drop a leaf of the outbox, or delete its events of tenants that are not held; return the number of events.

        Raises Unproven unless `proven` equals the events to be deleted, by tenant.
        """
        claims = {tenant: claim for tenant, claim in proven.items() if claim.count}
        return int(self._one("SELECT sales.retire_events(%s, %s, %s)", [leaf.name, list(held), _as_json(claims)])[0])

    def erase_events(self, table: Table, tenant: str, ids: Sequence[str]) -> int:
        """Delete events of a tenant by their ids, without a proof, for an erasure; return how many there were."""
        return int(self._one(f"SELECT {table.schema}.erase_events(%s, %s::uuid[])", [tenant, list(ids)])[0])

    def has_event(self, table: Table, tenant: str, event: str) -> bool:
        """Tell whether the outbox has an event with this id, of any day."""
        sql = f"SELECT 1 FROM {table.schema}.{table.relation} WHERE tenant_id = %s AND {table.key[-1]} = %s::uuid"
        return bool(self._all(sql, [tenant, event]))

    # Rows

    def months(self, tables: Sequence[Table], before: date, held: Sequence[str]) -> list[date]:
        """Return the months before that of `before` in which any table has rows of tenants that are not held."""
        found: set[date] = set()
        for table in tables:
            sql = (
                f"SELECT DISTINCT date_trunc('month', {_ages_by(table)})::date FROM {table.schema}.{table.relation} "
                f"WHERE {_ages_by(table)} < date_trunc('month', %s::date) AND {NOT_HELD}"
            )
            found.update(month for (month,) in self._all(sql, [before, list(held)]))
        return sorted(found)

    def row_sums(self, table: Table, month: date, held: Sequence[str]) -> Sum:
        """Return the number of a month's rows and the sum of their hashes, computed in Postgres."""
        arguments = [table.relation, _ages_by(table), month, list(held)]
        count, total = self._one("SELECT * FROM sales.row_sums(%s, %s, %s, %s)", arguments)
        return Sum(count, int(total))

    def row_tenants(self, table: Table, month: date, held: Sequence[str]) -> set[str]:
        """Return the tenants with rows in a month, without `held`."""
        sql = f"SELECT DISTINCT tenant_id FROM {table.schema}.{table.relation} WHERE {_in_month(table)}"
        return {tenant for (tenant,) in self._all(sql, [month, month, list(held)])}

    def rows(self, table: Table, month: date, held: Sequence[str]) -> Iterator[Row]:
        """Yield a month's rows in the order of the table's key; JSON and UUIDs are Postgres' text.

        The rows are streamed: read them to the end before the next call.
        """
        key = ", ".join(plain(table.column(name)) for name in table.key)
        sql = (
            f"SELECT {', '.join(map(plain, table.columns))} FROM {table.schema}.{table.relation} "
            f"WHERE {_in_month(table)} ORDER BY {key}"
        )
        with _translating_errors():
            yield from map(outbox.in_utc, stream(self._connection, sql, [month, month, list(held)]))

    def retire_rows(
        self, month: date, tables: Sequence[Table], held: Sequence[str], proven: Mapping[str, Sum]
    ) -> dict[str, int]:
        """Delete a month's rows of several tables in one transaction; return the number of rows by table name.

        `tables` that refer to others come first. Raises Unproven unless `proven`, by table name, equals the rows to be
        deleted, and where another table still refers to a row.
        """
        claims = {table.relation: proven[table.name] for table in tables if table.name in proven}
        relations = [table.relation for table in tables]
        arguments = [month, relations, [_ages_by(table) for table in tables], list(held), _as_json(claims)]
        gone = self._one("SELECT sales.retire_rows(%s, %s, %s, %s, %s)", arguments)[0]
        return {table.name: int(gone[table.relation]) for table in tables}

    # Sessions, and partitions ahead

    def aged_sessions(self, before: datetime, held: Sequence[str]) -> int:
        """Return the number of sessions last seen before an instant, without `held`."""
        sql = f"SELECT count(*) FROM {SESSIONS} WHERE last_seen_at < %s AND {NOT_HELD}"
        return int(self._one(sql, [before, list(held)])[0])

    def retire_sessions(self, before: datetime, held: Sequence[str]) -> int:
        """Delete the sessions last seen before an instant, and return their number.

        Each leaf is a transaction of its own, so that the shop can write sessions meanwhile. A leaf in use is left to
        the next run.
        """
        gone = 0
        for leaf in self._leaves(SESSIONS):
            if leaf.start < before:
                try:
                    gone += self._one("SELECT sales.retire_sessions(%s, %s, %s)", [leaf.name, before, list(held)])[0]
                except Busy:
                    continue
        return gone

    def make_partitions(self, first_day: date, last_day: date) -> int:
        """Create the missing partitions for the months of some days, one transaction a month; return their number."""
        return sum(
            self._one("SELECT sales.make_partitions(%s, %s)", [month, month])[0]
            for month in months(first_day, last_day)
        )

    def _leaves(self, relation: str) -> list[Leaf]:
        found = self._all(LEAVES, [relation])
        return [
            Leaf(name=name, start=start.astimezone(UTC), end=end.astimezone(UTC), bytes=size or 0)
            for name, start, end, size in found
        ]

    def _one(self, sql: str, parameters: Sequence[Any]) -> tuple[Any, ...]:
        (row,) = self._all(sql, parameters)
        return row

    def _all(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        with _translating_errors():
            return self._connection.execute(sql.encode(), parameters).fetchall()


@contextmanager
def _translating_errors() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise _translated(error) from error


def _translated(error: psycopg.Error) -> HeadraceError | psycopg.Error:
    message = error.diag.message_primary or str(error).strip()
    if error.sqlstate == UNPROVEN:
        return Unproven(message)
    if error.sqlstate == PROTECTED:
        return Protected(message)
    match error:
        case errors.LockNotAvailable() | errors.DeadlockDetected():
            return Busy(message)
        case errors.ForeignKeyViolation():
            return Unproven(_still_referenced(error.diag))
        case psycopg.OperationalError() | psycopg.InterfaceError():
            return Unavailable(f"Postgres: {message}")
    return error


def _still_referenced(diagnostic: psycopg.errors.Diagnostic) -> str:
    """Return which table and constraint still refer to a row. Postgres' own detail quotes the key's values."""
    table = f"{diagnostic.schema_name}.{diagnostic.table_name}"
    return f"{table} still refers to these rows by its foreign key {diagnostic.constraint_name}"


def _as_json(proven: Mapping[str, Sum]) -> Jsonb:
    """Encode sums as text: some JSON parsers read numbers as floats, which can't represent 60 bits."""
    return Jsonb({name: [claim.count, str(claim.total)] for name, claim in proven.items()})


def _in_month(table: Table) -> str:
    ages_by = _ages_by(table)
    return f"{ages_by} >= %s AND {ages_by} < (%s::date + interval '1 month')::date AND {NOT_HELD}"


def _ages_by(table: Table) -> str:
    if table.ages_by is None:
        raise HeadraceError(f"{table.name}: expected `ages_by` in schemas/tables.py for a table that ages")
    return table.ages_by
