"""Event records as Debezium's EventRouter writes them, made without Debezium: for backlogs, and for tests."""

import io
import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import fastavro
import orjson

from messaging.registry import Registry
from schemas.tables import Table
from schemas.wire import frame
from shop.events import uuid7

Fields = Mapping[str, Any]
_TEXTS = ("event_id", "tenant_id", "aggregate_type", "aggregate_id", "event_type", "payload", "occurred_at")


class Outbox:
    """Keys and values of one table of events; its schema is registered under its first topic's subject."""

    def __init__(self, registry: Registry, table: Table) -> None:
        fields: list[dict[str, Any]] = [{"name": name, "type": "string"} for name in _TEXTS]
        fields.append({"name": "schema_version", "type": "int"})
        fields.append({"name": "traceparent", "type": ["null", "string"], "default": None})
        (topic, *_) = table.captured_topics
        schema = {"type": "record", "name": "Event", "namespace": topic, "fields": fields}
        self.schema_id = registry.register(f"{topic}-value", schema)
        self._schema = fastavro.parse_schema(schema)

    def value(self, event: Fields) -> bytes:
        """The record's value."""
        body = io.BytesIO()
        body.write(frame(self.schema_id))
        fastavro.schemaless_writer(body, self._schema, event)
        return body.getvalue()


def events(seed: int, count: int, *, begin: datetime, tenants: int = 20, days: int = 3) -> Iterator[dict[str, Any]]:
    """`count` made-up events of orders, spread over `days` from `begin` on, in the order of their time."""
    dice = random.Random(seed)  # noqa: S311
    step = timedelta(days=days) / count
    for number in range(count):
        at = begin + number * step
        identity = dice.randbytes(34)
        order = dice.randbytes(16).hex()
        tenant = f"tenant-{dice.randrange(tenants):03}"
        payload = {
            "tenant_id": tenant,
            "order_id": order,
            "customer_id": dice.randbytes(16).hex(),
            "total": f"{dice.randrange(100_000) / 100:.2f}",
            "currency": "BRL",
            "lines": [
                {"line_no": line, "sku": f"sku-{dice.randrange(5_000)}", "quantity": 1, "unit_price": "19.90"}
                for line in range(1, 1 + dice.randrange(1, 4))
            ],
        }
        yield {
            "event_id": str(uuid7(at, identity)),
            "tenant_id": tenant,
            "aggregate_type": "order",
            "aggregate_id": order,
            "event_type": "OrderPlaced",
            "schema_version": 1,
            "payload": orjson.dumps(payload).decode(),
            "occurred_at": at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "traceparent": f"00-{identity[10:26].hex()}-{identity[26:34].hex()}-01",
        }
