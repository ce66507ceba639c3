"""Restore archived events to a topic in the format of captured events, so that the same consumers can read them.

The value holds the table's columns without the day, which consumers derive: texts and instants as text, numbers as
numbers.
"""

import io
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import fastavro
from confluent_kafka import Producer

from messaging.delivery import ConfirmedProducer
from messaging.registry import Registry
from schemas.tables import Column, Table
from schemas.types import Integer
from schemas.wire import EPOCH_HEADER, frame
from sinks.archive.files import Datum

CONFIRM_S = 60.0


def send_to_topic(producer: Producer, registry: Registry, table: Table, topic: str, records: Iterable[Datum]) -> int:
    """Send events to an existing topic, and return their number once the brokers have confirmed all of them.

    Raises Unavailable where they have not; the topic may hold a part of the events then.
    """
    columns = [column for column in table.columns if column.name != table.ages_by]
    value = _value(registry, topic, columns)
    confirmed, sent = ConfirmedProducer(producer, patience=CONFIRM_S, noun="restored event"), 0
    for datum in records:
        confirmed.send(topic, datum["aggregate_id"].encode(), value(datum), _headers(datum))
        sent += 1
    confirmed.confirm()
    return sent


def _value(registry: Registry, topic: str, columns: list[Column]) -> Callable[[Datum], bytes]:
    schema = {"type": "record", "name": "Event", "namespace": topic, "fields": [_field(column) for column in columns]}
    head, parsed = frame(registry.register(f"{topic}-value", schema)), fastavro.parse_schema(schema)
    names = [column.name for column in columns]

    def value(datum: Datum) -> bytes:
        body = io.BytesIO()
        body.write(head)
        fastavro.schemaless_writer(body, parsed, {name: _plain(datum[name]) for name in names})
        return body.getvalue()

    return value


def _field(column: Column) -> dict[str, Any]:
    plain = ("long" if column.type.big else "int") if isinstance(column.type, Integer) else "string"
    if column.nullable:
        return {"name": column.name, "type": ["null", plain], "default": None}
    return {"name": column.name, "type": plain}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value


def _headers(datum: Datum) -> list[tuple[str, str | bytes | None]]:
    epoch = max(1, datum["_epoch"])  # 0 for a backfilled event; an event's epoch orders nothing
    headers: list[tuple[str, str | bytes | None]] = [(EPOCH_HEADER, str(epoch).encode())]
    if datum.get("traceparent"):
        headers.append(("traceparent", datum["traceparent"].encode()))
    return headers
