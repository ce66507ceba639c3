"""The rows that verification compares, read from the databases themselves and never from our own counters.

Each reader yields canonical rows sorted by the table's key: all of them, or those of the keys asked for.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Protocol

import psycopg
from bson import Decimal128
from pymongo.database import Database

from operations.compare import canonical
from schemas.change import Key, Row, Value
from schemas.generations import schema
from schemas.tables import Column, Mode, Table
from schemas.types import Json, Text, Uuid
from sinks import postgres_sql, sqlserver_sql
from sinks.cutoff import Cutoff, cutoffs_of

CHUNK = 5_000
ERASED = "SELECT tenant_id, event_id FROM retention.erased_event"


class Rows(Protocol):
    """One side of a comparison."""

    def read(self, table: Table, keys: Sequence[Key] | None = None) -> Iterator[Row]:
        """The rows of `table`, sorted by key; only those of `keys` where given. Deleted rows aren't there."""


class Report(Rows, Protocol):
    """A generation of reporting: one side of a comparison that also knows how far it has landed."""

    @property
    def generation(self) -> int:
        """Its number."""

    def offsets(self) -> dict[tuple[str, int], int]:
        """The next offset of each (topic, partition) that has landed."""

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows of a small query."""

    def cutoffs(self) -> Mapping[str, Cutoff]:
        """Part of the retention policy → what has aged out of it."""

    def erased(self) -> AbstractSet[tuple[Value, Value]]:
        """The events of erased persons: (tenant, event id)."""


class PostgresSource:
    """The OLTP tables, through the role `reporter_reader`."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def read(self, table: Table, keys: Sequence[Key] | None = None) -> Iterator[Row]:
        sql, parameters = query(table, f"{table.schema}.{table.relation}", table.columns, keys, expression=in_oltp)
        return (canonical(table, row) for row in stream(self._connection, sql, parameters))


class CatalogSource:
    """The MongoDB collections."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._database = database

    def read(self, table: Table, keys: Sequence[Key] | None = None) -> Iterator[Row]:
        names = [column.name for column in table.columns]
        wanted = {} if keys is None else {"_id": {"$in": [dict(zip(table.key, key, strict=True)) for key in keys]}}
        documents = self._database[table.relation].find(wanted).sort([(name, 1) for name in table.key])
        return (canonical(table, [_from_bson(document.get(name)) for name in names]) for document in documents)


class PostgresReport:
    """A generation of reporting, in Postgres."""

    def __init__(self, connection: psycopg.Connection[Any], generation: int) -> None:
        self._connection, self.generation = connection, generation

    def read(self, table: Table, keys: Sequence[Key] | None = None) -> Iterator[Row]:
        alive = "NOT _deleted" if table.mode is Mode.STATE else None
        name = f"{schema(self.generation)}.{table.name}"
        sql, parameters = query(table, name, table.all_columns, keys, expression=in_postgres, condition=alive)
        return (canonical(table, row) for row in stream(self._connection, sql, parameters))

    def offsets(self) -> dict[tuple[str, int], int]:
        """The next offset of each (topic, partition) that has landed."""
        return {(topic, number): offset for topic, number, offset in self.query(checkpoints(self.generation))}

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows of a small query."""
        return self._connection.execute(sql.encode()).fetchall()

    def cutoffs(self) -> Mapping[str, Cutoff]:
        """See `Report.cutoffs`."""
        return cutoffs_of(self.query(postgres_sql.read_cutoffs()))

    def erased(self) -> AbstractSet[tuple[Value, Value]]:
        """See `Report.erased`."""
        return {(tenant, event) for tenant, event in self.query(ERASED)}


class SqlServerReport:
    """A generation of reporting, in SQL Server; `connection` is pyodbc's."""

    def __init__(self, connection: Any, generation: int) -> None:
        self._connection, self.generation = connection, generation

    def read(self, table: Table, keys: Sequence[Key] | None = None) -> Iterator[Row]:
        alive = "_deleted = 0" if table.mode is Mode.STATE else None
        name = f"{schema(self.generation)}.{table.name}"
        sql, parameters = query(table, name, table.all_columns, keys, expression=in_sqlserver, condition=alive)
        cursor = self._connection.cursor()
        cursor.execute(sql.replace("%s", "?"), parameters)
        while batch := cursor.fetchmany(CHUNK):
            for row in batch:
                yield canonical(table, row)

    def offsets(self) -> dict[tuple[str, int], int]:
        """The next offset of each (topic, partition) that has landed."""
        return {(topic, number): offset for topic, number, offset in self.query(checkpoints(self.generation))}

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows of a small query."""
        return [tuple(row) for row in self._connection.execute(sql).fetchall()]

    def cutoffs(self) -> Mapping[str, Cutoff]:
        """See `Report.cutoffs`."""
        return cutoffs_of(self.query(sqlserver_sql.read_cutoffs()))

    def erased(self) -> AbstractSet[tuple[Value, Value]]:
        """See `Report.erased`."""
        return {(tenant, event) for tenant, event in self.query(ERASED)}


def checkpoints(generation: int) -> str:
    """The query for how far each partition has landed. Quoted: CHECKPOINT is a statement of T-SQL."""
    return f'SELECT "topic", "partition", "next_offset" FROM {schema(generation)}."checkpoint"'


def query(  # noqa: PLR0913
    table: Table,
    name: str,
    columns: Sequence[Column],
    keys: Sequence[Key] | None,
    *,
    expression: Callable[[Column], str],
    condition: str | None = None,
) -> tuple[str, list[Value]]:
    """A SELECT of `columns` in the order of the table's key, and its parameters (as `%s`)."""
    key = [expression(table.column(column)) for column in table.key]
    conditions = [condition] if condition else []
    parameters: list[Value] = []
    if keys is not None:
        one = " AND ".join(f"{column} = %s" for column in key)
        conditions.append("(" + " OR ".join([f"({one})"] * len(keys)) + ")")
        parameters = [value for each in keys for value in each]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT {', '.join(map(expression, columns))} FROM {name}{where} ORDER BY {', '.join(key)}", parameters


def in_oltp(column: Column) -> str:
    """As `in_postgres`; the outbox stores an event's instant alone, from which reporting derives the day."""
    return "(occurred_at AT TIME ZONE 'UTC')::date" if column.name == "event_day" else in_postgres(column)


def in_postgres(column: Column) -> str:
    """A column as verification reads it: text in code-point order, documents and ids as text."""
    if isinstance(column.type, Text):
        return f'"{column.name}" COLLATE "C"'
    return f'"{column.name}"::text COLLATE "C"' if isinstance(column.type, Json | Uuid) else f'"{column.name}"'


def in_sqlserver(column: Column) -> str:
    """As `in_postgres`; the migrations gave these columns a binary collation already."""
    return f'"{column.name}"'


def stream(connection: psycopg.Connection[Any], sql: str, parameters: Sequence[Any]) -> Iterator[Row]:
    """The rows of a query through a server-side cursor, so that memory stays flat."""
    with connection.transaction(), connection.cursor(name="verify") as cursor:
        cursor.itersize = CHUNK
        cursor.execute(sql.encode(), parameters)
        yield from cursor


def _from_bson(value: Any) -> Value:
    return value.to_decimal() if isinstance(value, Decimal128) else value
