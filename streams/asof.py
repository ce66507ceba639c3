"""Choose the entry of a product's history that is valid at an instant. Pure: a later rebuild must choose the same."""

from bisect import bisect_right
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

Product = tuple[str, str]


class CatalogEntry(NamedTuple):
    """A product's data from `valid_from` (µs since 1970, UTC) on: one document of price_history."""

    valid_from: int
    name: str
    category: str
    price: Decimal


History = tuple[CatalogEntry, ...]


def as_of(history: Sequence[CatalogEntry], at: int) -> CatalogEntry | None:
    """Return the latest entry with `valid_from <= at`, or the earliest entry of a product added to the catalog later.

    `history` is in the order of valid_from. The result is None only for an empty history. History is append-only and
    never backdated, so the result for a past instant does not change any more.
    """
    if not history:
        return None
    if history[-1].valid_from <= at:
        return history[-1]
    index = bisect_right(history, at, key=_valid_from)
    return history[index - 1] if index else history[0]


def with_entry(history: History, entry: CatalogEntry) -> History:
    """Return the history with `entry` added in order. An entry with the same valid_from is the same, read again."""
    index = bisect_right(history, entry.valid_from, key=_valid_from)
    if index and history[index - 1].valid_from == entry.valid_from:
        return (*history[: index - 1], entry, *history[index:])
    return (*history[:index], entry, *history[index:])


def _valid_from(entry: CatalogEntry) -> int:
    return entry.valid_from
