"""A delete record as Debezium would write it, for a row that the source does not hold and a topic still does.

The record takes the place just behind the row that it deletes: of the same epoch, and in the source's log one byte
further, where no record of the source's can be. So it wins over that row in every generation and in a rebuild, a repeat
of that row is skipped as before, and every later change of the key wins over the delete.
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
WRITER = "headrace-repair"  # in the place of Debezium's version

_ZERO: dict[str, Any] = {"string": "", "bytes": b"", "boolean": False, "int": 0, "long": 0, "float": 0.0, "double": 0.0}


def delete_value(schema_id: int, schema: Schema, landed: Position, at: datetime) -> bytes:
    """The value of a delete record behind a row that has landed at `landed`, in Confluent's wire format.

    `schema` is the envelope of the row's topic. Raises HeadraceError for one that is not Debezium's for Postgres.
    """
    commit, change = landed.log
    log = {"sequence": orjson.dumps([str(commit), str(change + 1)]).decode(), "lsn": change + 1}
    return envelope_value(schema_id, schema, {"op": "d"}, log, at)


def envelope_value(
    schema_id: int, schema: Schema, fields: Mapping[str, Any], source: Mapping[str, Any], at: datetime
) -> bytes:
    """The value of a record with these fields of an envelope and of its `source`, written `at`; the others say nothing.

    Raises HeadraceError for a schema that is no envelope of Debezium's.
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
    """A value of an Avro type that says nothing: null where that may be, else the default, else zero."""
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
