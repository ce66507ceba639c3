"""Decode Debezium's Postgres envelope into a Change. No Kafka here, so every odd case is a one-line test."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from schemas.change import Change, Op
from schemas.decoders.record import key_decoder, row_decoder
from schemas.decoders.values import timestamp
from schemas.errors import BadRecord
from schemas.position import Position
from schemas.tables import Table

Envelope = Mapping[str, Any]
Decode = Callable[[bytes | None, Envelope, int, int], Change]

# The fields that the decoder reads. messaging/registry.py skips the rest (a third of the bytes is `before`).
ENVELOPE_FIELDS = frozenset({"after", "source", "op"})
SOURCE_FIELDS = frozenset({"sequence", "lsn", "ts_us"})


def decoder(table: Table) -> Decode:
    """Return a function (key, envelope, epoch, offset) → Change for one captured table, which raises BadRecord."""
    decode_key, decode_row = key_decoder(table), row_decoder(table.columns)

    def decode(key: bytes | None, envelope: Envelope, epoch: int, offset: int) -> Change:
        op, source = operation(envelope), envelope["source"]
        return Change(
            table=table,
            key=decode_key(key),
            op=op,
            position=position(source, op, epoch, offset),
            source_time=timestamp(source["ts_us"]),
            row=None if op is Op.DELETE else decode_row(_after(envelope)),
        )

    return decode


def operation(envelope: Envelope) -> Op:
    """Return the envelope's operation.

    Raises:
        BadRecord: It is one that capture is configured not to send (truncate, message).
    """
    try:
        return Op(envelope["op"])
    except (KeyError, ValueError):
        raise BadRecord(f"expected one of c, u, d, r, got {envelope.get('op')!r}", field="op") from None


def _after(envelope: Envelope) -> Mapping[str, Any]:
    after: Mapping[str, Any] | None = envelope["after"]
    if after is None:
        raise BadRecord("expected the row as it is after the change, got null", field="after")
    return after


def position(source: Mapping[str, Any], op: Op, epoch: int, offset: int) -> Position:
    """Return the change's position. A streamed change carries the end of the previous commit and its own LSN.

    `source.sequence` is a JSON array of two strings, the first null until a commit has been seen
    (https://debezium.io/documentation/reference/stable/connectors/postgresql.html#postgresql-create-events). Such a
    change of a slot's first transaction is placed at its own LSN: above every commit that an earlier slot has sent, and
    below every later commit.
    """
    if op is Op.READ:
        return Position(epoch, offset, read=True)
    try:
        (commit, _), lsn = orjson.loads(source["sequence"]), int(source["lsn"])
        return Position(epoch, offset, log=(lsn, 0) if commit is None else (int(commit), lsn))
    except (KeyError, TypeError, ValueError):
        raise BadRecord(
            f"expected a sequence and an LSN, got {source.get('sequence')!r}, {source.get('lsn')!r}",
            field="source",
        ) from None
