"""Counts and sums of hashes, which show that two stores hold the same rows without moving the rows.

Each store computes the same numbers: Postgres (sales.event_sums, sales.row_sums), each compared database in its dialect
(sinks/reporting/*/checksum_sql.py), and the archive's reader here. Sums, because XOR would cancel a pair.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from schemas.change import Row, Value
from schemas.decoders.values import WIDE, days, microseconds
from schemas.tables import Column
from schemas.types import Numeric, Text, Type

SEPARATOR = "\x1f"
HASH_DIGITS = 15  # hexadecimal: 60 bits, so that every database holds one hash in a signed 64-bit integer


@dataclass(frozen=True, slots=True)
class Sum:
    """`count` different rows or events, and the sum of their hashes."""

    count: int = 0
    total: int = 0

    def __add__(self, other: "Sum") -> "Sum":
        return Sum(self.count + other.count, self.total + other.total)


def text_hash(text: str) -> int:
    """Return the first 60 bits of the MD5 of a text's UTF-8. Not cryptographically secure."""
    return int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:HASH_DIGITS], 16)


def sum_of(texts: Iterable[str]) -> Sum:
    """Return the sum over texts that are known to differ from each other, such as event ids or rows."""
    count = total = 0
    for text in texts:
        count += 1
        total += text_hash(text)
    return Sum(count, total)


def row_text(columns: Sequence[Column]) -> Callable[[Row], str]:
    """Return a function from a row (in the order of `columns`) to its canonical text, as `sales.row_sums` builds it.

    Values are in the order of their columns' names, between U+001F; null is `~`, every other value begins with `=`:
    an instant in microseconds and a day in days since 1970, a decimal with its whole scale, JSON as it is stored.
    """
    order = sorted(range(len(columns)), key=lambda index: columns[index].name)

    def text(row: Row) -> str:
        return SEPARATOR.join([_text(row[index]) for index in order])

    return text


def compared_text(columns: Sequence[Column]) -> Callable[[Row], str]:
    """Return a function from a row (in the order of `columns`) to the text whose hash verification sums.

    The SQL in sinks/reporting/postgres/checksum_sql.py and sinks/reporting/sqlserver/checksum_sql.py builds the same.
    Two things differ from `row_text`. Values are in the order of the columns, so that an enrichment's texts follow its
    row's. U+001F within a text is doubled, so that no two rows share a text. Where the same value may have two texts
    (JSON, a decimal of another scale), different hashes mean only that the rows must be compared. The same hash means
    the same row.
    """
    fields = [_field(column.type) for column in columns]

    def text(row: Row) -> str:
        return SEPARATOR.join([field(value) for field, value in zip(fields, row, strict=True)])

    return text


def _field(type_: Type) -> Callable[[Value], str]:
    match type_:
        case Text():
            return lambda value: "~" if value is None else f"={str(value).replace(SEPARATOR, SEPARATOR * 2)}"
        case Numeric(scale=scale):
            return lambda value: _text(_to_scale(value, scale) if isinstance(value, Decimal) else value)
    return _text


def _to_scale(value: Decimal, scale: int) -> Decimal:
    """Return the value with `scale` places, as a database column stores it. MongoDB keeps the places as written."""
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or exponent <= -scale:
        return value
    return value.quantize(Decimal(1).scaleb(-scale), context=WIDE)


def _text(value: Value) -> str:
    match value:
        case None:
            return "~"
        case bool():
            return f"={str(value).lower()}"
        case datetime():
            return f"={microseconds(value)}"
        case date():
            return f"={days(value)}"
        case Decimal():
            return f"={value:f}"
    return f"={value}"
