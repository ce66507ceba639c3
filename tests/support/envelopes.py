"""Records as Debezium writes them, made without Debezium: for backlogs of any size, and for odd records in tests.

The schema is the one that Debezium 3.7 with Apicurio's converter registers for a Postgres table.
"""

import io
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import fastavro
import orjson

from messaging.registry import Registry
from schemas.tables import Column, Table
from schemas.types import Boolean, Date, Integer, Numeric, Timestamp
from schemas.wire import frame

Avro = dict[str, Any]
Fields = Mapping[str, Any]

_SOURCE = {
    "version": "3.7.0.Final",
    "connector": "postgresql",
    "name": "shop",
    "snapshot": "false",
    "db": "shop",
    "origin": None,
    "origin_lsn": None,
    "xmin": None,
}


class Envelopes:
    """Keys and values of one captured Postgres table; its schema is registered under the topic's subject."""

    def __init__(self, registry: Registry, table: Table) -> None:
        self._table = table
        schema = envelope(table)
        self.schema_id = registry.register(f"{table.captured_topics[0]}-value", schema)
        self._schema = fastavro.parse_schema(schema)

    def key(self, row: Fields) -> bytes:
        """The record's key: JSON without schema, as Connect's JsonConverter writes it."""
        return orjson.dumps({name: _json(row[name]) for name in self._table.key})

    def value(
        self, op: str, row: Fields, *, log: tuple[int, int] = (0, 0), at: datetime, before: Fields | None = None
    ) -> bytes:
        """The record's value; a delete's `row` is what was there before."""
        microseconds = int(at.timestamp() * 1_000_000)
        source = _SOURCE | {
            "ts_ms": microseconds // 1000,
            "ts_us": microseconds,
            "ts_ns": microseconds * 1000,
            "sequence": f'["{log[0]}","{log[1]}"]',
            "schema": self._table.schema,
            "table": self._table.name,
            "txId": log[0] % 1_000_000,
            "lsn": log[1],
        }
        datum = {
            "before": _avro_row(row if op == "d" else before),
            "after": None if op == "d" else _avro_row(row),
            "source": source,
            "transaction": None,
            "op": op,
            "ts_ms": microseconds // 1000,
            "ts_us": microseconds,
            "ts_ns": microseconds * 1000,
        }
        body = io.BytesIO()
        body.write(frame(self.schema_id))
        fastavro.schemaless_writer(body, self._schema, datum)
        return body.getvalue()


def envelope(table: Table) -> Avro:
    """Debezium's envelope for a table; `after` names the record that `before` defines."""
    name = table.captured_topics[0]
    value = {"type": "record", "name": "Value", "fields": [_field(column) for column in table.columns]}
    fields = [
        {"name": "before", "type": ["null", value], "default": None},
        {"name": "after", "type": ["null", "Value"], "default": None},
        {"name": "source", "type": _source()},
        {"name": "transaction", "type": ["null", _transaction()], "default": None},
        {"name": "op", "type": "string"},
    ]
    fields += [_optional(name, "long") for name in ("ts_ms", "ts_us", "ts_ns")]
    return {"type": "record", "name": "Envelope", "namespace": name, "fields": fields, "connect.version": 1}


def _source() -> Avro:
    snapshot = {"type": "string", "connect.version": 1, "connect.name": "io.debezium.data.Enum"}
    required = {"version": "string", "connector": "string", "name": "string", "ts_ms": "long"}
    fields: list[Avro] = [{"name": name, "type": type_} for name, type_ in required.items()]
    fields.append({"name": "snapshot", "type": [snapshot, "null"], "default": "false"})
    fields.append({"name": "db", "type": "string"})
    fields += [_optional("sequence", "string"), _optional("ts_us", "long"), _optional("ts_ns", "long")]
    fields += [{"name": "schema", "type": "string"}, {"name": "table", "type": "string"}]
    fields += [_optional("txId", "long"), _optional("origin", "string"), _optional("origin_lsn", "long")]
    fields += [_optional("lsn", "long"), _optional("xmin", "long")]
    return {"type": "record", "name": "Source", "namespace": "io.debezium.connector.postgresql", "fields": fields}


def _transaction() -> Avro:
    types = {"id": "string", "total_order": "long", "data_collection_order": "long"}
    fields = [{"name": name, "type": type_} for name, type_ in types.items()]
    return {"type": "record", "name": "block", "namespace": "event", "fields": fields}


def _field(column: Column) -> Avro:
    if column.nullable:
        return _optional(column.name, _type(column))
    return {"name": column.name, "type": _type(column)}


def _optional(name: str, type_: str | Avro) -> Avro:
    return {"name": name, "type": ["null", type_], "default": None}


def _type(column: Column) -> str | Avro:
    match column.type:
        case Numeric(precision=precision, scale=scale):
            name = "org.apache.kafka.connect.data.Decimal"
            logical = {"logicalType": "decimal", "precision": precision, "scale": scale}
            return {"type": "bytes", "connect.version": 1, "connect.name": name} | logical
        case Integer(big=big):
            return "long" if big else "int"
        case Boolean():
            return "boolean"
        case Date():
            return {"type": "int", "connect.version": 1, "connect.name": "io.debezium.time.Date"}
        case Timestamp():
            return {"type": "string", "connect.version": 1, "connect.name": "io.debezium.time.ZonedTimestamp"}
        case _:
            return "string"


def _avro_row(row: Fields | None) -> Fields | None:
    return None if row is None else {name: _avro(value) for name, value in row.items()}


def _avro(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return _json(value)


def _json(value: Any) -> Any:
    return (value - date(1970, 1, 1)).days if type(value) is date else value
