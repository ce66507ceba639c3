"""Ask Debezium to read rows again: incremental snapshots, requested in the source's signal table."""

import json
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from psycopg import sql

from connectors.pipeline import SIGNALS
from connectors.source import Connection, identifier
from schemas.errors import HeadraceError

_KEY = """
SELECT a.attname, format_type(a.atttypid, NULL) FROM pg_index AS i
JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
WHERE i.indrelid = %s::regclass AND i.indisprimary ORDER BY array_position(i.indkey::smallint[], a.attnum)
"""


def signal_snapshot(connection: Connection, relations: Iterable[str]) -> None:
    """Ask Debezium for an incremental snapshot of these tables. Each is read in chunks, by its primary key.

    Debezium 3.7 compares an instant in a key with text, which Postgres refuses, and skips the table. Such a table is
    read by the UUID in its key.
    https://debezium.io/documentation/reference/stable/configuration/signalling.html#debezium-signaling-incremental-snapshots

    Raises:
        HeadraceError: A key has an instant and no UUID.
    """
    for relation in relations:
        key = dict(connection.execute(_KEY, [relation]).fetchall())
        wanted: dict[str, Any] = {"data-collections": [relation]}
        if any(kind.startswith("timestamp") for kind in key.values()):
            unique = [name for name, kind in key.items() if kind == "uuid"]
            if not unique:
                raise HeadraceError(
                    f"{relation}: Debezium can't read the rows that it already has, as its primary key "
                    f"({', '.join(key)}) holds an instant and no UUID; see docs/your-tables.md"
                )
            wanted["surrogate-key"] = unique[0]
        _signal(connection, wanted)


def signal_rows(connection: Connection, relation: str, condition: str) -> None:
    """Ask Debezium to read the rows of one table that meet an SQL condition again; they must fit into one chunk.

    The chunk is ordered by the tenant, since the primary key may hold an instant (`signal_snapshot`).
    """
    chosen = {"data-collection": relation, "filter": condition}
    _signal(
        connection, {"data-collections": [relation], "additional-conditions": [chosen], "surrogate-key": "tenant_id"}
    )


def _signal(connection: Connection, wanted: Mapping[str, Any]) -> None:
    connection.execute(
        sql.SQL("INSERT INTO {} (id, type, data) VALUES (%s, 'execute-snapshot', %s)").format(identifier(SIGNALS)),
        [f"headrace-{uuid.uuid4()}", json.dumps({"type": "incremental", **wanted}, ensure_ascii=False)],
    )
