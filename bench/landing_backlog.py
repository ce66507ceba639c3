"""The backlog of bench.landing: changes of orders, produced here or captured from Postgres."""

import itertools
import random
import time
from dataclasses import replace
from typing import Any

import psycopg
from confluent_kafka.admin import NewTopic

from messaging import clients
from messaging.registry import Registry
from operations import connections
from operations.settings import Settings
from schemas.tables import ORDERS, Table
from schemas.wire import EPOCH_HEADER
from tests.support.envelopes import Envelopes
from tests.support.orders import Row, history

PARTITIONS = 4


def bench_table(schema: str) -> Table:
    """Orders, captured to a topic of this run's own."""
    return replace(ORDERS, schema=schema)


def prepare(settings: Settings, table: Table, count: int) -> dict[tuple[Any, ...], Row | None]:
    """Produce the backlog; return the expected rows of reporting, None for a deleted one."""
    (topic,) = table.captured_topics
    bootstrap = settings.kafka.bootstrap
    admin = clients.admin(bootstrap)
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result()
    envelopes = Envelopes(Registry(settings.registry.url), table)
    producer = clients.producer(bootstrap, linger_ms=50, queue_buffering_max_messages=1_000_000)
    expected: dict[tuple[Any, ...], Row | None] = {}
    for number, (op, row, before) in enumerate(history(random.Random(1), count)):  # noqa: S311
        commit = 1_000 + number // 5 * 500
        value = envelopes.value(op, row, log=(commit, commit + number), at=row["updated_at"], before=before)
        producer.produce(topic, key=envelopes.key(row), value=value, headers=[(EPOCH_HEADER, b"1")])
        producer.poll(0)
        expected[tuple(row[name] for name in table.key)] = None if op == "d" else row
    producer.flush()
    return expected


def capture(settings: Settings, table: Table, count: int) -> dict[tuple[Any, ...], Row | None]:
    """Write the same history to Postgres and wait until Debezium has captured it; return the expected rows."""
    from operations import capture as pipeline
    from operations import migrate

    migrate.migrate_oltp(settings)
    migrate.migrate_catalog(settings)
    pipeline.apply(settings, lambda _line: None)
    (topic,) = table.captured_topics
    before = sum(clients.end_offsets(settings.kafka.bootstrap, [topic]).values())
    columns = [column.name for column in table.columns]
    keys = " AND ".join(f"{name} = %({name})s" for name in table.key)
    values = ", ".join(f"%({name})s" for name in columns)
    insert = f"INSERT INTO sales.orders ({', '.join(columns)}) VALUES ({values})"
    update = f"UPDATE sales.orders SET status = %(status)s, updated_at = %(updated_at)s WHERE {keys}"
    statements = {"c": insert, "u": update, "d": f"DELETE FROM sales.orders WHERE {keys}"}
    expected: dict[tuple[Any, ...], Row | None] = {}
    written = history(random.Random(time.time_ns()), count)  # noqa: S311
    with psycopg.connect(connections.oltp_conninfo(settings, "migrator")) as connection:
        for batch in iter(lambda: list(itertools.islice(written, 500)), []):
            with connection.transaction(), connection.pipeline():
                for op, row, _ in batch:
                    connection.execute(statements[op], row)
                    expected[tuple(row[name] for name in table.key)] = None if op == "d" else row
        found = connection.execute(f"SELECT {', '.join(columns)} FROM sales.orders").fetchall()
    while sum(clients.end_offsets(settings.kafka.bootstrap, [topic]).values()) < before + count:
        time.sleep(0.5)
    rows = [dict(zip(columns, values, strict=True)) for values in found]
    return expected | {tuple(row[name] for name in table.key): row for row in rows}
