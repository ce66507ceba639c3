"""Measure how fast one sink worker lands a prepared backlog, at what cost, and check reporting afterwards.

    python -m bench.landing [--changes N] [--real]

The backlog is produced to a topic for this run, in the wire format of Debezium and its converter; with --real it is
written to Postgres and captured by Debezium. One worker process drains it into a generation for this run. The baseline,
in the same run on the same machine, is a loop that only consumes and decodes: the minimum cost of any sink in Python.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from typing import Any

import psycopg

from bench.landing_backlog import bench_table, capture, prepare
from bench.meter import Meter
from bench.servers import running_stack
from messaging import clients
from messaging.dead_letters import DeadLetters
from messaging.decoding import Decoding
from messaging.registry import Registry
from operations import connections
from operations.settings import Settings, load
from schemas.tables import ORDERS, Table
from sinks.reporting.postgres.driver import PostgresReporting
from sinks.reporting.worker import SinkLimits, SinkWorker
from tests.support.orders import Row

GENERATION = 90
PARTITIONS = 4


def main() -> None:
    """Prepare the backlog, measure both drains, and check reporting."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--changes", type=int, default=200_000)
    parser.add_argument("--real", action="store_true", help="write to Postgres and let Debezium capture it")
    parser.add_argument("--drain", choices=["naive", "worker"], help=argparse.SUPPRESS)
    parser.add_argument("--topic", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.drain:
        drain = drain_naively if arguments.drain == "naive" else drain_with_worker
        json.dump(drain(load(), arguments.topic), sys.stdout)
        return
    from operations import migrate  # here, as its libraries would count as a worker's memory

    with running_stack():
        settings = load()
        migrate.migrate_reporting(settings, settings.reporting.generation)
        migrate.migrate_reporting(settings, GENERATION)
        empty(settings)
        table = ORDERS if arguments.real else bench_table(f"bench_{int(time.time())}")
        expected = (capture if arguments.real else prepare)(settings, table, arguments.changes)
        naive = measure("naive", table)
        landed = measure("worker", table)
        show(arguments.changes, naive, landed)
        prove(settings, expected)


def empty(settings: Settings) -> None:
    """Delete an earlier run's rows from the benchmark's generation."""
    with psycopg.connect(connections.reporting_conninfo(settings, "migrator")) as connection:
        connection.execute(f"TRUNCATE reporting_g{GENERATION}.orders, reporting_g{GENERATION}.checkpoint")


def measure(what: str, table: Table) -> dict[str, Any]:
    """Run one drain in a separate process, to measure its memory and CPU alone."""
    (topic,) = table.captured_topics
    command = [sys.executable, "-m", "bench.landing", "--drain", what, "--topic", topic]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def drain_naively(settings: Settings, topic: str) -> dict[str, Any]:
    """Consume and decode the backlog, and discard it."""
    bootstrap = settings.kafka.bootstrap
    registry = Registry(settings.registry.url)
    consumer = clients.consumer(bootstrap, "bench-naive")
    starts = clients.partitions(bootstrap, [topic])
    for each in starts:
        each.offset = 0
    remaining = sum(clients.end_offsets(bootstrap, [topic]).values())
    consumer.assign(starts)
    meter = Meter()
    while remaining:
        for message in consumer.consume(10_000, 0.1):
            registry.decode(message.value())
            remaining -= 1
            meter.count += 1
        meter.sample()
    consumer.close()
    return meter.result()


def drain_with_worker(settings: Settings, topic: str) -> dict[str, Any]:
    """Run one sink worker until every checkpoint is at the end of its partition."""
    bootstrap = settings.kafka.bootstrap
    table = bench_table(topic.split(".")[1])
    worker = SinkWorker(
        bootstrap=bootstrap,
        group=f"bench-{topic}",
        reporting=PostgresReporting(connections.reporting_conninfo(settings, "writer"), GENERATION),
        decoding=Decoding(Registry(settings.registry.url), [table]),
        dead_letters=DeadLetters(clients.producer(bootstrap), "bench"),
        tables=[table],
        pace=SinkLimits(linger=0.05),
    )
    total = sum(clients.end_offsets(bootstrap, [topic]).values())
    meters: list[Meter] = []

    def watch() -> None:
        while (landed := sum(worker.landed_offsets().values())) < total:
            if landed == 0 and worker.landed_offsets():
                meters[:] = [Meter()]  # measured from the assignment on
            time.sleep(0.02)
            if meters:
                meters[0].count = landed
                meters[0].sample()
        meters[0].count = total
        worker.stop()

    threading.Thread(target=watch).start()
    worker.run()
    return meters[0].result()


def show(count: int, naive: dict[str, Any], landed: dict[str, Any]) -> None:
    """Print both drains and their ratio."""
    load = f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"landing {count:,} changes of orders, one process, Postgres adapter (the machine's load: {load})")
    for name, each in (("consume + decode only", naive), ("sink worker", landed)):
        memory = f"peak {each['peak']} MB ({each['half_way']} MB half way)"
        print(f"  {name:22} {each['rate']:>8,.0f} records/s  {each['cpu']:5.1f} µs CPU a record  {memory}")
    print(f"  landing runs at {landed['rate'] / naive['rate']:.2f} of the speed of decoding alone")


def prove(settings: Settings, expected: dict[tuple[Any, ...], Row | None]) -> None:
    """Compare every row; exit with 1 if one differs."""
    columns = [column.name for column in ORDERS.columns]
    query = f"SELECT {', '.join(columns)}, _deleted FROM reporting_g{GENERATION}.orders"
    wrong = 0
    with psycopg.connect(connections.reporting_conninfo(settings, "writer")) as connection:
        found = connection.execute(query).fetchall()
    for *values, deleted in found:
        row = dict(zip(columns, values, strict=True))
        key = tuple(row[name] for name in ORDERS.key)
        wrong += expected.get(key, row) != (None if deleted else row)
    if wrong or len(found) != len(expected):
        sys.exit(f"  DIFFERENT: {wrong} rows differ; {len(expected):,} expected, {len(found):,} found")
    deleted = sum(row is None for row in expected.values())
    print(f"  source = report: {len(found):,} rows equal, {deleted:,} of them deleted")


if __name__ == "__main__":
    main()
