"""One bad row must not hold up a batch: halve it until the bad row stands alone."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from sinks.reporting.port import Poison

Item = TypeVar("Item")


def bisect(land: Callable[[Sequence[Item]], object], items: Sequence[Item]) -> list[tuple[Item, Poison]]:
    """Lands all of `items` but those that `land` refuses with Poison, which are returned with their errors.

    Order is kept: nothing lands before what stands left of it. `land` is called about 2·log2(n) times for each bad
    item; it must not move the checkpoint, as what is returned is not dealt with yet.
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
