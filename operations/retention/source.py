"""Retention in the source, as role `retention`. What leaves is decided elsewhere; whether it may leave, by Postgres,
which compares what is there with the caller's proof under a lock (migrations/oltp/versions/0006_retention.sql), and
with minimum ages and legal holds that this role can't change (0009_retention_bounds.sql).

`held` are the tenants of whom nothing leaves. A month is its first day.
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

# Bounds are read in the zone they were printed in.
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
    """One leaf partition: the instants from `start` to before `end` (UTC), and its size with indexes, in bytes."""

    name: str
    start: datetime
    end: datetime
    bytes: int


class OltpRetention:
    """What retention asks of the source. `connection` is role `retention`'s, in autocommit and in UTC.

    Every method raises Unavailable when somebody is at work on what is to leave, or the server went away: nothing of
    that call has left then, except where a method says so.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Held, no other run works on this database. Raises Unavailable when another one does."""
        if not self._one(f"SELECT pg_try_advisory_lock({LOCK})", [])[0]:
            raise Unavailable("another retention run is at work on this database; wait until it has ended")
        try:
            yield
        finally:
            if not self._connection.closed:  # else the lock ended with it
                self._connection.execute(f"SELECT pg_advisory_unlock({LOCK})".encode())

    # Bounds

    def legal_holds(self) -> frozenset[str]:
        """The tenants under a legal hold in the source: every `held` must have them."""
        return frozenset(tenant for (tenant,) in self._all("SELECT tenant_id FROM sales.legal_hold", []))

    def require_old(self, table: Table, before: datetime) -> None:
        """Raises Protected unless all of a table before that instant is older than its minimum age in the source."""
        self._require_old(table.relation, _ages_by(table) if table.mode is Mode.STATE else None, before)

    def require_old_sessions(self, before: datetime) -> None:
        """As `require_old`, for sessions, which age from when they were last seen."""
        self._require_old("sessions", None, before)

    def _require_old(self, relation: str, ages_by: str | None, before: datetime) -> None:
        self._one("SELECT sales.require_old(%s, %s, %s)::text", [relation, ages_by, before])

    # Events

    def leaves(self, table: Table) -> list[Leaf]:
        """The leaf partitions of a table that is partitioned by an instant, the oldest first."""
        return self._leaves(f"{table.schema}.{table.relation}")

    def event_sums(self, table: Table, leaf: Leaf, held: Sequence[str]) -> dict[str, Sum]:
        """Of each tenant that is not held, the rows in a leaf of the outbox: their number, and the sum of the hashes
        of what the archive holds of each (`schemas.checksums.row_text` of the table's columns)."""
        found = self._all(f"SELECT * FROM {table.schema}.event_sums(%s, %s)", [leaf.name, list(held)])
        return {tenant: Sum(count, int(total)) for tenant, count, total in found}

    def events(self, table: Table, leaf: Leaf, tenant: str) -> Iterator[Row]:
        """The rows of a tenant in a leaf, in the order of the table's columns; they are streamed, so read them to the
        end."""
        with _explaining():
            yield from outbox.events(self._connection, table, leaf.start, leaf.end, tenant)

    def retire_events(self, leaf: Leaf, held: Sequence[str], proven: Mapping[str, Sum]) -> int:
        """Ends a leaf of the outbox, or what is in it of tenants that are not held; returns how many events went.

        Raises Unproven unless `proven` is, by tenant, exactly what leaves.
        """
        claims = {tenant: claim for tenant, claim in proven.items() if claim.count}
        return int(self._one("SELECT sales.retire_events(%s, %s, %s)", [leaf.name, list(held), _claimed(claims)])[0])

    def erase_events(self, table: Table, tenant: str, ids: Sequence[str]) -> int:
        """Deletes these events of a tenant, whose erasure needs no proof; returns how many there were."""
        return int(self._one(f"SELECT {table.schema}.erase_events(%s, %s::uuid[])", [tenant, list(ids)])[0])

    def has_event(self, table: Table, tenant: str, event: str) -> bool:
        """Whether the outbox has an event of this id, on any day."""
        sql = f"SELECT 1 FROM {table.schema}.{table.relation} WHERE tenant_id = %s AND {table.key[-1]} = %s::uuid"
        return bool(self._all(sql, [tenant, event]))

    # Rows

    def months(self, tables: Sequence[Table], before: date, held: Sequence[str]) -> list[date]:
        """The months that end by `before` and of which any of the tables has rows of tenants that are not held."""
        found: set[date] = set()
        for table in tables:
            sql = (
                f"SELECT DISTINCT date_trunc('month', {_ages_by(table)})::date FROM {table.schema}.{table.relation} "
                f"WHERE {_ages_by(table)} < date_trunc('month', %s::date) AND {NOT_HELD}"
            )
            found.update(month for (month,) in self._all(sql, [before, list(held)]))
        return sorted(found)

    def row_sums(self, table: Table, month: date, held: Sequence[str]) -> Sum:
        """A month's rows, counted and summed in Postgres."""
        arguments = [table.relation, _ages_by(table), month, list(held)]
        count, total = self._one("SELECT * FROM sales.row_sums(%s, %s, %s, %s)", arguments)
        return Sum(count, int(total))

    def row_tenants(self, table: Table, month: date, held: Sequence[str]) -> set[str]:
        """The tenants that a month has rows of."""
        sql = f"SELECT DISTINCT tenant_id FROM {table.schema}.{table.relation} WHERE {_in_month(table)}"
        return {tenant for (tenant,) in self._all(sql, [month, month, list(held)])}

    def rows(self, table: Table, month: date, held: Sequence[str]) -> Iterator[Row]:
        """A month's rows in the order of the table's key; JSON and UUIDs as Postgres prints them.

        They are streamed, so read them to the end.
        """
        key = ", ".join(plain(table.column(name)) for name in table.key)
        sql = (
            f"SELECT {', '.join(map(plain, table.columns))} FROM {table.schema}.{table.relation} "
            f"WHERE {_in_month(table)} ORDER BY {key}"
        )
        with _explaining():
            yield from map(outbox.in_utc, stream(self._connection, sql, [month, month, list(held)]))

    def retire_rows(
        self, month: date, tables: Sequence[Table], held: Sequence[str], proven: Mapping[str, Sum]
    ) -> dict[str, int]:
        """Ends a month of tables, which leave together; give those that refer to others first. Returns how many rows
        of each went. `proven` and the result are by the table's name.

        Raises Unproven unless `proven` is exactly what leaves, or where another table refers to a row.
        """
        claims = {table.relation: proven[table.name] for table in tables if table.name in proven}
        relations = [table.relation for table in tables]
        arguments = [month, relations, [_ages_by(table) for table in tables], list(held), _claimed(claims)]
        gone = self._one("SELECT sales.retire_rows(%s, %s, %s, %s, %s)", arguments)[0]
        return {table.name: int(gone[table.relation]) for table in tables}

    # Sessions, and partitions ahead

    def aged_sessions(self, before: datetime, held: Sequence[str]) -> int:
        """How many sessions were last seen before that instant."""
        sql = f"SELECT count(*) FROM {SESSIONS} WHERE last_seen_at < %s AND {NOT_HELD}"
        return int(self._one(sql, [before, list(held)])[0])

    def retire_sessions(self, before: datetime, held: Sequence[str]) -> int:
        """Ends the sessions that were last seen before that instant; returns how many went. A leaf that somebody is
        at work on is left to the next run; each one is a transaction of its own, so that sessions go on meanwhile.
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
        """Makes the partitions of these days' months where they lack, a month a transaction; returns how many."""
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
        with _explaining():
            return self._connection.execute(sql.encode(), parameters).fetchall()


@contextmanager
def _explaining() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise _explained(error) from error


def _explained(error: psycopg.Error) -> HeadraceError | psycopg.Error:
    said = error.diag.message_primary or str(error).strip()
    if error.sqlstate == UNPROVEN:
        return Unproven(said)
    if error.sqlstate == PROTECTED:
        return Protected(said)
    match error:
        case errors.LockNotAvailable() | errors.DeadlockDetected():
            return Busy(said)
        case errors.ForeignKeyViolation():
            return Unproven(_still_referenced(error.diag))
        case psycopg.OperationalError() | psycopg.InterfaceError():
            return Unavailable(f"Postgres: {said}")
    return error


def _still_referenced(diagnostic: psycopg.errors.Diagnostic) -> str:
    """Say which table and constraint still refer to a row; Postgres' own detail would quote the key's values."""
    table = f"{diagnostic.schema_name}.{diagnostic.table_name}"
    return f"{table} still refers to these rows by its foreign key {diagnostic.constraint_name}"


def _claimed(proven: Mapping[str, Sum]) -> Jsonb:
    """Sums as text: JSON's numbers are floats to some readers, and 60 bits and more are no float's."""
    return Jsonb({name: [claim.count, str(claim.total)] for name, claim in proven.items()})


def _in_month(table: Table) -> str:
    ages_by = _ages_by(table)
    return f"{ages_by} >= %s AND {ages_by} < (%s::date + interval '1 month')::date AND {NOT_HELD}"


def _ages_by(table: Table) -> str:
    if table.ages_by is None:
        raise HeadraceError(f"{table.name}: expected `ages_by` in schemas/tables.py for a table that ages")
    return table.ages_by
