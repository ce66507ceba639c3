"""The source, and reporting where that is Postgres."""

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg

from operations.databases.database import Database, ReportingDatabase
from operations.databases.queries import in_postgres, in_source
from schemas.change import Row
from sinks.reporting.postgres import landing_sql

CHUNK = 5_000


class PostgresSource(Database):
    """The OLTP tables, through the role `reporter_reader`."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        super().__init__(
            in_source,
            lambda sql, parameters: connection.execute(sql.encode(), parameters),
            lambda sql, parameters: stream(connection, sql, parameters),
        )


class PostgresReport(ReportingDatabase):
    """A generation of reporting, in Postgres."""

    read_cutoffs = landing_sql.read_cutoffs()

    def __init__(self, connection: psycopg.Connection[Any], generation: int) -> None:
        super().__init__(
            lambda table: in_postgres(table, generation),
            lambda sql, parameters: connection.execute(sql.encode(), parameters),
            lambda sql, parameters: stream(connection, sql, parameters),
        )
        self._connection, self.generation = connection, generation

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql.encode(), parameters or None).fetchall()

    def execute(self, sql: str, parameters: Sequence[Any]) -> int:
        return self._connection.execute(sql.encode(), parameters).rowcount

    def close(self) -> None:
        self._connection.close()


def stream(connection: psycopg.Connection[Any], sql: str, parameters: Sequence[Any]) -> Iterator[Row]:
    """Yield the rows of a query through a server-side cursor, so that memory stays flat."""
    with connection.transaction(), connection.cursor(name="verify") as cursor:
        cursor.itersize = CHUNK
        cursor.execute(sql.encode(), parameters)
        yield from cursor
