"""Measure one enrichment worker on a backlog of order line changes, and check every line of its output.

    python -m bench.enrichment [--lines 200000] [--skus 10000]

The baseline, in the same run, is a plain confluent-kafka loop with the same join and decoding, but without Faust, acks,
dead letters or waiting.
"""

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from multiprocessing import get_context
from typing import Any, cast

import psutil
from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from messaging import clients
from messaging.decoding import Decoding
from messaging.delivery import ConfirmedProducer
from messaging.registry import Registry
from operations.settings import load
from schemas.decoders.values import microseconds
from schemas.tables import ORDER_LINES
from streams.asof import CatalogEntry, as_of
from streams.catalog import Catalog
from streams.enrich import decided, enricher
from streams.serializer import serializer
from streams.wiring import Wiring
from tests.support.enrich_worker import command
from tests.support.enrichment_world import Product, World

T0 = datetime(2026, 1, 1, tzinfo=UTC)
SEED = 17


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One drain: records, wall and CPU seconds, and resident memory in MB (after start, at the peak)."""

    name: str
    records: int
    wall: float
    cpu: float
    settled: float
    peak: float

    def __str__(self) -> str:
        return (
            f"{self.name:28} {self.records / self.wall:9,.0f}/s {self.cpu / self.records * 1e6:7.0f} CPU µs a message"
            f"   memory {self.settled:4.0f} → {self.peak:4.0f} MB"
        )


def prepare(world: World, lines: int, skus: int) -> Catalog:
    """Fill the topics; return the catalog for the expected join."""
    chance = random.Random(SEED)  # noqa: S311  # the same backlog each time
    known = Catalog()
    products: list[Product] = [(f"tenant-{number % 50}", f"sku-{number}") for number in range(skus)]
    for product in products:
        for day in sorted(chance.sample(range(100), 3)):
            at, price = T0 + timedelta(days=day), Decimal(chance.randint(1, 99_999)).scaleb(-2)
            world.price(product, at, str(price), name=f"product {product[1]}")
            known.add(product, CatalogEntry(microseconds(at), f"product {product[1]}", "home", price))
    world.beat(T0 + timedelta(days=400))
    for number in range(lines):
        at = T0 + timedelta(days=chance.random() * 120)
        world.put(world.line(chance.choice(products), f"order-{number}", at))
    world.flush()
    return known


def drain(world: World, lines: int) -> Measure:
    """Run one worker, as `headrace run enrich` does, until all lines are acked."""
    log = tempfile.TemporaryFile("w+")  # noqa: SIM115  # of the worker, shown if it fails
    worker = subprocess.Popen(command(world.wiring, world.group), stderr=log)
    measure = _watched(psutil.Process(worker.pid), lambda: _end(world), lines, f"headrace enrich, {lines:,}")
    eventually = time.monotonic() + 30
    while world.committed() < lines:
        assert time.monotonic() < eventually, f"acked {world.committed()} of {lines}"
        time.sleep(0.2)
    worker.terminate()
    code = worker.wait(60)
    log.seek(0)
    assert code == 0, f"the worker ended with {code}:\n{log.read()}"
    log.close()
    return measure


def baseline(world: World, lines: int) -> Measure:
    """Run the same join in a plain loop. It writes to the pending topic, which is otherwise empty."""
    worker = get_context("spawn").Process(target=_plain, args=(world.wiring, lines), daemon=True)
    worker.start()
    pending = world.wiring.pending
    ends = lambda: sum(clients.end_offsets(world.wiring.bootstrap, [pending]).values())  # noqa: E731
    measure = _watched(psutil.Process(worker.pid), ends, lines, f"plain confluent-kafka, {lines:,}")
    worker.join(30)
    return measure


def prove(world: World, known: Catalog, lines: int) -> None:
    """Check that every line came out, with the catalog entry of the expected join."""
    landed = world.landed()
    assert len(landed.newest) == lines, f"{len(landed.newest)} of {lines} lines came out"
    for key in landed.newest:
        row = landed.row(key)
        assert row is not None
        entry = as_of(known.history((row["tenant_id"], row["sku"])), microseconds(row["priced_at"]))
        assert entry is not None
        names = [column.name for column in ORDER_LINES.enrichment]
        assert tuple(row[name] for name in names) == decided(entry), row


def _end(world: World) -> int:
    return sum(clients.end_offsets(world.wiring.bootstrap, [world.wiring.enriched]).values())


def _watched(process: psutil.Process, done: Callable[[], int], lines: int, name: str) -> Measure:
    """Measure from the first output record to the last, so that start-up does not count."""
    began, first, cpu, settled, peak = 0.0, 0, 0.0, 0.0, 0.0
    while True:
        count = done()
        memory = process.memory_info().rss / 1e6
        peak = max(peak, memory)
        times = process.cpu_times()
        if not began and count:
            began, first, cpu, settled = time.monotonic(), count, times.user + times.system, memory
        if count >= lines:
            wall = time.monotonic() - began
            used = times.user + times.system - cpu
            return Measure(name=name, records=count - first, wall=wall, cpu=used, settled=settled, peak=peak)
        time.sleep(0.1)


def _plain(wiring: Wiring, lines: int) -> None:
    registry = Registry(wiring.registry_url)
    decoding, enrich = Decoding(registry), enricher(ORDER_LINES)
    serialize = serializer(ORDER_LINES, registry, wiring.enriched)
    producer = ConfirmedProducer(clients.producer(wiring.bootstrap))
    catalog = _catalog(wiring)
    reader = clients.consumer(wiring.bootstrap, "bench-plain")
    partitions = clients.partitions(wiring.bootstrap, [wiring.lines])
    reader.assign([TopicPartition(each.topic, each.partition, OFFSET_BEGINNING) for each in partitions])
    topic = ORDER_LINES.captured_topics[0]
    while lines:
        for message in reader.consume(1_000, 0.2):
            assert message.error() is None, message.error()
            headers = cast(Any, message.headers())
            change = decoding.change(topic, message.key(), message.value(), headers, int(message.offset() or 0))
            assert change is not None
            value = serialize(enrich(change, catalog).change)
            producer.send(wiring.pending, message.key(), value, headers, int(message.partition() or 0))
            lines -= 1
        asyncio.run(producer.confirmed())


def _catalog(wiring: Wiring) -> Catalog:
    from streams.catalog_reader import CatalogReader

    catalog = Catalog()
    reader = CatalogReader(catalog, wiring, Registry(wiring.registry_url), lambda: cast(Any, None))
    reader.start()
    reader.loaded.wait(60)
    reader.stop()
    return catalog


def main() -> None:
    """Start a stack and run the benchmark on it."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--lines", type=int, default=200_000)
    options.add_argument("--skus", type=int, default=10_000)
    wanted = options.parse_args()
    from bench.servers import running_stack  # here: its libraries would count as the plain loop's memory

    with running_stack():
        settings = load()
        world = World(settings.kafka.bootstrap, settings.registry.url)
        try:
            measure(world, wanted.lines, wanted.skus)
        finally:
            world.close()


def measure(world: World, lines: int, skus: int) -> None:
    """Run and print both drains, and check the worker's output."""
    known = prepare(world, lines, skus)
    print(f"{lines:,} line changes, {skus:,} products, {os.cpu_count()} cores, seed {SEED}", flush=True)
    print(drain(world, lines), flush=True)
    print(baseline(world, lines), flush=True)
    prove(world, known, lines)
    print(f"checked: {lines:,} lines, each with the expected catalog entry")


if __name__ == "__main__":
    sys.exit(main())
