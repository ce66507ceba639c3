"""Debezium's MongoDB envelope to a Change: the document travels as Extended JSON text.

Documents are keyed by a compound `_id` that holds the table's key, so that a delete, which carries nothing else,
still names its row.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import orjson

from schemas.change import Change, Key, Op
from schemas.decoders.postgres import Decode, Envelope, operation
from schemas.decoders.record import key_fields, row_decoder
from schemas.decoders.values import shape, timestamp
from schemas.errors import BadRecord
from schemas.position import Position
from schemas.tables import Table

ENVELOPE_FIELDS = frozenset({"after", "source", "op"})
SOURCE_FIELDS = frozenset({"ts_us", "ts_ms", "ord", "wallTime"})
HEARTBEAT_ID = "heartbeat"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def decoder(table: Table) -> Decode:
    """A function (key, envelope, epoch, offset) → Change for one captured collection; it raises BadRecord.

    An update comes with the document as it was when it was looked up; without one where it was gone by then, and its
    delete follows.
    """
    decode_row = row_decoder(table.columns)
    decode_key = row_decoder(tuple(table.column(name) for name in table.key))

    def decode(key: bytes | None, envelope: Mapping[str, Any], epoch: int, offset: int) -> Change:
        op, after = operation(envelope), envelope["after"]
        if op is Op.UPDATE and after is None:
            op = Op.DELETE
        return Change(
            table=table,
            key=_key(decode_key, key),
            op=op,
            position=position(envelope, epoch, offset),
            source_time=timestamp(envelope["source"]["ts_us"]),
            row=None if op is Op.DELETE else decode_row(document(after)),
        )

    return decode


def position(envelope: Envelope, epoch: int, offset: int) -> Position:
    """The change's position: its place in the log is (cluster time, offset). All changes of a transaction have one
    cluster time, and their offsets order them; a change of an earlier time is a repeat, or was sent late, and is
    skipped.

    The cluster time is one number of 63 bits: its ordinal, an INT32 in Debezium's schema, behind its seconds.
    """
    at = cluster_time(envelope)
    if at is None:
        return Position(epoch, offset, read=True)
    seconds, ordinal = at
    return Position(epoch, offset, log=((seconds << 31) + ordinal, offset))


class Heartbeat(NamedTuple):
    """The primary's wall clock when a heartbeat was written, and the cluster time at which it was logged.

    `at` is later than what was written where the connector lags: it looks an update's document up when it reads the
    event. `logged` has whole seconds; in records captured with a wall time it is that.
    """

    at: datetime
    logged: datetime


def heartbeat(key: bytes | None, envelope: Mapping[str, Any]) -> Heartbeat | None:
    """The heartbeat that a record holds; None for any other document (see migrations/catalog) and for one read by a
    snapshot, which has no order with the reads of other collections.
    """
    if document_id(key) != HEARTBEAT_ID or envelope.get("after") is None or operation(envelope) is Op.READ:
        return None
    at = timestamp(document(envelope["after"]).get("at"))
    return Heartbeat(at=at, logged=timestamp(int(envelope["source"]["ts_ms"]) * 1000))


def cluster_time(envelope: Mapping[str, Any]) -> tuple[int, int] | None:
    """The cluster time at which MongoDB logged a change: seconds since 1970, and the ordinal within that second.

    It orders all changes of a replica set and never goes back, whichever member is the primary. None for a snapshot
    read, and for a record whose `source` has a wall time: Debezium then writes that in place of the seconds
    (connectors/mongodb.json takes it out of the change stream).
    """
    source = envelope["source"]
    if source.get("wallTime") is not None or operation(envelope) is Op.READ:
        return None
    return int(source["ts_ms"]) // 1000, int(source["ord"])


def _key(decode_key: Callable[[Mapping[str, Any]], Key], raw: bytes | None) -> Key:
    id_ = document_id(raw)
    if not isinstance(id_, dict):
        raise BadRecord(f"expected a document with the table's key, got {shape(id_)}", field="_id")
    return decode_key(id_)


def document_id(raw: bytes | None) -> Any:
    """The `_id` of the document, out of the record's key `{"id": "<Extended JSON>"}`."""
    id_ = key_fields(raw).get("id")
    return document(id_) if isinstance(id_, str) else id_


def document(text: Any) -> Any:
    """Extended JSON to plain values. Raises BadRecord for anything that is not JSON text."""
    try:
        return _plain(orjson.loads(text))
    except (orjson.JSONDecodeError, TypeError) as error:
        raise BadRecord(f"expected a document as Extended JSON, got {shape(text)} ({error})") from None


def _plain(value: Any) -> Any:
    """Canonical and relaxed forms both
    (https://github.com/mongodb/specifications/blob/master/source/extended-json/extended-json.md)."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        match next(iter(value.items())):
            case "$numberDecimal", str(text):
                return Decimal(text)
            case (("$numberLong" | "$numberInt"), str(text)):
                return int(text)
            case "$date", int(milliseconds):
                return _EPOCH + timedelta(milliseconds=milliseconds)
            case "$date", str(text):
                return timestamp(text)
            case "$date", dict(inner):
                return _EPOCH + timedelta(milliseconds=int(inner["$numberLong"]))
            case "$oid", str(text):
                return text
    return {name: _plain(item) for name, item in value.items()}
