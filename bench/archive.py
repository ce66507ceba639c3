"""Measure how fast events are archived, and their compressed size.

    python -m bench.archive [--events N] [--rounds N]

The same records are written in one process, several times by each method: fastavro alone, which writes one file
without manifest, layout, checksums or sync (the upper limit); Headrace's batch with all of these; JSON lines through
gzip. Then a worker process drains the same events from Kafka, to measure its memory and its rate with decoding.
"""

import argparse
import gc
import gzip
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import fastavro
import orjson
from confluent_kafka.admin import NewTopic

from bench.meter import peak_mb
from bench.servers import running_stack
from messaging import clients
from messaging.dead_letters import DeadLetters
from messaging.decoding import Decoding
from messaging.registry import Registry
from operations.settings import load
from schemas.decoders import outbox
from schemas.tables import EVENTS, Table
from schemas.wire import EPOCH_HEADER
from sinks.archive.batch import ArchiveBatch, spooling
from sinks.archive.files import BLOCK_BYTES, ORIGIN, schema
from sinks.archive.log import Log
from sinks.archive.manifest import Kind
from sinks.archive.store import open_store
from sinks.archive.worker import ArchiveWorker, Rolling
from tests.support.outbox import Outbox, events

TOPIC = "shop.events.order"
BEGIN = datetime(2026, 8, 3, tzinfo=UTC)
Event = tuple[tuple[Any, ...], dict[str, Any], datetime]


def main() -> None:
    """Measure each method; exit with 1 if an event is not in the archive afterwards."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--drain", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.drain:
        json.dump(drain(arguments.drain, arguments.events), sys.stdout)
        return
    records = prepared(arguments.events)
    raw = sum(len(orjson.dumps(datum)) + 1 for _, datum, _ in records)
    gc.freeze()
    ways = {"fastavro alone": alone, "headrace": archived, "gzip JSON lines": zipped}
    best: dict[str, tuple[float, int]] = {}
    for _ in range(arguments.rounds):
        for name, way in ways.items():
            seconds, size = way(records)
            best[name] = (min(seconds, best.get(name, (seconds, 0))[0]), size)
    show(best, len(records), raw)
    with running_stack():
        show_worker(arguments.events)


def prepared(count: int) -> list[Event]:
    """Events as the worker has them once they are decoded: key, record, time."""
    decode = outbox.decoder(EVENTS)
    names = [column.name for column in EVENTS.columns]
    found: list[Event] = []
    for offset, event in enumerate(events(1, count, begin=BEGIN)):
        change = decode(None, event, 1, offset)
        origin = dict(zip(ORIGIN, (TOPIC, 0, offset, 1), strict=True))
        found.append((change.key, dict(zip(names, change.row or (), strict=True)) | origin, change.source_time))
    return found


def alone(records: list[Event]) -> tuple[float, int]:
    """Write with fastavro's own writer; return seconds and bytes."""
    with tempfile.TemporaryFile() as file:
        began = time.perf_counter()
        data = (datum for _, datum, _ in records)
        fastavro.writer(file, schema(EVENTS), data, codec="zstandard", sync_interval=BLOCK_BYTES)
        return time.perf_counter() - began, file.tell()


def archived(records: list[Event]) -> tuple[float, int]:
    """Write a batch, publish it and add it to the manifest; return seconds and bytes."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        store = open_store(f"{folder}/archive")
        log = Log(store, "bench")
        with spooling(store) as spool:
            began = time.perf_counter()
            batch = ArchiveBatch(spool)
            for key, datum, at in records:
                file = batch.file(EVENTS, key[0], datum["event_day"])
                file.write(key, datum, at)
                file.note(TOPIC, datum["_offset"])
            files = batch.publish(store)
            log.commit(log.draft(Kind.APPEND, added=files))
            batch.discard()
            return time.perf_counter() - began, sum(file.size for file in files)


def zipped(records: list[Event]) -> tuple[float, int]:
    """Write one JSON line an event through gzip at its default level; return seconds and bytes."""
    with tempfile.TemporaryFile() as file:
        began = time.perf_counter()
        with gzip.open(file, "wb", compresslevel=6) as lines:
            for _, datum, _ in records:
                lines.write(orjson.dumps(datum) + b"\n")
        return time.perf_counter() - began, file.tell()


def show(best: dict[str, tuple[float, int]], count: int, raw: int) -> None:
    """Print each method's best round, compared with fastavro alone and with raw JSON."""
    print(f"archiving {count:,} events of {raw / count:.0f} bytes as JSON; the best round of each")
    limit = best["fastavro alone"][0]
    for name, (seconds, size) in best.items():
        rate = f"{count / seconds:>9,.0f} events/s  {limit / seconds:4.0%} of fastavro alone"
        print(f"  {name:16} {rate}  {size / count:6.1f} bytes an event, {size / raw:.1%} of raw JSON")


def show_worker(count: int) -> None:
    """Fill a topic, drain it in a separate process, and print its rate and memory."""
    settings = load()
    name = f"bench_archive_{int(time.time())}"
    bootstrap = settings.kafka.bootstrap
    topic = f"shop.events.{name}"
    clients.admin(bootstrap).create_topics([NewTopic(topic, 4, 1)])[topic].result()
    source = Outbox(Registry(settings.registry.url), events_of(name))
    producer = clients.producer(bootstrap, linger_ms=50, queue_buffering_max_messages=1_000_000)
    for event in events(1, count, begin=BEGIN):
        headers = [(EPOCH_HEADER, b"1")]
        producer.produce(topic, key=event["aggregate_id"], value=source.value(event), headers=headers)
        producer.poll(0)
    producer.flush()
    command = [sys.executable, "-m", "bench.archive", "--events", str(count), "--drain", name]
    done = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.splitlines()[-1])
    print(
        f"  a worker, from Kafka, decoding included: {done['rate']:,.0f} events/s, {done['cpu']:.1f} µs CPU an event, "
        f"{done['files']} files, peak {done['peak']} MB"
    )
    if done["rows"] != count:
        sys.exit(f"  {count - done['rows']} events are not in the archive")


def events_of(name: str) -> Table:
    """Return the table of events with a topic for this run only."""
    return replace(EVENTS, aggregates=(name,))


def drain(name: str, count: int) -> dict[str, Any]:
    """Run one worker until the archive has all records of the topic."""
    settings = load()
    table = events_of(name)
    bootstrap = settings.kafka.bootstrap
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        log = Log(open_store(f"{folder}/archive"), "bench")
        with spooling(log.store) as spool:
            worker = ArchiveWorker(
                bootstrap=bootstrap,
                group=name + str(time.time()),
                log=log,
                spool=spool,
                decoding=Decoding(Registry(settings.registry.url), [table]),
                dead_letters=DeadLetters(clients.producer(bootstrap), "bench"),
                tables=[table],
                rolling=Rolling(age=5.0),
            )
            while not sum(worker.spooled_offsets().values()):
                worker.turn()
            wall, cpu = time.perf_counter(), time.process_time()
            begun = sum(worker.spooled_offsets().values())
            while sum(worker.spooled_offsets().values()) < count:
                worker.turn()
            worker.publish()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            worker.close()
        files = log.manifest().files.values()
        return {
            "rows": sum(file.rows for file in files),
            "files": len(files),
            "rate": (count - begun) / wall,
            "cpu": cpu / (count - begun) * 1e6,
            "peak": peak_mb(),
        }


if __name__ == "__main__":
    main()
