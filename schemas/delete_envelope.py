"""Write a delete record as Debezium would, for a row that a topic still holds and the source does not.

The record's position is just after the row that it deletes: the same epoch, and one byte further in the source's log,
where no record of the source can be. So it wins over that row in every generation and in a rebuild, a repeat of that
row is skipped as before, and every later change of the key wins over the delete.
"""

import io
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import fastavro
import orjson

from schemas.decoders.values import microseconds
from schemas.errors import HeadraceError
from schemas.position import Position
from schemas.wire import frame

Schema = dict[str, Any]
WRITER = "headrace-repair"  # replaces Debezium's version in the record

_ZERO: dict[str, Any] = {"string": "", "bytes": b"", "boolean": False, "int": 0, "long": 0, "float": 0.0, "double": 0.0}


def delete_value(schema_id: int, schema: Schema, landed: Position, at: datetime) -> bytes:
    """Return the value, in Confluent's wire format, of a delete record after a row that landed at `landed`.

    Args:
        schema_id: The registry's id of `schema`.
        schema: The envelope's schema in the row's topic.
        landed: The position of the row to delete.
        at: The time of writing.

    Raises:
        HeadraceError: The schema is not Debezium's envelope for Postgres.
    """
    commit, change = landed.log
    log = {"sequence": orjson.dumps([str(commit), str(change + 1)]).decode(), "lsn": change + 1}
    return envelope_value(schema_id, schema, {"op": "d"}, log, at)


def envelope_value(
    schema_id: int, schema: Schema, fields: Mapping[str, Any], source: Mapping[str, Any], at: datetime
) -> bytes:
    """Return the value of an envelope with these `fields` and these fields of its `source`, written `at`.

    All other fields are null, their default, or zero.

    Raises:
        HeadraceError: The schema is not an envelope of Debezium's.
    """
    now = microseconds(at.astimezone(UTC))
    clocks: dict[str, Any] = {"ts_ms": now // 1_000, "ts_us": now, "ts_ns": now * 1_000}
    try:
        datum = _blank(schema) | clocks | dict(fields)
        datum["source"] |= clocks | {"version": WRITER} | dict(source)
        body = io.BytesIO()
        body.write(frame(schema_id))
        fastavro.schemaless_writer(body, fastavro.parse_schema(schema), datum)
    except (KeyError, TypeError, ValueError) as error:
        raise HeadraceError(
            f"schema {schema_id} is no envelope of Debezium's: {type(error).__name__} {error}"
        ) from None
    return body.getvalue()


def _blank(type_: Any) -> Any:
    """Return an empty value of an Avro type: null where allowed, otherwise the default, otherwise zero."""
    if isinstance(type_, list):
        return None if "null" in type_ else _blank(type_[0])
    if not isinstance(type_, dict):
        return _ZERO[type_]
    if type_["type"] == "record":
        return {
            field["name"]: field["default"] if "default" in field else _blank(field["type"])
            for field in type_["fields"]
        }
    return _blank(type_["type"])
