"""Read and change capture's state outside of Connect: Kafka's topics; Postgres' publication, slot and leaves."""

import json
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported, not declared
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)
from psycopg import sql

from connectors.pipeline import SIGNALS, Pipeline
from connectors.plan import AlterPublication, CreatePublication, SeenTopic
from messaging.clients import TIMEOUT, admin
from schemas.errors import HeadraceError, Unavailable
from schemas.topics import Topic

Connection = psycopg.Connection[Any]
CONNECT_S = 10
SLOT_RELEASE_S = 30.0
_POLL_S = 0.2
_BROKERS_DEFAULT = -1  # Kafka's value for it

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

_KEY = """
SELECT a.attname, format_type(a.atttypid, NULL) FROM pg_index AS i
JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
WHERE i.indrelid = %s::regclass AND i.indisprimary ORDER BY array_position(i.indkey::smallint[], a.attnum)
"""


@contextmanager
def source(conninfo: str) -> Iterator[Connection]:
    """Open a connection to the source, as the owner of its tables.

    Raises:
        Unavailable: The source refuses it or does not answer.
    """
    try:
        connection = psycopg.connect(conninfo, autocommit=True, connect_timeout=CONNECT_S)
    except psycopg.OperationalError as error:
        raise Unavailable(
            f"Postgres, the source, can't be reached: {_first_line(error)}; check the HEADRACE_OLTP__ settings"
        ) from None
    try:
        yield connection
    except psycopg.Error as error:
        raise HeadraceError(f"Postgres, the source, refuses: {_first_line(error)}") from None
    finally:
        connection.close()


def read_relations(connection: Connection, names: Iterable[str]) -> frozenset[str]:
    """Those of these tables that exist."""
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
    """Have a leaf's updates log whole old rows."""
    connection.execute(sql.SQL("ALTER TABLE {} REPLICA IDENTITY FULL").format(_identifier(relation)))


def create_publication(connection: Connection, step: CreatePublication) -> None:
    """Make the publication; truncation is not published. What must be read again is asked for at the same instant."""
    with connection.transaction():
        connection.execute(
            sql.SQL(
                "CREATE PUBLICATION {} FOR TABLE {} "
                "WITH (publish = 'insert, update, delete', publish_via_partition_root = true)"
            ).format(sql.Identifier(step.name), _list(step.relations))
        )
        signal_snapshot(connection, step.backfill)


def alter_publication(connection: Connection, step: AlterPublication) -> None:
    """Add and drop tables, and ask for the rows of the new ones, all or nothing."""
    name = sql.Identifier(step.name)
    with connection.transaction():
        if step.add:
            connection.execute(sql.SQL("ALTER PUBLICATION {} ADD TABLE {}").format(name, _list(step.add)))
        if step.drop:
            connection.execute(sql.SQL("ALTER PUBLICATION {} DROP TABLE {}").format(name, _list(step.drop)))
        signal_snapshot(connection, step.backfill)


def signal_snapshot(connection: Connection, relations: Iterable[str]) -> None:
    """Ask Debezium for an incremental snapshot of these tables, each of which is read in chunks, by its primary key.

    Debezium 3.7 compares an instant in a key with text, which Postgres refuses, and passes the table over; such a table
    is read by the UUID in its key. Raises HeadraceError where there is none.
    https://debezium.io/documentation/reference/stable/configuration/signalling.html#debezium-signaling-incremental-snapshots
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
    """Ask Debezium to read the rows of one table again that meet an SQL condition: no more than fit into one chunk.

    By the tenant, not by the primary key, which may hold an instant (see `signal_snapshot`); one chunk needs no more.
    """
    chosen = {"data-collection": relation, "filter": condition}
    _signal(
        connection, {"data-collections": [relation], "additional-conditions": [chosen], "surrogate-key": "tenant_id"}
    )


def _signal(connection: Connection, wanted: Mapping[str, Any]) -> None:
    connection.execute(
        sql.SQL("INSERT INTO {} (id, type, data) VALUES (%s, 'execute-snapshot', %s)").format(_identifier(SIGNALS)),
        [f"headrace-{uuid.uuid4()}", json.dumps({"type": "incremental", **wanted}, ensure_ascii=False)],
    )


def drop_capture(connection: Connection, pipeline: Pipeline) -> None:
    """Drop slot and publication, where they exist. Waits for a stopped connector's connection to go.

    Raises Unavailable when somebody still reads from the slot after that.
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


def read_topics(bootstrap: str, wanted: Iterable[Topic]) -> Mapping[str, SeenTopic]:
    """Those of these topics that exist, with the settings that are asked of them."""
    asked = {topic.name: topic for topic in wanted}
    client = admin(bootstrap)
    try:
        listed = client.list_topics(timeout=TIMEOUT).topics
    except KafkaException as error:
        raise Unavailable(f"Kafka at {bootstrap} does not answer: {error.args[0]}; check HEADRACE_KAFKA__") from None
    names = [name for name in asked if name in listed]
    if not names:
        return {}
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    found = {}
    for resource, future in client.describe_configs(resources, request_timeout=TIMEOUT).items():
        config = _answer(future, bootstrap)
        values = {name: config[name].value for name in asked[resource.name].config}
        partitions = listed[resource.name].partitions
        fewest = min(len(each.replicas) for each in partitions.values())
        found[resource.name] = SeenTopic(partitions=len(partitions), config=values, replicas=fewest)
    return found


def create_topics(bootstrap: str, topics: Iterable[Topic]) -> None:
    """Make topics, all at once. Raises HeadraceError, which names the setting where brokers are too few."""
    new = [
        NewTopic(
            topic.name,
            num_partitions=topic.partitions,
            replication_factor=topic.replicas or _BROKERS_DEFAULT,
            config=dict(topic.config),
        )
        for topic in topics
    ]
    if new:
        client = admin(bootstrap)
        _wait(client, client.create_topics(new, operation_timeout=TIMEOUT), bootstrap)


def alter_topic(bootstrap: str, name: str, config: Mapping[str, str]) -> None:
    """Set these of a topic's settings, leaving the others."""
    entries = [ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in config.items()]
    resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
    client = admin(bootstrap)
    _wait(client, client.incremental_alter_configs([resource], request_timeout=TIMEOUT), bootstrap)


def delete_topics(bootstrap: str, names: Iterable[str]) -> None:
    """Delete topics."""
    gone = list(names)
    if gone:
        client = admin(bootstrap)
        _wait(client, client.delete_topics(gone, operation_timeout=TIMEOUT), bootstrap)


def _wait(_client: AdminClient, futures: Mapping[Any, Any], bootstrap: str) -> None:
    """All answers. The client is held until then: without it, its futures fail."""
    for future in futures.values():
        _answer(future, bootstrap)


def _answer(future: Any, bootstrap: str) -> Any:
    try:
        return future.result(TIMEOUT + 1)
    except (KafkaException, TimeoutError) as error:
        said = error.args[0] if error.args else error
        if isinstance(said, KafkaError) and said.code() == KafkaError.INVALID_REPLICATION_FACTOR:
            raise HeadraceError(
                f"Kafka at {bootstrap} has fewer brokers than HEADRACE_KAFKA__REPLICATION_FACTOR says: {said.str()}; "
                "see docs/runbook.md#too-few-replicas"
            ) from None
        raise HeadraceError(f"Kafka at {bootstrap} refuses: {said}") from None


def _identifier(relation: str) -> sql.Identifier:
    return sql.Identifier(*relation.split("."))


def _list(relations: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(_identifier, relations))


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
