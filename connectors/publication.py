"""Read and change what capture needs in Postgres: publication, replication slot and the leaves' replica identity."""

import time
from collections.abc import Iterable

from psycopg import sql

from connectors.pipeline import Pipeline
from connectors.signals import signal_snapshot
from connectors.source import Connection, identifier
from connectors.steps import AlterPublication, CreatePublication
from schemas.errors import HeadraceError, Unavailable

SLOT_RELEASE_S = 30.0
_POLL_S = 0.2
# Leaves of a table, or the table itself where it is not partitioned, that do not log whole old rows.
_LACKING_FULL = """
SELECT leaf.relname_full FROM unnest(%s::text[]) AS wanted (relation),
LATERAL (
    SELECT format('%%s.%%s', n.nspname, c.relname) AS relname_full
    FROM pg_partition_tree(to_regclass(wanted.relation)) AS t
    JOIN pg_class AS c ON c.oid = t.relid
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE t.isleaf AND c.relreplident <> 'f'
    UNION ALL
    SELECT wanted.relation FROM pg_class AS c
    WHERE c.oid = to_regclass(wanted.relation) AND c.relkind = 'r' AND c.relreplident <> 'f'
) AS leaf
ORDER BY 1
"""


def read_relations(connection: Connection, names: Iterable[str]) -> frozenset[str]:
    """Return those of these tables that exist."""
    found = connection.execute(
        "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass(name) IS NOT NULL", [list(names)]
    )
    return frozenset(name for (name,) in found)


def read_publication(connection: Connection, name: str) -> frozenset[str] | None:
    """Return the tables of a publication, or None where there is none.

    Raises:
        HeadraceError: Its options are not those of Headrace's publication: it was created by another program.
    """
    row = connection.execute(
        "SELECT pubviaroot, pubinsert AND pubupdate AND pubdelete AND NOT pubtruncate AND NOT puballtables "
        "FROM pg_publication WHERE pubname = %s",
        [name],
    ).fetchone()
    if row is None:
        return None
    if row != (True, True):
        raise HeadraceError(
            f"publication {name} was not made by Headrace: it must publish insert, update, delete via the partition "
            "root; drop it, or set these with ALTER PUBLICATION, and apply again"
        )
    found = connection.execute(
        "SELECT schemaname || '.' || tablename FROM pg_publication_tables WHERE pubname = %s", [name]
    )
    return frozenset(relation for (relation,) in found)


def read_slot(connection: Connection, name: str) -> str | None:
    """Return the slot's `wal_status` (how much of the log that it needs is kept), or None without a slot."""
    row = connection.execute("SELECT wal_status FROM pg_replication_slots WHERE slot_name = %s", [name]).fetchone()
    return None if row is None else str(row[0])


def leaves_without_full(connection: Connection, names: Iterable[str]) -> tuple[str, ...]:
    """Return the leaf partitions (or plain tables) of these tables that lack REPLICA IDENTITY FULL."""
    return tuple(name for (name,) in connection.execute(_LACKING_FULL, [list(names)]))


def set_full(connection: Connection, relation: str) -> None:
    """Make a leaf's updates log whole old rows."""
    connection.execute(sql.SQL("ALTER TABLE {} REPLICA IDENTITY FULL").format(identifier(relation)))


def create_publication(connection: Connection, step: CreatePublication) -> None:
    """Create the publication, and request the rows that must be read again, in one transaction.

    Truncation is not published.
    """
    with connection.transaction():
        connection.execute(
            sql.SQL(
                "CREATE PUBLICATION {} FOR TABLE {} "
                "WITH (publish = 'insert, update, delete', publish_via_partition_root = true)"
            ).format(sql.Identifier(step.name), _list(step.relations))
        )
        signal_snapshot(connection, step.backfill)


def alter_publication(connection: Connection, step: AlterPublication) -> None:
    """Add and drop tables, and request the rows of the new ones, in one transaction."""
    name = sql.Identifier(step.name)
    with connection.transaction():
        if step.add:
            connection.execute(sql.SQL("ALTER PUBLICATION {} ADD TABLE {}").format(name, _list(step.add)))
        if step.drop:
            connection.execute(sql.SQL("ALTER PUBLICATION {} DROP TABLE {}").format(name, _list(step.drop)))
        signal_snapshot(connection, step.backfill)


def drop_capture(connection: Connection, pipeline: Pipeline) -> None:
    """Drop the slot and the publication if they exist, once a stopped connector has disconnected.

    Raises:
        Unavailable: A client still reads from the slot after `SLOT_RELEASE_S` seconds.
    """
    end = time.monotonic() + SLOT_RELEASE_S
    while connection.execute(
        "SELECT FROM pg_replication_slots WHERE slot_name = %s AND active", [pipeline.slot]
    ).rowcount:
        if time.monotonic() > end:
            raise Unavailable(
                f"replication slot {pipeline.slot} is still being read from; stop its reader, then repeat"
            )
        time.sleep(_POLL_S)
    connection.execute(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s", [pipeline.slot]
    )
    connection.execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(pipeline.publication)))


def _list(relations: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(identifier, relations))
