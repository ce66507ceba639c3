"""Merge the steps of overlapping orders in order of time, with only the open orders in memory."""

import heapq
from collections.abc import Iterator
from datetime import datetime

from shop.model import Step


class Timeline:
    """A heap of future steps. Steps at the same instant are returned in the order in which they were added."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, Step]] = []
        self._added = 0

    def add(self, step: Step) -> None:
        """Add a step. It must not be earlier than a step that `before` has yielded."""
        heapq.heappush(self._heap, (step.at, self._added, step))
        self._added += 1

    def before(self, moment: datetime) -> Iterator[Step]:
        """Yield, in order, the steps before `moment`, and remove them."""
        while self._heap and self._heap[0][0] < moment:
            yield heapq.heappop(self._heap)[2]

    def rest(self) -> Iterator[Step]:
        """Yield all remaining steps, in order."""
        while self._heap:
            yield heapq.heappop(self._heap)[2]
