"""The contract suite's three stores, each with any number of open adapters, and access to its rows."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import psycopg

import migrations
from migrations.sql_files import batches
from schemas.change import Key, Row
from schemas.position import Position
from schemas.tables import Mode, Table, reported
from sinks.reporting.cutoff import Cutoff
from sinks.reporting.memory import MemoryReporting, Stored
from sinks.reporting.memory_retention import MemoryRetention
from sinks.reporting.port import Reporting
from sinks.reporting.postgres import cutover_sql as postgres_cutover_sql
from sinks.reporting.postgres import landing_sql as postgres_sql
from sinks.reporting.postgres import retention_sql as postgres_retiring_sql
from sinks.reporting.postgres.driver import PostgresReporting, PostgresRetention
from sinks.reporting.retention import RetentionStore
from sinks.reporting.sqlserver import cutover_sql as sqlserver_cutover_sql
from sinks.reporting.sqlserver import landing_sql as sqlserver_sql
from sinks.reporting.sqlserver import retention_sql as sqlserver_retiring_sql
from sinks.reporting.sqlserver.driver import SqlServerReporting, SqlServerRetention
from sinks.reporting.staging import stored_columns

GENERATION = 71


class Store(Protocol):
    """One reporting database."""

    name: str
    locks_nothing: bool

    def reporting(self) -> Reporting:
        """Open another adapter on this store. It is closed at the end of the test."""

    def retiring(self) -> RetentionStore:
        """Open this store for retention. It is closed at the end of the test."""

    def noted_epoch(self, number: int) -> AbstractContextManager[None]:
        """Record `number` as an epoch meanwhile; below 1, no other test takes it for the newest."""

    def waited_for(self) -> bool:
        """Return whether a session waits for a transaction to end."""

    def rows(self, table: Table, tenant: str) -> Mapping[Key, Stored]:
        """Return a tenant's committed rows, deleted ones included."""

    def others(self, tenant: str) -> list[str]:
        """Return all tenants of other tests, which a test that retires a month must hold."""

    def keep_repaired(self, table: Table, row: str) -> None:
        """Keep a row, as a repair does that removes it."""

    def view(self, table: Table, tenant: str) -> list[Row]:
        """Return a tenant's rows as readers see them through the view of this generation."""

    def close(self) -> None:
        """Close all connections."""


class MemoryStore:
    name = "memory"
    locks_nothing = False

    def __init__(self) -> None:
        self._reporting = MemoryReporting()

    def reporting(self) -> Reporting:
        return self._reporting

    def retiring(self) -> RetentionStore:
        return MemoryRetention(self._reporting)

    @contextmanager
    def noted_epoch(self, number: int) -> Iterator[None]:
        self._reporting.known_epochs.add(number)
        yield
        self._reporting.known_epochs.remove(number)

    def waited_for(self) -> bool:
        return self._reporting.transaction.locked()  # a lock does not say who waits for it

    def rows(self, table: Table, tenant: str) -> Mapping[Key, Stored]:
        found = self._reporting.rows(table)
        return {
            key: Stored(row=row.row, position=row.position._replace(read=False), source_time=row.source_time)
            for key, row in found.items()
            if key[0] == tenant
        }

    def others(self, tenant: str) -> list[str]:
        return []

    def keep_repaired(self, table: Table, row: str) -> None:
        self._reporting.repaired.append((table.name, row))

    def view(self, table: Table, tenant: str) -> list[Row]:
        """In memory the views are this rule."""
        names = [column.name for column in table.all_columns]
        rows = [row.row for row in self.rows(table, tenant).values() if row.row is not None]
        soft = names.index(table.soft_deleted) if table.soft_deleted else None
        return [row for row in rows if soft is None or row[soft] is None]

    def close(self) -> None:
        return None


