"""Fill archives in a local folder without Kafka, with files like those of the archive worker."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

from schemas.tables import EVENTS, ORDER_LINES, Table
from sinks.archive.batch import ArchiveBatch
from sinks.archive.erasure import ERASURE_RECORD, ErasureRecord, erasure_record_name
from sinks.archive.files import Codec, Datum
from sinks.archive.log import Log, with_checksum
from sinks.archive.manifest import Erasure, Kind, ManifestEntry
from sinks.archive.reader import instant_of, key_of, records
from sinks.archive.store import LocalStore

_OLTP = ("migrator", "app_writer", "cdc_reader", "reporter_reader", "retention")
_REPORTING = ("migrator", "writer", "reader", "retention")
ELSEWHERE = {  # required settings of servers that are never used
    "HEADRACE_OLTP": json.dumps({"host": "none"} | {f"{role}_password": "none" for role in _OLTP}),
    "HEADRACE_REPORTING": json.dumps({"host": "none", "port": 9} | {f"{role}_password": "none" for role in _REPORTING}),
    "HEADRACE_CATALOG__URI": "mongodb://none",
    "HEADRACE_KAFKA__BOOTSTRAP": "none:9",
    "HEADRACE_REGISTRY__URL": "http://none",
    "HEADRACE_CONNECT__URL": "http://none",
}
NOON = datetime(2026, 8, 3, 12, tzinfo=UTC)


def event(number: int, tenant: str = "tenant-001", **other: Any) -> Datum:
    """Return the event of a number; each event is a minute after the one with the previous number."""
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


def order_line(order: str, line: int, tenant: str = "tenant-001", **other: Any) -> Datum:
    """Return a row of August 2026, as retention archives it."""
    row: Datum = {column.name: None if column.nullable else "x" for column in ORDER_LINES.columns}
    row |= {"tenant_id": tenant, "order_month": date(2026, 8, 1), "order_id": order, "line_no": line, "quantity": 1}
    row |= dict.fromkeys(("unit_price", "freight"), Decimal("1.0000"))
    return row | dict.fromkeys(("priced_at", "created_at", "updated_at"), NOON) | other


def append(log: Log, rows: Iterable[Datum], table: Table = EVENTS, *, codec: Codec = "zstandard") -> ManifestEntry:
    """Commit one entry that adds records, in one file for each folder."""
    key, at, day = key_of(table), instant_of(table), str(table.ages_by)
    with tempfile.TemporaryDirectory() as spool:
        batch = ArchiveBatch(Path(spool), codec)
        for datum in rows:
            batch.file(table, datum["tenant_id"], datum[day]).write(key(datum), datum, at(datum))
        entry = log.commit(log.draft(Kind.APPEND, added=batch.publish(log.store)))
        batch.discard()
    return entry


def erase(log: Log, events: Mapping[str, list[str]], *, removed: tuple[str, ...] = ()) -> Erasure:
    """Commit the erasure of some records of tenant-001, by table, without rewriting the files that hold them."""
    erasure = Erasure(id=str(uuid4()), tenant="tenant-001", subject_sha256="", events=dict(events))
    draft = log.draft(Kind.ERASE, erasure=erasure, removed=removed)
    kept = ErasureRecord(by=draft.by, at=draft.at, erasure=erasure, offsets={})
    log.store.put(erasure_record_name(erasure), [with_checksum(ERASURE_RECORD, kept)])
    log.commit(draft)
    return erasure


def open_log(folder: Path) -> Log:
    """Open the log of the archive in a folder."""
    return Log(LocalStore(folder), "test")


def ids(log: Log) -> list[str]:
    """Return the ids of all events that a reader sees, sorted."""
    return sorted(datum["event_id"] for datum in records(log, EVENTS))


def flip(path: Path, place: int = -40) -> None:
    """Change one byte of a file, by default within the last block."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def headrace(archive: Path | str, *arguments: str, under: Sequence[str] = ()) -> subprocess.Popen[str]:
    """Start `headrace archive …` on the archive in a folder, without servers; `under` is a command to start it with."""
    return subprocess.Popen(
        [*under, sys.executable, "-m", "operations", "archive", *arguments],
        env=os.environ | ELSEWHERE | {"HEADRACE_ARCHIVE__URL": str(archive)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
