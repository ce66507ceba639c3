"""Measure `headrace verify` and a rebuild of the report, compared with lower bounds.

    python -m bench.verify [--rows N]

N rows of orders, order lines and payments are written to Postgres, captured by Debezium and landed. Then, in one run on
one machine:

- COPY: read the source's three tables with COPY and discard them: nothing that reads every row can be faster
- verify: `headrace verify`, with checksums and bisection in both databases and recomputed catalog columns; it must find
  all rows equal. Counts the source's rows; it reads as many in reporting
- rebuild: the two workers of a new generation, from the topics, until they have processed everything
- JDBC sink: Debezium's, from the same topics into the same columns of a scratch schema. It enriches nothing, and stores
  neither positions nor deleted rows

Rates are measured from the first processed record to the last, so start-up does not count. Both results are compared
with the source, row by row.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console

from bench import jdbc_sink
from bench.servers import running_pipeline
from bench.verify_rows import write_rows
from messaging import clients
from operations import capture, connections, local_workers, migrate
from operations.probe import connect_probe
from operations.replay import drop
from operations.replay.progress import read_progress
from operations.settings import Settings
from operations.verify.run import verify
from schemas.tables import ORDER_LINES, ORDERS, PAYMENTS, Table

TABLES = (ORDERS, ORDER_LINES, PAYMENTS)
TOPICS = {table.captured_topics[0]: table for table in TABLES}
SCRATCH = "bench_jdbc"
DEADLINE_S = 1_200.0
POLL_S = 0.25


def main() -> None:
    """Write the rows, measure all four, and print the rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=200_000)
    rows = parser.parse_args().rows
    jdbc_sink.fetch()
    with running_pipeline() as (settings, stack), tempfile.TemporaryDirectory(prefix="headrace-jdbc-") as folder:
        prepare(settings, rows // 4)
        rates = {"COPY out of Postgres": copied(settings), "headrace verify": verified(settings)}
        rates["headrace rebuild"] = rebuilt(settings, stack)
        rates["Debezium's JDBC sink"] = sunk(settings, Path(folder))
        show(rows, rates)


def prepare(settings: Settings, orders: int) -> None:
    """Write catalog and rows, and wait until they have landed."""
    write_rows(settings, orders)
    until(lambda: (captured(settings), 4 * orders), "captured")
    probe = connect_probe(settings)
    until(lambda: totals(probe), "landed")


def captured(settings: Settings) -> int:
    """Return the number of records in the three topics."""
    return sum(clients.end_offsets(settings.kafka.bootstrap, TOPICS).values())


def totals(probe: Any) -> tuple[int, int]:
    """Return how many records of the three topics and the enriched one are processed, and how many exist."""
    mine = {*TOPICS, *(topic for table in probe.pipeline.tables for topic in table.landed_topics if table.enrichment)}
    topics = [each for each in read_progress(probe) if each.topic in mine]
    return sum(each.done for each in topics), sum(each.total for each in topics)


def until(progress: Callable[[], tuple[int, int]], what: str) -> float:
    """Wait until all records are processed; return the rate in records a second, from the first one on."""
    end = time.monotonic() + DEADLINE_S
    first: tuple[float, int] | None = None
    while True:
        done, total = progress()
        now = time.monotonic()
        if done and first is None:
            first = now, done
        if first is not None and done >= total:
            seconds = now - first[0]
            print(f"  {what}: {total:,} records, the last {total - first[1]:,} of them in {seconds:.1f} s", flush=True)
            return (total - first[1]) / seconds if seconds else 0.0
        if now > end:
            raise TimeoutError(f"{what}: {done:,} of {total:,} after {DEADLINE_S:.0f} s")
        time.sleep(POLL_S)


def copied(settings: Settings) -> float:
    """Return the rows a second that COPY reads from the source."""
    began, rows = time.perf_counter(), 0
    with connections.oltp(settings, "reporter_reader") as connection:
        for table in TABLES:
            with connection.cursor().copy(f"COPY (SELECT * FROM sales.{table.name}) TO STDOUT".encode()) as copy:
                rows += sum(bytes(block).count(b"\n") for block in copy)
    return rows / (time.perf_counter() - began)


def verified(settings: Settings) -> float:
    """Return the source's rows a second that verify compares."""
    began = time.perf_counter()
    result = verify(settings, deadline_s=DEADLINE_S)
    seconds = time.perf_counter() - began
    assert result.equal, "verify found a difference"
    return sum(table.source for table in result.tables) / seconds


def rebuilt(settings: Settings, stack: Path) -> float:
    """Return the captured rows a second that a new generation's workers enrich and land."""
    new = migrate.begin_generation(settings)
    try:
        capture.make_topics(settings)
        local_workers.start_generation(stack, new.number, 0)
        probe = connect_probe(settings, new.number)
        records = until(lambda: totals(probe), "rebuilt")
        _, total = totals(probe)
        assert verify(settings, deadline_s=DEADLINE_S, generation=new.number).equal, "the rebuild differs"
        return records * captured(settings) / total  # an order line counts once, though it is enriched and landed
    finally:
        drop.abort(settings, stack, Console(quiet=True))


def sunk(settings: Settings, folder: Path) -> float:
    """Return the captured rows a second that the JDBC sink lands, in tables with the source's columns and keys."""
    bootstrap = settings.kafka.bootstrap
    live = connect_probe(settings).report
    with psycopg.connect(connections.reporting_conninfo(settings, "migrator"), autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {SCRATCH} CASCADE".encode())
        connection.execute(f"CREATE SCHEMA {SCRATCH}".encode())
        for table in TABLES:
            columns = ", ".join(column.name for column in table.columns)
            source = f"reporting_g{live.generation}.{table.name}"
            name = f"{SCRATCH}.{table.name}"
            connection.execute(f"CREATE TABLE {name} AS SELECT {columns} FROM {source} WHERE false".encode())
            connection.execute(f"ALTER TABLE {name} ADD PRIMARY KEY ({', '.join(table.key)})".encode())

        def progress() -> tuple[int, int]:
            check()
            done = sum(jdbc_sink.done(bootstrap, topic, table) for topic, table in TOPICS.items())
            return done, captured(settings)

        with jdbc_sink.running(settings, folder, SCRATCH, TOPICS) as check:
            rate = until(progress, "the JDBC sink")
        for table in TABLES:
            prove(connection, table, live.generation)
        connection.execute(f"DROP SCHEMA {SCRATCH} CASCADE".encode())
    return rate


def prove(connection: psycopg.Connection[Any], table: Table, generation: int) -> None:
    """Check that the sink's rows equal those in reporting, column by column."""
    columns = ", ".join(column.name for column in table.columns)
    ours, theirs = f"reporting_g{generation}.{table.name}", f"{SCRATCH}.{table.name}"
    query = f"SELECT count(*) FROM (SELECT {columns} FROM {ours} EXCEPT SELECT {columns} FROM {theirs}) AS d"
    found = connection.execute(query.encode()).fetchone()
    assert found == (0,), f"the JDBC sink differs in {table.name}"


def show(rows: int, rates: dict[str, float]) -> None:
    """Print all four rates, and how they compare."""
    load = f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"{rows:,} rows of orders, order lines and payments in Postgres (the machine's load: {load})")
    for name, rate in rates.items():
        print(f"  {name:22} {rate:>9,.0f} rows/s")
    copy, proof, ours, theirs = rates.values()
    print(f"  verify runs at {proof / copy:.2f} of COPY, a rebuild at {ours / theirs:.2f} times the JDBC sink")


if __name__ == "__main__":
    main()
