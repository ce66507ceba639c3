"""Read events from the source's outbox."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg

from operations.databases.postgres import stream
from operations.databases.queries import in_source
from schemas.change import Row
from schemas.tables import Table


def events(
    connection: psycopg.Connection[Any], table: Table, start: datetime, end: datetime, tenant: str | None = None
) -> Iterator[Row]:
    """Stream the events from `start` to before `end`, of one tenant or of all.

    Values are in the order of the table's columns, instants in UTC. Read them to the end.
    """
    columns = ", ".join(map(in_source(table).expression, table.columns))
    sql = f"SELECT {columns} FROM {table.schema}.{table.relation} WHERE occurred_at >= %s AND occurred_at < %s"
    if tenant is None:
        return map(in_utc, stream(connection, sql, [start, end]))
    return map(in_utc, stream(connection, f"{sql} AND tenant_id = %s", [start, end, tenant]))


def in_utc(row: Row) -> Row:
    """Convert a row's instants to UTC."""
    return tuple(value.astimezone(UTC) if isinstance(value, datetime) else value for value in row)
