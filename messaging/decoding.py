"""A record of any topic that the table entries declare, to a Change: what sinks and streams share of reading."""

from collections.abc import Callable, Iterable

from messaging.registry import Datum, Registry
from schemas.change import Change
from schemas.decoders import enriched, mongo, outbox, postgres
from schemas.decoders.values import shape
from schemas.errors import BadRecord, HeadraceError
from schemas.tables import TABLES, Source, Table
from schemas.wire import EPOCH_HEADER

Headers = list[tuple[str, bytes | None]]
_Decode = Callable[[bytes | None, Datum, Headers | None, int], Change]

# Errors of a decoder on a record whose shape is not that of its topic. Such a record is bad, whatever it contains.
OTHER_SHAPE = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError)

_CAPTURED = {Source.POSTGRES: postgres.decoder, Source.MONGODB: mongo.decoder, Source.OUTBOX: outbox.decoder}


class Decoding:
    """Records to changes, by topic."""

    def __init__(self, registry: Registry, tables: Iterable[Table] = TABLES) -> None:
        self._registry = registry
        self._decoders: dict[str, _Decode] = {}
        for table in tables:
            self._decoders |= {topic: _captured(table) for topic in table.captured_topics}
            if table.enrichment:
                self._decoders |= {topic: _enriched(table) for topic in table.landed_topics}

    def change(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers | None, offset: int
    ) -> Change | None:
        """Return the change in a record, or None for a tombstone (retention writes them; they change no row).

        Raises:
            BadRecord: The record can't be decoded.
            Unavailable: The registry does not answer.
            HeadraceError: No table declares the topic.
        """
        if value is None:
            return None
        decode = self._decoders.get(topic)
        if decode is None:
            raise HeadraceError(
                f"no table in schemas/tables.py declares topic {topic!r}; known: {list(self._decoders)}"
            )
        datum = self._registry.decode(value)
        try:
            return decode(key, datum, headers, offset)
        except OTHER_SHAPE as error:
            raise BadRecord(f"not a record of {topic}: {trouble(error)}", entry="foreign-record") from None


def trouble(error: Exception) -> str:
    """Describe an error that a foreign record caused: its type, and the field that the record lacks.

    The text of other errors quotes values, so it is left out.
    """
    return f"{type(error).__name__} {error}" if isinstance(error, KeyError) else type(error).__name__


def _captured(table: Table) -> _Decode:
    decode = _CAPTURED[table.source](table)

    def change(key: bytes | None, datum: Datum, headers: Headers | None, offset: int) -> Change:
        return decode(key, datum, epoch(headers), offset)

    return change


def _enriched(table: Table) -> _Decode:
    decode = enriched.decoder(table)

    def change(key: bytes | None, datum: Datum, _headers: Headers | None, _offset: int) -> Change:
        return decode(key, datum)

    return change


def epoch(headers: Headers | None) -> int:
    """Return the epoch that capture stamped on a record.

    Raises:
        BadRecord: The header is missing or not a positive number.
    """
    for name, value in headers or ():
        if name == EPOCH_HEADER:
            return _EPOCHS.get(value or b"") or _epoch(value)
    raise BadRecord(
        "the header is missing: Connect's InsertHeader transform sets it", field=EPOCH_HEADER, entry="epoch-missing"
    )


def _epoch(value: bytes | None) -> int:
    if value is None or not value.isdigit() or int(value) < 1:
        raise BadRecord(f"expected a positive number, got {shape(value)}", field=EPOCH_HEADER, entry="epoch-missing")
    return int(value)


_EPOCHS = {b"%d" % number: number for number in range(1, 100)}  # read for every record
