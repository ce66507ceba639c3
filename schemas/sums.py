"""Counts with sums of hashes: how two stores are shown to hold the same rows without moving them.

Every store computes the same numbers by itself: Postgres (sales.event_sums, sales.row_sums), reporting in its own
dialect, and the archive's reader here. Sums, because XOR would cancel a pair.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from schemas.change import Row, Value
from schemas.tables import Column
from schemas.values import days, microseconds

HASH_DIGITS = 15  # hexadecimal: 60 bits, so that every database holds one hash in a signed 64-bit integer


@dataclass(frozen=True, slots=True)
class Sum:
    """`count` different rows or events, and the sum of their hashes."""

    count: int = 0
    total: int = 0

    def __add__(self, other: "Sum") -> "Sum":
        return Sum(self.count + other.count, self.total + other.total)


def text_hash(text: str) -> int:
    """The first 60 bits of the MD5 of a text's UTF-8. It finds what is missing or differs; it guards against nobody."""
    return int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:HASH_DIGITS], 16)


def sum_of(texts: Iterable[str]) -> Sum:
    """The sum over texts that are known to differ from each other: event ids, rows."""
    count = total = 0
    for text in texts:
        count += 1
        total += text_hash(text)
    return Sum(count, total)


def row_text(columns: Sequence[Column]) -> Callable[[Row], str]:
    """A function from a row (in the order of `columns`) to its canonical text: what `sales.row_sums` builds in SQL.

    Values in the order of their columns' names, between U+001F; null is `~`, every other value begins with `=`:
    an instant in microseconds and a day in days since 1970, a decimal with its whole scale, JSON as it is stored.
    """
    order = sorted(range(len(columns)), key=lambda index: columns[index].name)

    def text(row: Row) -> str:
        return "\x1f".join([_text(row[index]) for index in order])

    return text


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
