"""How fast one sink worker lands a prepared backlog, at what cost, and whether reporting is right afterwards.

    python -m bench.landing [--changes N] [--naive-only]

The backlog is produced here, in the wire format that Debezium and its converter write, into a topic of the run's own;
one worker process drains it into a generation of the run's own. The naive baseline, in the same run on the same
machine, is a loop that only consumes and decodes: what any sink in Python pays before it has done anything.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka.admin import NewTopic

from bench.envelopes import Envelopes
from kafka import clients
from kafka.dead_letters import DeadLetters
from kafka.decoding import Decoding
from kafka.registry import Registry
from operations import connections
from operations.settings import Settings, load
from schemas.tables import ORDERS, Table
from schemas.wire import EPOCH_HEADER
from sinks.postgres import PostgresReporting
from sinks.worker import Pace, SinkWorker
from stack import supervisor

GENERATION = 90
PARTITIONS = 4
Row = dict[str, Any]


def main() -> None:
    """Prepares, measures twice, proves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--changes", type=int, default=200_000)
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
        table = bench_table(f"bench_{int(time.time())}")
        expected = prepare(settings, table, arguments.changes)
        naive = measure("naive", table)
        landed = measure("worker", table)
        show(arguments.changes, naive, landed)
        prove(settings, expected)


def bench_table(schema: str) -> Table:
    """Orders, captured to a topic of this run's own."""
    return replace(ORDERS, schema=schema)


@contextmanager
def running_stack() -> Iterator[None]:
    """The stack of HEADRACE_STACK_DIR where that is set, else one for this run."""
    if "HEADRACE_STACK_DIR" in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        path = Path(folder) / "stack"
        os.environ["HEADRACE_STACK_DIR"] = str(path)
        try:
            supervisor.up(path)
            yield
        finally:
            supervisor.down(path, wipe=True)


def prepare(settings: Settings, table: Table, count: int) -> dict[tuple[Any, ...], Row | None]:
    """Produces the backlog; returns what reporting must hold in the end, None for a deleted row."""
    (topic,) = table.captured_topics
    bootstrap = settings.kafka.bootstrap
    admin = clients.admin(bootstrap)
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result()
    with psycopg.connect(connections.reporting_conninfo(settings, "migrator")) as connection:
        connection.execute(f"TRUNCATE reporting_g{GENERATION}.orders, reporting_g{GENERATION}.checkpoint")
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


def history(chance: random.Random, count: int) -> Iterator[tuple[str, Row, Row | None]]:
    """Orders as they live: placed, changed a few times, some deleted; many at a time."""
    alive: list[Row] = []
    clock = datetime(2026, 11, 1, tzinfo=UTC)
    statuses = ("approved", "invoiced", "shipped", "delivered", "cancelled")
    for number in range(count):
        clock += timedelta(microseconds=chance.randrange(1, 20_000_000))
        dice = chance.random()
        if dice < 0.55 or not alive:
            row = order(chance, number, clock)
            alive.append(row)
            yield "c", row, None
            continue
        place = chance.randrange(max(0, len(alive) - 5_000), len(alive))
        before = alive[place]
        if dice > 0.97:
            alive[place] = alive[-1]
            alive.pop()
            yield "d", before, None
            continue
        alive[place] = before | {"status": chance.choice(statuses), "updated_at": clock, "updated_by": "shop"}
        yield "u", alive[place], before


def order(chance: random.Random, number: int, clock: datetime) -> Row:
    """One order, of a few hundred tenants with a heavy head."""
    row: Row = {column.name: None for column in ORDERS.columns}
    return row | {
        "tenant_id": f"seller-{int(chance.paretovariate(0.8)) % 300:04d}",
        "order_month": date(2026, 11, 1),
        "order_id": f"{chance.getrandbits(128):032x}",
        "customer_id": f"{chance.getrandbits(128):032x}",
        "status": "placed",
        "total": Decimal(chance.randrange(100, 5_000_000)).scaleb(-4),
        "currency": "BRL",
        "placed_at": clock,
        "created_at": clock,
        "created_by": "shop",
        "updated_at": clock,
        "updated_by": f"shop-{number % 7}",
    }


def measure(what: str, table: Table) -> dict[str, Any]:
    """Runs one drain in a process of its own, so that its memory and CPU are its own."""
    (topic,) = table.captured_topics
    command = [sys.executable, "-m", "bench.landing", "--drain", what, "--topic", topic]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def drain_naively(settings: Settings, topic: str) -> dict[str, Any]:
    """Consumes and decodes the backlog, and does nothing with it."""
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
    """One sink worker until every checkpoint stands at the end."""
    bootstrap = settings.kafka.bootstrap
    table = bench_table(topic.split(".")[1])
    worker = SinkWorker(
        bootstrap=bootstrap,
        group=f"bench-{topic}",
        reporting=PostgresReporting(connections.reporting_conninfo(settings, "writer"), GENERATION),
        decoding=Decoding(Registry(settings.registry.url), [table]),
        dead_letters=DeadLetters(clients.producer(bootstrap), "bench"),
        tables=[table],
        pace=Pace(linger=0.05),
    )
    total = sum(clients.end_offsets(bootstrap, [topic]).values())
    meters: list[Meter] = []

    def watch() -> None:
        while (landed := sum(worker.landed_offsets().values())) < total:
            if landed == 0 and worker.landed_offsets():
                meters[:] = [Meter()]  # the clock starts with the assignment
            time.sleep(0.02)
            if meters:
                meters[0].count = landed
                meters[0].sample()
        meters[0].count = total
        worker.stop()

    threading.Thread(target=watch).start()
    worker.run()
    return meters[0].result()


class Meter:
    """Wall time, CPU and memory of this process while it handles `count` records."""

    def __init__(self) -> None:
        self.count = 0
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        self._memory: list[int] = []

    def sample(self) -> None:
        """Notes the memory in use."""
        self._memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)

    def result(self) -> dict[str, Any]:
        """Records a second, CPU in µs a record, peak MB, and the peak as it was half way."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return {
            "records": self.count,
            "rate": self.count / wall,
            "cpu": cpu / self.count * 1e6,
            "peak": self._memory[-1],
            "half_way": self._memory[len(self._memory) // 2],
        }


def show(count: int, naive: dict[str, Any], landed: dict[str, Any]) -> None:
    """Prints both, and how they compare."""
    print(f"landing {count:,} changes of orders, one process, Postgres adapter")
    for name, each in (("consume + decode only", naive), ("sink worker", landed)):
        memory = f"peak {each['peak']} MB ({each['half_way']} MB half way)"
        print(f"  {name:22} {each['rate']:>8,.0f} records/s  {each['cpu']:5.1f} µs CPU a record  {memory}")
    print(f"  landing runs at {landed['rate'] / naive['rate']:.2f} of the speed of decoding alone")


def prove(settings: Settings, expected: dict[tuple[Any, ...], Row | None]) -> None:
    """Compares every row. Exits with 1 where one differs."""
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
