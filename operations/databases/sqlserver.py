"""Reporting where that is SQL Server."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from operations.databases.database import ReportingDatabase
from operations.databases.queries import in_sqlserver
from schemas.change import Value
from schemas.checksums import HASH_DIGITS
from sinks.reporting.sqlserver import checksum_sql, landing_sql

CHUNK = 5_000
INSTANT = "%Y-%m-%d %H:%M:%S.%f"


class SqlServerReport(ReportingDatabase):
    """A generation of reporting, in SQL Server; `connection` is pyodbc's."""

    read_cutoffs = landing_sql.read_cutoffs()

    def __init__(self, connection: Any, generation: int) -> None:
        knows_utf8 = connection.execute(checksum_sql.KNOWS_UTF8).fetchval() > 0
        super().__init__(
            lambda table: in_sqlserver(table, generation, knows_utf8=knows_utf8),
            self._in_turn,
            self._in_turn,
            lambda digest: int(digest.hex()[:HASH_DIGITS], 16),
        )
        self._connection, self.generation = connection, generation

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self._connection.execute(sql.replace("%s", "?"), *parameters).fetchall()]

    def execute(self, sql: str, parameters: Sequence[Any]) -> int:
        # As text: the driver may bind an instant without its microseconds.
        given = [f"{one.astimezone(UTC):{INSTANT}}" if isinstance(one, datetime) else one for one in parameters]
        return int(self._connection.execute(sql.replace("%s", "?"), given).rowcount)

    def close(self) -> None:
        self._connection.close()

    def _in_turn(self, sql: str, parameters: Sequence[Value]) -> Iterator[Sequence[Any]]:
        cursor = self._connection.cursor()
        cursor.execute(sql.replace("%s", "?").replace("%%", "%"), parameters)
        while batch := cursor.fetchmany(CHUNK):
            yield from batch
