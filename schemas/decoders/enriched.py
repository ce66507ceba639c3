"""Encode and decode the records of Headrace's own topics (reporting.*).

A record holds an enriched row with the position of the captured record. Keys are copied byte for byte from that record.
"""

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

from schemas import avro
from schemas.avro import Avro
from schemas.change import Change, Op
from schemas.decoders.record import key_decoder
from schemas.errors import BadRecord
from schemas.position import Position
from schemas.tables import Table


def schema(table: Table) -> Avro:
    """Return the Avro schema of an enriched table's records, derived from the table's entry."""
    name = f"reporting.{table.name}"
    row = {"type": "record", "name": "Row", "fields": avro.fields(table.all_columns)}
    return {
        "type": "record",
        "name": "Change",
        "namespace": name,
        "fields": [
            {"name": "op", "type": "string"},
            {"name": "epoch", "type": "int"},
            {"name": "offset", "type": "long"},
            {"name": "version", "type": "long"},
            {"name": "log_commit", "type": "long"},
            {"name": "log_change", "type": "long"},
            {"name": "read", "type": "boolean"},
            {"name": "source_time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
            {"name": "row", "type": ["null", row]},
        ],
    }


def encoder(table: Table) -> Callable[[Change], Avro]:
    """Return a function from an enriched change to the datum that `schema(table)` describes."""
    names = tuple(column.name for column in table.all_columns)

    def encode(change: Change) -> Avro:
        at = change.position
        return {
            "op": change.op.value,
            "epoch": at.epoch,
            "offset": at.offset,
            "version": at.version,
            "log_commit": at.log[0],
            "log_change": at.log[1],
            "read": at.read,
            "source_time": change.source_time,
            "row": None if change.row is None else dict(zip(names, change.row, strict=True)),
        }

    return encode


def decoder(table: Table) -> Callable[[bytes | None, Mapping[str, Any]], Change]:
    """Return a function (key, datum) → Change, which raises BadRecord. The record carries the position."""
    decode_key = key_decoder(table)
    values = itemgetter(*(column.name for column in table.all_columns))

    def decode(key: bytes | None, datum: Mapping[str, Any]) -> Change:
        try:
            log = (datum["log_commit"], datum["log_change"])
            row = datum["row"]
            return Change(
                table=table,
                key=decode_key(key),
                op=Op(datum["op"]),
                position=Position(datum["epoch"], datum["offset"], datum["version"], log, datum["read"]),
                source_time=datum["source_time"],
                row=None if row is None else values(row),
            )
        except (KeyError, ValueError) as error:
            raise BadRecord(f"expected an enriched {table.name} record, got one without {error}") from None

    return decode
