"""Archives in a folder, filled without Kafka: events of a test's choice, as the worker would put them there."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from schemas.tables import EVENTS
from sinks.archive.batch import Batch
from sinks.archive.files import Codec, Datum
from sinks.archive.log import Log
from sinks.archive.manifest import Entry, Kind
from sinks.archive.reading import key_of, records
from sinks.archive.store import LocalStore

_OLTP = ("migrator", "app_writer", "cdc_reader", "reporter_reader", "retention")
_REPORTING = ("migrator", "writer", "reader", "retention")
ELSEWHERE = {  # settings that must be there, of servers that nobody asks
    "HEADRACE_OLTP": json.dumps({"host": "none"} | {f"{role}_password": "none" for role in _OLTP}),
    "HEADRACE_REPORTING": json.dumps({"host": "none", "port": 9} | {f"{role}_password": "none" for role in _REPORTING}),
    "HEADRACE_CATALOG__URI": "mongodb://none",
    "HEADRACE_KAFKA__BOOTSTRAP": "none:9",
    "HEADRACE_REGISTRY__URL": "http://none",
    "HEADRACE_CONNECT__URL": "http://none",
}
NOON = datetime(2026, 8, 3, 12, tzinfo=UTC)


def event(number: int, tenant: str = "tenant-001", **other: Any) -> Datum:
    """The event of a number, a minute after the one before."""
    at = other.pop("occurred_at", NOON + timedelta(minutes=number))
    return {
        "tenant_id": tenant,
        "event_day": at.date(),
        "event_id": f"00000000-0000-7000-8000-{number:012}",
        "aggregate_type": "order",
        "aggregate_id": f"{tenant}/order-{number}",
        "event_type": "OrderPlaced",
        "schema_version": 1,
        "payload": f'{{"number": {number}, "name": "São"}}',
        "occurred_at": at,
        "traceparent": None,
        "_topic": "shop.events.order",
        "_partition": 0,
        "_offset": number,
        "_epoch": 1,
    } | other


def append(log: Log, events: Iterable[Datum], codec: Codec = "zstandard") -> Entry:
    """One entry that adds events, in one file a folder."""
    key = key_of(EVENTS)
    with tempfile.TemporaryDirectory() as spool:
        batch = Batch(Path(spool), codec)
        for datum in events:
            batch.file(EVENTS, datum["tenant_id"], datum["event_day"]).write(key(datum), datum, datum["occurred_at"])
        entry = log.commit(log.draft(Kind.APPEND, added=batch.publish(log.store)))
        batch.discard()
    return entry


def open_log(folder: Path) -> Log:
    """The log of the archive in a folder, read anew."""
    return Log(LocalStore(folder), "test")


def ids(log: Log) -> list[str]:
    """The ids of all events that a reader sees, sorted."""
    return sorted(datum["event_id"] for datum in records(log, EVENTS))


def flip(path: Path, place: int = -40) -> None:
    """Changes one byte of a file: before its end, where a block's last bytes are."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def headrace(archive: Path | str, *arguments: str) -> subprocess.Popen[str]:
    """`headrace archive …` on the archive in a folder, and no server."""
    return subprocess.Popen(
        [sys.executable, "-m", "operations", "archive", *arguments],
        env=os.environ | ELSEWHERE | {"HEADRACE_ARCHIVE__URL": str(archive)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
