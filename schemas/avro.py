"""Derive the Avro schema of a table's rows, which enrichment emits and the archive stores."""

from collections.abc import Iterable
from typing import Any

from schemas.tables import Column
from schemas.types import Boolean, Date, Integer, Json, Numeric, Text, Timestamp, Type, Uuid

Avro = dict[str, Any]


def fields(columns: Iterable[Column]) -> list[Avro]:
    """Return a record's fields: one for each column, under its name and in its order."""
    return [_field(column) for column in columns]


def _field(column: Column) -> Avro:
    type_ = _avro(column.type)
    return {"name": column.name, "type": ["null", type_] if column.nullable else type_}


def _avro(type_: Type) -> str | Avro:
    match type_:
        case Numeric(precision=precision, scale=scale):
            return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}
        case Integer(big=big):
            return "long" if big else "int"
        case Boolean():
            return "boolean"
        case Date():
            return {"type": "int", "logicalType": "date"}
        case Timestamp():
            return {"type": "long", "logicalType": "timestamp-micros"}
        case Text() | Json() | Uuid():
            return "string"
