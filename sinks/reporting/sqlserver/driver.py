"""Connect to SQL Server, and what landing and retention do its own way there: one JSON parameter for all rows, the
update before the insert, and a list of deleted events.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Any

from schemas.change import Change, Key
from schemas.errors import HeadraceError
from schemas.tables import Mode, Table
from sinks.reporting.landing import LandingSql, SqlReporting
from sinks.reporting.session import Transaction
from sinks.reporting.sql_retention import RetentionSql, SqlRetention
from sinks.reporting.sqlserver import landing_sql, retention_sql
from sinks.reporting.sqlserver.bulk_json import input_sizes, require_fits, to_json
from sinks.reporting.sqlserver.errors import classify
from sinks.reporting.staging import staged_columns, staged_row, text_lengths

CONNECT_SECONDS = 10
LANDING_SECONDS = 120  # the longest that a statement may take
RETENTION_SECONDS = 3_600


class SqlServerDriver:
    """A driver over pyodbc. `odbc` is a connection string with its driver, `settings` the batch that a new connection
    begins with, `seconds` the longest that a statement may take."""

    landing_sql: LandingSql = landing_sql
    retention_sql: RetentionSql = retention_sql
    commit_clears_stages = False

    def __init__(self, odbc: str, settings: str, *, seconds: int) -> None:
        self._odbc, self._settings, self._seconds = odbc, settings, seconds

    @property
    def error(self) -> type[Exception]:
        import pyodbc  # lazy: only SQL Server needs unixODBC

        error: type[Exception] = pyodbc.Error
        return error

    def connect(self) -> Any:
        import pyodbc

        pyodbc.pooling = False  # a pooled connection could come with another's transaction state
        connection = pyodbc.connect(self._odbc, autocommit=False, timeout=CONNECT_SECONDS)
        connection.timeout = self._seconds
        connection.execute(self._settings)
        return connection

    def classify(self, error: Exception) -> HeadraceError:
        return classify(error.args)

    def execute(self, cursor: Any, sql: str, parameters: Sequence[object]) -> None:
        cursor.setinputsizes(input_sizes(parameters))
        cursor.execute(sql, parameters)

    def load_stage(self, transaction: Transaction, table: Table, newest: Mapping[Key, Change]) -> None:
        row = staged_row(table)
        rows = [row(newest[key]) for key in sorted(newest, key=_order)]
        text = to_json(rows)
        require_fits(staged_columns(table), text_lengths(table), rows, text)
        transaction.execute(landing_sql.load_stage(table), (text,))

    def upsert(self, transaction: Transaction, table: Table, generation: int, staged: int) -> int:
        updated = 0
        if table.mode is Mode.STATE:
            updated = transaction.execute(landing_sql.update(table, generation))  # 3
        return updated + transaction.execute(landing_sql.insert(table, generation))  # 4

    def load_deletion_list(self, transaction: Transaction, table: Table, rows: Sequence[Sequence[object]]) -> None:
        transaction.execute(retention_sql.load_deletion_list(table), (to_json(rows),))

    def retire_events(
        self, transaction: Transaction, table: Table, generation: int, day: date, tenants: Collection[str]
    ) -> list[Sequence[Any]]:
        transaction.execute(retention_sql.drop_gone(table))
        transaction.execute(retention_sql.create_gone(table, generation))
        while transaction.execute(*retention_sql.retire_events(table, generation, day, tenants)):
            pass
        deleted = transaction.query(retention_sql.gone_sums(table))
        transaction.execute(retention_sql.drop_gone(table))
        return deleted


class SqlServerReporting(SqlReporting):
    """A generation of reporting in SQL Server, for the sink's login."""

    def __init__(self, odbc: str, generation: int) -> None:
        super().__init__(SqlServerDriver(odbc, landing_sql.SESSION, seconds=LANDING_SECONDS), generation)


class SqlServerRetention(SqlRetention):
    """A generation of reporting in SQL Server, for retention's login."""

    def __init__(self, odbc: str, generation: int) -> None:
        super().__init__(SqlServerDriver(odbc, retention_sql.SESSION, seconds=RETENTION_SECONDS), generation)


def _order(key: Key) -> tuple[str, ...]:
    """Return a sort key. Any order avoids deadlocks, as long as all workers lock rows in the same one."""
    return tuple(map(str, key))
