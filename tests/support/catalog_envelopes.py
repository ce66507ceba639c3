"""Price history and heartbeats as Debezium's MongoDB connector writes them, made without it."""

import io
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import fastavro
import orjson

from messaging.registry import Registry
from schemas.wire import frame

Avro = dict[str, Any]
_TOPIC = "shop.catalog.price_history"
_SOURCE = {"version": "3.6.1.Final", "connector": "mongodb", "name": "shop", "db": "catalog"}


class CatalogEnvelopes:
    """Keys and values of the catalog's topic; its schema is registered under the topic's subject."""

    def __init__(self, registry: Registry) -> None:
        schema = _envelope()
        self._id = registry.register(f"{_TOPIC}-value", schema)
        self._schema = fastavro.parse_schema(schema)

    def entry(
        self, product: tuple[str, str], valid_from: datetime, price: Decimal, **fields: str
    ) -> tuple[bytes, bytes]:
        """Key and value of an inserted entry of price_history; `fields` are name and category."""
        tenant, sku = product
        id_ = {"tenant_id": tenant, "sku": sku, "valid_from": _date(valid_from)}
        document = id_ | {"price": {"$numberDecimal": str(price)}, "currency": "BRL"} | fields
        return _key(id_), self._value({"_id": id_} | document, valid_from)

    def heartbeat(self, at: datetime, *, op: str = "u", logged: datetime | None = None) -> tuple[bytes, bytes]:
        """Key and value of the heartbeat document with the server's time `at`, logged then or at `logged`."""
        return _key("heartbeat"), self._value({"_id": "heartbeat", "at": _date(at)}, logged or at, op=op)

    def delete(self, product: tuple[str, str], valid_from: datetime, at: datetime) -> tuple[bytes, bytes]:
        """Key and value of an entry's delete, which the shop is not allowed to do."""
        tenant, sku = product
        return _key({"tenant_id": tenant, "sku": sku, "valid_from": _date(valid_from)}), self._value(None, at, op="d")

    def _value(self, document: Avro | None, at: datetime, op: str = "c") -> bytes:
        seconds = int(at.timestamp())
        times = {"ts_ms": seconds * 1000, "ts_us": seconds * 1_000_000, "ts_ns": seconds * 1_000_000_000}
        collection = "price_history" if document is None or document["_id"] != "heartbeat" else "heartbeat"
        snapshot = "true" if op == "r" else "false"
        source = _SOURCE | times | {"snapshot": snapshot, "sequence": None, "collection": collection, "ord": 1}
        after = None if document is None else orjson.dumps(document).decode()
        datum = {"before": None, "after": after, "source": source, "op": op, "transaction": None} | times
        body = io.BytesIO()
        body.write(frame(self._id))
        fastavro.schemaless_writer(body, self._schema, datum)
        return body.getvalue()


def _key(id_: Any) -> bytes:
    return orjson.dumps({"id": orjson.dumps(id_).decode()})


def _date(at: datetime) -> Avro:
    """MongoDB's dates have milliseconds."""
    return {"$date": int(at.astimezone(UTC).timestamp() * 1000)}


def _envelope() -> Avro:
    fields: list[Avro] = [_optional("before", "string"), _optional("after", "string")]
    fields += [_optional("updateDescription", _update()), {"name": "source", "type": _source()}]
    fields += [_optional("op", "string"), _optional("ts_ms", "long"), _optional("ts_us", "long")]
    fields += [_optional("ts_ns", "long"), _optional("transaction", _transaction())]
    return {"type": "record", "name": "Envelope", "namespace": _TOPIC, "fields": fields, "connect.version": 1}


def _update() -> Avro:
    truncated = {"type": "record", "name": "truncatedarray", "fields": [{"name": "field", "type": "string"}]}
    fields = [
        _optional("removedFields", {"type": "array", "items": "string"}),
        _optional("updatedFields", "string"),
        _optional("truncatedArrays", {"type": "array", "items": truncated}),
    ]
    return {"type": "record", "name": "updatedescription", "namespace": "io.debezium.mongodb", "fields": fields}


def _source() -> Avro:
    names = {"version": "string", "connector": "string", "name": "string", "ts_ms": "long"}
    fields: list[Avro] = [{"name": name, "type": type_} for name, type_ in names.items()]
    fields += [{"name": "snapshot", "type": ["string", "null"], "default": "false"}, {"name": "db", "type": "string"}]
    fields += [_optional("sequence", "string"), _optional("ts_us", "long"), _optional("ts_ns", "long")]
    fields += [{"name": "collection", "type": "string"}, {"name": "ord", "type": "int"}]
    return {"type": "record", "name": "Source", "namespace": "io.debezium.connector.mongo", "fields": fields}


def _transaction() -> Avro:
    return {"type": "record", "name": "block", "namespace": "event", "fields": [{"name": "id", "type": "string"}]}


def _optional(name: str, type_: str | Avro) -> Avro:
    return {"name": name, "type": ["null", type_], "default": None}
