"""Months, each by its first day: partitions are made and rows age by them."""

from collections.abc import Iterator
from datetime import date


def month(day: date, offset: int = 0) -> date:
    """The first day of the month that lies `offset` months after that of `day`."""
    count = day.year * 12 + day.month - 1 + offset
    return date(count // 12, count % 12 + 1, 1)


def months(first_day: date, last_day: date) -> Iterator[date]:
    """The months of these days, the last one included; none where `last_day` lies before the first one's month."""
    first = month(first_day)
    while first <= last_day:
        yield first
        first = month(first, 1)
