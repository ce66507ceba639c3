"""Months, each by its first day: partitions are created and rows age by them."""

from collections.abc import Iterator
from datetime import date

MONTHS_BEHIND, MONTHS_AHEAD = 1, 3


def month(day: date, offset: int = 0) -> date:
    """Return the first day of the month that is `offset` months after that of `day`."""
    count = day.year * 12 + day.month - 1 + offset
    return date(count // 12, count % 12 + 1, 1)


def months_ahead(today: date) -> tuple[date, date]:
    """Return the first and the last month whose partitions must exist, each by its first day."""
    return month(today, -MONTHS_BEHIND), month(today, MONTHS_AHEAD)


def months(first_day: date, last_day: date) -> Iterator[date]:
    """Return the months from `first_day` to `last_day`, both included; none where `last_day` is in an earlier month."""
    first = month(first_day)
    while first <= last_day:
        yield first
        first = month(first, 1)
