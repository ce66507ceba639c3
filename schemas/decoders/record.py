"""Shared by all decoders of captured records: key JSON to a key, a struct to a row, field by field."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import orjson

from schemas.change import Key, Row, Value
from schemas.decoders.values import converter, days, shape
from schemas.errors import BadRecord
from schemas.tables import Column, Table


def row_decoder(columns: tuple[Column, ...]) -> Callable[[Mapping[str, Any]], Row]:
    """Return a function from a record's fields to the values of `columns`. Its BadRecord names the field."""
    plan = tuple((column.name, converter(column.type), column.nullable) for column in columns)

    def decode(fields: Mapping[str, Any]) -> Row:
        values: list[Value] = []
        name = ""
        try:
            for name, convert, nullable in plan:  # the handlers below use the name
                raw = fields[name]
                if raw is None:
                    if not nullable:
                        raise BadRecord("expected a value, got null")
                    values.append(None)
                else:
                    values.append(convert(raw))
        except KeyError:
            raise BadRecord(
                "the record lacks this field; is the migration ahead of the table's entry?", field=name
            ) from None
        except BadRecord as error:
            raise BadRecord(str(error), field=name, entry=error.entry) from None
        return tuple(values)

    return decode


def key_decoder(table: Table) -> Callable[[bytes | None], Key]:
    """Return a function from a record's JSON key to the values of `table.key`."""
    decode_row = row_decoder(tuple(table.column(name) for name in table.key))

    def decode(raw: bytes | None) -> Key:
        return decode_row(key_fields(raw))

    return decode


# The characters that Jackson, and so Connect's JsonConverter, escapes in a text. All others stay as they are.
_ESCAPES = {code: f"\\u{code:04X}" for code in range(32)} | {
    8: "\\b",
    9: "\\t",
    10: "\\n",
    12: "\\f",
    13: "\\r",
    34: '\\"',
    92: "\\\\",
}


def key_bytes(table: Table, key: Key) -> bytes:
    """Return a key as capture writes it, byte for byte. Kafka compacts and partitions by these bytes."""
    return b"{%s}" % ",".join(f'"{name}":{_json(value)}' for name, value in zip(table.key, key, strict=True)).encode()


def document_key_bytes(table: Table, key: Key) -> bytes | None:
    """Return a document's key as capture writes it, byte for byte.

    None where it isn't all printable ASCII: Debezium's escapes of other characters are not implemented.
    """
    inner = ",".join(f'"{name}": {_json(value)}' for name, value in zip(table.key, key, strict=True))
    return b'{"id":%s}' % _json(f"{{{inner}}}").encode() if inner.isascii() and inner.isprintable() else None


def _json(value: Value) -> str:
    match value:
        case str():
            return f'"{value.translate(_ESCAPES)}"'
        case bool() | None:
            return {True: "true", False: "false", None: "null"}[value]
        case datetime():
            return f'"{value.astimezone(UTC).isoformat().replace("+00:00", "Z")}"'
        case date():
            return str(days(value))
    return str(value)


def key_fields(raw: bytes | None) -> dict[str, Any]:
    """Return the JSON object that a record's key holds.

    Raises:
        BadRecord: The key is not a JSON object.
    """
    if raw is None:
        raise _no_object("null")
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRecord(
            f"expected a JSON object, got {shape(raw)} ({error})", field="key", entry="foreign-record"
        ) from None
    if not isinstance(fields, dict):
        raise _no_object(shape(raw))
    return fields


def _no_object(found: str) -> BadRecord:
    return BadRecord(f"expected a JSON object, got {found}", field="key", entry="foreign-record")
