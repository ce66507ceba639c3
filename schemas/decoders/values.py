"""Convert raw Avro and JSON values to the values of a Change, each type by one explicit rule.

A value that can't be carried without loss (an infinity, a date outside 0001..9999, a text longer than declared) raises
BadRecord. It becomes a dead letter, never a silently changed value. Rules: docs/decisions/0004-values.md.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, InvalidOperation
from typing import Any

from schemas.change import Value
from schemas.errors import BadRecord
from schemas.sizes import LONGEST_VALUE, is_cut
from schemas.types import Boolean, Date, Integer, Json, Numeric, Text, Timestamp, Type, Uuid

Convert = Callable[[Any], Value]

# Debezium writes it for a TOASTed value that the log did not hold, which REPLICA IDENTITY FULL rules out
# (https://debezium.io/documentation/reference/stable/connectors/postgresql.html#postgresql-toasted-values).
TOAST_PLACEHOLDER = "__debezium_unavailable_value"

WIDE = Context(prec=80)  # the default 28 digits are fewer than SQL's 38
_EPOCH_DAY = date(1970, 1, 1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def converter(type_: Type) -> Convert:
    """Return the rule for one column type: from a value in Debezium's Avro (or JSON key) to a Value, or BadRecord."""
    match type_:
        case Text(length=length):
            return _text(length)
        case Numeric(precision=precision, scale=scale):
            return _numeric(precision, scale)
        case Integer(big=big):
            return _integer(64 if big else 32)
        case Boolean():
            return _boolean
        case Date():
            return _date
        case Timestamp():
            return timestamp
        case Json() | Uuid():
            return _text(None)


def shape(raw: object) -> str:
    """Describe a value by type and size only, for messages: they end in logs, where no value belongs."""
    match raw:
        case str():
            return f"a text of {len(raw)} characters"
        case bytes():
            return f"{len(raw)} bytes"
        case Decimal() if raw.is_finite():
            return f"{max(raw.adjusted() + 1, 0)} digits before the point and {_places(raw)} after it"
        case Decimal():
            return str(raw)  # NaN or an infinity
        case int() if type(raw) is int:
            return f"an integer of {raw.bit_length() + 1} bits"
    return type(raw).__name__


def _places(raw: Decimal) -> int:
    return max(-int(raw.as_tuple().exponent), 0)


def _expected(what: str, raw: object) -> BadRecord:
    return BadRecord(f"expected {what}, got {shape(raw)}")


def _text(length: int | None) -> Convert:
    limit = length or 1 << 62

    def convert(raw: Any) -> Value:
        if type(raw) is not str:
            raise _expected("text", raw)
        if raw == TOAST_PLACEHOLDER:
            raise BadRecord(
                "the value was TOASTed and is not in the record: a leaf partition lacks REPLICA IDENTITY FULL "
                "(see docs/runbook.md#toast-placeholder)",
                entry="toast-placeholder",
            )
        if len(raw) > limit:
            raise BadRecord(f"expected at most {limit} characters, got {len(raw)}")
        if is_cut(raw):
            raise BadRecord(
                f"the value is longer than {LONGEST_VALUE} characters, so capture has cut it (see "
                "docs/runbook.md#value-cut)",
                entry="value-cut",
            )
        return raw

    return convert


def _numeric(precision: int, scale: int) -> Convert:
    bound = Decimal(10) ** (precision - scale)
    quantum = Decimal(1).scaleb(-scale)

    def convert(raw: Any) -> Value:
        if type(raw) is not Decimal:
            if type(raw) not in (str, int):
                raise _expected(f"a decimal({precision},{scale})", raw)
            try:
                raw = Decimal(raw)
            except InvalidOperation:
                raise _expected(f"a decimal({precision},{scale})", raw) from None
        # NaN and infinities fail the comparison too.
        if not (raw.is_finite() and -bound < raw < bound):
            raise _expected(f"a decimal({precision},{scale})", raw)
        if raw.as_tuple().exponent == -scale:
            return raw  # type: ignore[no-any-return]  # as it comes from Postgres
        exact = raw.quantize(quantum, context=WIDE)
        if exact != raw:
            raise _expected(f"at most {scale} decimal places", raw)
        return exact  # type: ignore[no-any-return]

    return convert


def _integer(bits: int) -> Convert:
    bound = 1 << (bits - 1)

    def convert(raw: Any) -> Value:
        if type(raw) is not int:
            raise _expected(f"an integer of {bits} bits", raw)
        if not -bound <= raw < bound:
            raise _expected(f"an integer of {bits} bits", raw)
        return raw

    return convert


def _boolean(raw: Any) -> Value:
    if type(raw) is not bool:
        raise _expected("true or false", raw)
    return raw


def _date(raw: Any) -> Value:
    """Convert a date. Debezium's io.debezium.time.Date counts days since 1970; fastavro may have made it a date."""
    if type(raw) is date:
        return raw
    if type(raw) is not int:
        raise _expected("a date, as days since 1970-01-01", raw)
    try:
        return _EPOCH_DAY + timedelta(days=raw)
    except OverflowError:
        raise _expected("a date from 0001-01-01 to 9999-12-31", raw) from None


def timestamp(raw: Any) -> datetime:
    """Convert an instant. Debezium's ZonedTimestamp is ISO text; its MicroTimestamp is microseconds since 1970, UTC."""
    try:
        if type(raw) is str:
            value = datetime.fromisoformat(raw)
            if value.tzinfo is None:  # astimezone would take the machine's zone
                raise _expected("an instant with its zone", raw)
            return value if value.tzinfo is UTC else value.astimezone(UTC)
        if type(raw) is int:
            return _EPOCH + timedelta(microseconds=raw)
    except (ValueError, OverflowError):
        raise _expected("an instant from year 1 to 9999 in ISO form", raw) from None
    if type(raw) is datetime and raw.tzinfo is not None:
        return raw.astimezone(UTC)
    raise _expected("an instant in ISO form", raw)


def days(value: date) -> int:
    """Return a day as days since 1970."""
    return (value - _EPOCH_DAY).days


def microseconds(value: datetime) -> int:
    """Return an instant as microseconds since 1970, exactly (a float would lose the last digit)."""
    return (value - _EPOCH) // timedelta(microseconds=1)
