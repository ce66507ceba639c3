"""Where the contract suite lands: three stores, each with any number of adapters open on it, and a way to look in."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import psycopg

import migrations
from schemas.change import Key
from schemas.position import Position
from schemas.tables import Mode, Table
from sinks.memory import MemoryReporting, Stored
from sinks.port import Reporting
from sinks.postgres import PostgresReporting
from sinks.sqlserver import SqlServerReporting
from sinks.staging import stored_columns

GENERATION = 71


class Store(Protocol):
    """One reporting database."""

    name: str

    def reporting(self) -> Reporting:
        """Another adapter on this store, closed at the end of the test."""

    def rows(self, table: Table, tenant: str) -> Mapping[Key, Stored]:
        """A tenant's rows as they are committed, deleted ones included."""

    def close(self) -> None:
        """Closes what was opened."""


class MemoryStore:
    name = "memory"

    def __init__(self) -> None:
        self._reporting = MemoryReporting()

    def reporting(self) -> Reporting:
        return self._reporting

    def rows(self, table: Table, tenant: str) -> Mapping[Key, Stored]:
        found = self._reporting.rows(table)
        return {
            key: Stored(row=row.row, position=row.position._replace(read=False), source_time=row.source_time)
            for key, row in found.items()
            if key[0] == tenant
        }

    def close(self) -> None:
        return None


class SqlStore:
    """Postgres or SQL Server: `connect` opens a plain connection, `adapter` an adapter, `sql` is the dialect."""

    def __init__(self, name: str, connect: Callable[[], Any], adapter: Callable[[], Reporting], mark: str) -> None:
        self.name = name
        self._adapter = adapter
        self._adapters: list[Reporting] = []
        self.connection = connect()
        self._mark = mark

    def reporting(self) -> Reporting:
        self._adapters.append(self._adapter())
        return self._adapters[-1]

    def rows(self, table: Table, tenant: str) -> Mapping[Key, Stored]:
        columns = stored_columns(table)
        listed = ", ".join(columns)
        query = f"SELECT {listed} FROM reporting_g{GENERATION}.{table.name} WHERE tenant_id = {self._mark}"
        found = self.connection.cursor().execute(query, (tenant,)).fetchall()
        rows = (dict(zip(columns, map(_utc, row), strict=True)) for row in found)
        return {tuple(row[name] for name in table.key): _stored(table, row) for row in rows}

    def close(self) -> None:
        for adapter in self._adapters:
            adapter.close()
        self.connection.close()


def postgres(conninfo: str) -> SqlStore:
    """The generation of this suite in Postgres, which `headrace migrate` has made."""
    return SqlStore(
        "postgres",
        lambda: psycopg.connect(conninfo, autocommit=True),
        lambda: PostgresReporting(conninfo, GENERATION),
        "%s",
    )


def sqlserver(odbc: str) -> SqlStore:
    """The generation of this suite in SQL Server."""
    import pyodbc

    return SqlStore(
        "sqlserver",
        lambda: pyodbc.connect(odbc, autocommit=True),
        lambda: SqlServerReporting(odbc, GENERATION),
        "?",
    )


def make_sqlserver_generation(odbc: str) -> None:
    """Makes the generation's tables anew from the migration's own T-SQL."""
    import pyodbc

    folder = Path(migrations.__file__).parent / "reporting" / "sqlserver" / "versions"
    text = next(folder.glob("*_generation.sql")).read_text().replace("reporting_gN", f"reporting_g{GENERATION}")
    with pyodbc.connect(odbc, autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM sys.schemas WHERE name = ?", f"reporting_g{GENERATION}").fetchone():
            connection.execute(f"CREATE SCHEMA [reporting_g{GENERATION}]")
        for name in re.findall(r"CREATE TABLE (\S+)", text):
            connection.execute(f"DROP TABLE IF EXISTS {name}")
        for batch in re.split(r"^GO\s*$", text, flags=re.MULTILINE):
            if batch.strip() and "GRANT" not in batch:  # the suite's login owns what it makes
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