class SqlStore:
    """Postgres or SQL Server: `connect` opens a plain connection, `own` one that may make views, `adapter` and
    `retiring` an adapter; `dialect` is the module of its SQL, `lock` what locks the cutoffs, `waits` a query
    for sessions that wait for a lock."""

    locks_nothing = False

    def __init__(
        self,
        name: str,
        *,
        connect: Callable[[], Any],
        own: Callable[[], Any],
        adapter: Callable[[], Reporting],
        retiring: Callable[[], RetentionStore],
        dialect: ModuleType,
        lock: str,
        waits: str,
    ) -> None:
        self.name = name
        self._own = own
        self._dialect = dialect
        self._adapter = adapter
        self._retiring = retiring
        self._lock, self._waits = lock, waits
        self._adapters: list[Reporting | RetentionStore] = []
        self.connection = connect()
        self._mark = "?" if dialect is sqlserver_sql else "%s"

    def reporting(self) -> Reporting:
        self._adapters.append(adapter := self._adapter())
        return adapter

    def retiring(self) -> RetentionStore:
        self._adapters.append(retiring := self._retiring())
        return retiring

    @contextmanager
    def setting(self, cutoff: Cutoff) -> Iterator[Callable[[], None]]:
        """Set a cutoff in an open transaction, and yield the function that commits it."""
        connection = self._own()
        cursor = connection.cursor()
        cursor.execute(self._lock)
        values = ", ".join([self._mark] * 3)
        cursor.execute(
            f"INSERT INTO retention.cutoff (part, before, held) VALUES ({values})",
            (cutoff.part, cutoff.before.isoformat(), cutoff.held_text()),
        )
        yield connection.commit
        connection.close()

    @contextmanager
    def noted_epoch(self, number: int) -> Iterator[None]:
        connection = self._own()
        cursor = connection.cursor()
        cursor.execute(
            "INSERT INTO headrace.epoch (epoch, reason, raised_by, system_identifier, timeline) "
            f"VALUES ({self._mark}, 'test', 'test', 0, 1)",
            (number,),
        )
        connection.commit()
        try:
            yield
        finally:
            cursor.execute(f"DELETE FROM headrace.epoch WHERE epoch = {self._mark}", (number,))
            connection.commit()
            connection.close()

    def waited_for(self) -> bool:
        return self.connection.cursor().execute(self._waits).fetchone() is not None

    def rows(self, table: Table, tenant: str) -> Mapping[Key, Stored]:
        columns = stored_columns(table)
        listed = ", ".join(columns)
        query = f"SELECT {listed} FROM reporting_g{GENERATION}.{table.name} WHERE tenant_id = {self._mark}"
        found = self.connection.cursor().execute(query, (tenant,)).fetchall()
        rows = (dict(zip(columns, map(_utc, row), strict=True)) for row in found)
        return {tuple(row[name] for name in table.key): _stored(table, row) for row in rows}

    def others(self, tenant: str) -> list[str]:
        names = [table.name for table in reported()]
        query = " UNION ".join(f"SELECT tenant_id FROM reporting_g{GENERATION}.{name}" for name in names)
        return [name for (name,) in self.connection.cursor().execute(query).fetchall() if name != tenant]

    def keep_repaired(self, table: Table, row: str) -> None:
        kept = (datetime.now(UTC).replace(tzinfo=None), "test", GENERATION, table.name, "[]", row)
        values = ", ".join([self._mark] * len(kept))
        self.connection.cursor().execute(f"INSERT INTO headrace.repair VALUES ({values})", kept)

    def view(self, table: Table, tenant: str) -> list[Row]:
        # Made and looked through in a transaction that is rolled back: the readers' own views stay as they are.
        connection = self._own()
        cursor = connection.cursor()
        views = postgres_cutover_sql if self._dialect is postgres_sql else sqlserver_cutover_sql
        cursor.execute(views.drop_view(table))
        cursor.execute(views.create_view(table, GENERATION))
        cursor.execute(f"SELECT * FROM report.{table.name} WHERE tenant_id = {self._mark}", (tenant,))
        rows = [tuple(map(_utc, row)) for row in cursor.fetchall()]
        connection.rollback()
        connection.close()
        return rows

    def close(self) -> None:
        for adapter in self._adapters:
            adapter.close()
        self.connection.close()


def postgres(writer: str, migrator: str, retention: str) -> SqlStore:
    """Return the generation of this suite in Postgres, which `headrace migrate` has made."""
    return SqlStore(
        "postgres",
        connect=lambda: psycopg.connect(writer, autocommit=True),
        own=lambda: psycopg.connect(migrator),
        adapter=lambda: PostgresReporting(writer, GENERATION),
        retiring=lambda: PostgresRetention(retention, GENERATION),
        dialect=postgres_sql,
        lock=postgres_retiring_sql.lock_cutoffs(),
        waits="SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'retention.cutoff'::regclass",
    )


def sqlserver(odbc: str) -> SqlStore:
    """Return the generation of this suite in SQL Server."""
    import pyodbc

    store = SqlStore(
        "sqlserver",
        connect=lambda: pyodbc.connect(odbc, autocommit=True),
        own=lambda: pyodbc.connect(odbc, autocommit=False),
        adapter=lambda: SqlServerReporting(odbc, GENERATION),
        retiring=lambda: SqlServerRetention(odbc, GENERATION),
        dialect=sqlserver_sql,
        lock=sqlserver_retiring_sql.lock_cutoffs(),
        waits="SELECT 1 FROM sys.dm_exec_requests WHERE wait_type LIKE 'LCK%'",
    )
    cursor = store.connection.cursor()
    store.locks_nothing = bool(cursor.execute("SELECT CAST(SERVERPROPERTY('Babelfish') AS INT)").fetchval())
    return store


def make_sqlserver_generation(odbc: str) -> None:
    """Create the generation's tables again, and those that all generations share, from the migrations' own T-SQL."""
    import pyodbc

    folder = Path(migrations.__file__).parent / "reporting" / "sqlserver" / "versions"
    files = [path.read_text() for path in sorted(folder.glob("*.sql")) if "_roles" not in path.stem]
    with pyodbc.connect(odbc, autocommit=True) as connection:
        for schema in (f"reporting_g{GENERATION}", "report", "retention"):
            if not connection.execute("SELECT 1 FROM sys.schemas WHERE name = ?", schema).fetchone():
                connection.execute(f"CREATE SCHEMA [{schema}]")
        for batch in (batch for text in files for batch in batches(text, generation=f"reporting_g{GENERATION}")):
            for name in re.findall(r"CREATE TABLE (\S+)", batch):
                connection.execute(f"DROP TABLE IF EXISTS {name}")
            if not re.search(
                r"^\s*(GRANT|REVOKE|DENY|CREATE USER)", batch, re.MULTILINE
            ):  # the suite's login owns what it makes
                connection.execute(batch)
    connection.close()


def _stored(table: Table, row: dict[str, Any]) -> Stored:
    values = tuple(row[column.name] for column in table.all_columns)
    if table.mode is Mode.EVENT:
        return Stored(row=values, position=Position(0, 0), source_time=row["occurred_at"])
    return Stored(
        row=None if row["_deleted"] else values,
        position=Position(row["_epoch"], row["_offset"], row["_version"], (row["_log_commit"], row["_log_change"])),
        source_time=row["_source_time"],
    )


def _utc(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value
