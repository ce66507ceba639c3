"""Which entry of a product's history holds at an instant. Pure: a rebuild next year must choose the same entry."""

from bisect import bisect_right
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

Product = tuple[str, str]


class CatalogEntry(NamedTuple):
    """What a product was from `valid_from` (µs since 1970, UTC) on: one document of price_history."""

    valid_from: int
    name: str
    category: str
    price: Decimal


History = tuple[CatalogEntry, ...]


def as_of(history: Sequence[CatalogEntry], at: int) -> CatalogEntry | None:
    """The latest entry with `valid_from <= at`; for a product that reached the catalog later, its earliest entry.

    `history` is in the order of valid_from. None only where there is no entry at all. History is append-only and
    never backdated, so the answer for a past instant does not change any more.
    """
    if not history:
        return None
    if history[-1].valid_from <= at:
        return history[-1]
    index = bisect_right(history, at, key=_valid_from)
    return history[index - 1] if index else history[0]


def with_entry(history: History, entry: CatalogEntry) -> History:
    """The history with `entry` at its place; one with the same valid_from is the same entry, read again."""
    index = bisect_right(history, entry.valid_from, key=_valid_from)
    if index and history[index - 1].valid_from == entry.valid_from:
        return (*history[: index - 1], entry, *history[index:])
    return (*history[:index], entry, *history[index:])


def _valid_from(entry: CatalogEntry) -> int:
    return entry.valid_from
