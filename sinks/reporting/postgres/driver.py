"""Connect to Postgres, and what landing and retention do its own way there: COPY, and the insert before the update."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import psycopg

from schemas.change import Change, Key
from schemas.errors import HeadraceError
from schemas.tables import Mode, Table
from sinks.reporting.landing import LandingSql, SqlReporting
from sinks.reporting.postgres import landing_sql, retention_sql
from sinks.reporting.postgres.errors import classify
from sinks.reporting.session import Transaction
from sinks.reporting.sql_retention import RetentionSql, SqlRetention
from sinks.reporting.staging import staged_row

CONNECT_SECONDS = 10


class PostgresDriver:
    """A driver over psycopg. `conninfo` is libpq's; `settings` are the statements that a new connection begins with."""

    error = psycopg.Error
    landing_sql: LandingSql = landing_sql
    retention_sql: RetentionSql = retention_sql
    commit_clears_stages = True

    def __init__(self, conninfo: str, settings: Sequence[str], *, name: str) -> None:
        self._conninfo, self._settings, self._name = conninfo, settings, name

    def connect(self) -> psycopg.Connection[Any]:
        connection = psycopg.connect(self._conninfo, application_name=self._name, connect_timeout=CONNECT_SECONDS)
        for setting in self._settings:
            connection.execute(setting.encode())
        return connection

    def classify(self, error: psycopg.Error) -> HeadraceError:
        return classify(error)

    def execute(self, cursor: psycopg.Cursor[Any], sql: str, parameters: Sequence[object]) -> None:
        cursor.execute(sql.encode(), parameters or None)

    def load_stage(self, transaction: Transaction, table: Table, newest: Mapping[Key, Change]) -> None:
        _copy(transaction, landing_sql.load_stage(table), map(staged_row(table), newest.values()))

    def upsert(self, transaction: Transaction, table: Table, generation: int, staged: int) -> int:
        written = transaction.execute(landing_sql.insert(table, generation))  # 4, before 3: see landing_sql
        if written < staged and table.mode is Mode.STATE:
            written += transaction.execute(landing_sql.update(table, generation))  # 3
        return written

    def load_deletion_list(self, transaction: Transaction, table: Table, rows: Sequence[Sequence[object]]) -> None:
        _copy(transaction, retention_sql.load_deletion_list(table), rows)

    def retire_events(
        self, transaction: Transaction, table: Table, generation: int, day: date, tenants: Collection[str]
    ) -> list[Sequence[Any]]:
        return transaction.query(*retention_sql.retire_events(table, generation, day, tenants))


class PostgresReporting(SqlReporting):
    """A generation of reporting in Postgres, for the sink's role."""

    def __init__(self, conninfo: str, generation: int) -> None:
        super().__init__(PostgresDriver(conninfo, landing_sql.SESSION, name="headrace-sink"), generation)


class PostgresRetention(SqlRetention):
    """A generation of reporting in Postgres, for retention's role."""

    def __init__(self, conninfo: str, generation: int) -> None:
        super().__init__(PostgresDriver(conninfo, retention_sql.SESSION, name="headrace-retention"), generation)


def _copy(transaction: Transaction, sql: str, rows: Iterable[Sequence[object]]) -> None:
    with transaction.cursor.copy(sql) as copy:
        for row in rows:
            copy.write_row(row)
