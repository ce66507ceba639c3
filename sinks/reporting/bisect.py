"""Isolate bad rows of a batch by halving it, so that the other rows land."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from sinks.reporting.port import Poison

Item = TypeVar("Item")


def bisect(land: Callable[[Sequence[Item]], object], items: Sequence[Item]) -> list[tuple[Item, Poison]]:
    """Land all `items` except those that `land` refuses with Poison, and return these with their errors.

    Order is kept: no item lands before the items to its left. `land` is called about 2·log2(n) times for each bad item.
    It must not move the checkpoint, because the returned items are not handled yet.
    """
    if not items:
        return []
    try:
        land(items)
    except Poison as error:
        if len(items) == 1:
            return [(items[0], error)]
        middle = len(items) // 2
        return bisect(land, items[:middle]) + bisect(land, items[middle:])
    return []
