"""Decode Debezium's MongoDB envelope into a Change. The document is Extended JSON text.

Documents have a compound `_id` that holds the table's key, so that a delete, which carries nothing else, still names
its row.
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
    """Return a function (key, envelope, epoch, offset) → Change for one captured collection, which raises BadRecord.

    An update carries the document as of the time of its lookup. If the document was deleted by then, the update carries
    none, and is decoded as a delete. The delete itself follows.
    """
    decode_row, decode_key = row_decoder(table.columns), key_decoder(table)

    def decode(key: bytes | None, envelope: Mapping[str, Any], epoch: int, offset: int) -> Change:
        op, after = operation(envelope), envelope["after"]
        if op is Op.UPDATE and after is None:
            op = Op.DELETE
        return Change(
            table=table,
            key=decode_key(key),
            op=op,
            position=position(envelope, epoch, offset),
            source_time=timestamp(envelope["source"]["ts_us"]),
            row=None if op is Op.DELETE else decode_row(document(after)),
        )

    return decode


def position(envelope: Envelope, epoch: int, offset: int) -> Position:
    """Return the change's position, with (cluster time, offset) as its place in the log.

    All changes of a transaction have one cluster time, and their offsets order them. A change of an earlier time is a
    repeat, or was sent late, and is skipped. The cluster time is one number of 63 bits: its seconds, followed by its
    ordinal, an INT32 in Debezium's schema.
    """
    at = cluster_time(envelope)
    if at is None:
        return Position(epoch, offset, read=True)
    seconds, ordinal = at
    return Position(epoch, offset, log=((seconds << 31) + ordinal, offset))


class Heartbeat(NamedTuple):
    """The primary's wall clock when a heartbeat was written, and the cluster time at which it was logged.

    If the connector lags, `at` is later than the written time: the connector looks up an update's document when it
    reads the event. `logged` has whole seconds. In records captured with a wall time it is the wall time.
    """

    at: datetime
    logged: datetime


def heartbeat(key: bytes | None, envelope: Mapping[str, Any]) -> Heartbeat | None:
    """Return the heartbeat that a record holds.

    None for any other document (see migrations/catalog), and for a heartbeat read by a snapshot, which has no order
    relative to the reads of other collections.
    """
    if document_id(key) != HEARTBEAT_ID or envelope.get("after") is None or operation(envelope) is Op.READ:
        return None
    at = timestamp(document(envelope["after"]).get("at"))
    return Heartbeat(at=at, logged=timestamp(int(envelope["source"]["ts_ms"]) * 1000))


def cluster_time(envelope: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the cluster time at which MongoDB logged a change: seconds since 1970, and the ordinal in that second.

    It orders all changes of a replica set and never goes back, whichever member is the primary. None for a snapshot
    read, and for a record whose `source` has a wall time: Debezium then writes that instead of the seconds
    (connectors/mongodb.json removes it from the change stream).
    """
    source = envelope["source"]
    if source.get("wallTime") is not None or operation(envelope) is Op.READ:
        return None
    return int(source["ts_ms"]) // 1000, int(source["ord"])


def key_decoder(table: Table) -> Callable[[bytes | None], Key]:
    """Return a function from a record's key to the values of `table.key`; it raises BadRecord."""
    decode_row = row_decoder(tuple(table.column(name) for name in table.key))

    def decode(raw: bytes | None) -> Key:
        id_ = document_id(raw)
        if not isinstance(id_, dict):
            raise BadRecord(f"expected a document with the table's key, got {shape(id_)}", field="_id")
        return decode_row(id_)

    return decode


def document_id(raw: bytes | None) -> Any:
    """Return the document's `_id` from the record's key `{"id": "<Extended JSON>"}`."""
    id_ = key_fields(raw).get("id")
    return document(id_) if isinstance(id_, str) else id_


def document(text: Any) -> Any:
    """Convert Extended JSON to plain values.

    Raises:
        BadRecord: The text is not JSON.
    """
    try:
        return _plain(orjson.loads(text))
    except (orjson.JSONDecodeError, TypeError) as error:
        raise BadRecord(f"expected a document as Extended JSON, got {shape(text)} ({error})") from None


def _plain(value: Any) -> Any:
    """Convert a value of either form, canonical or relaxed.

    https://github.com/mongodb/specifications/blob/master/source/extended-json/extended-json.md
    """
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
