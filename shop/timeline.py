"""Steps of many orders whose lives overlap, brought into one order of time with only the open ones in memory."""

import heapq
from collections.abc import Iterator
from datetime import datetime

from shop.model import Step


class Timeline:
    """A heap of steps to come. Steps of the same instant come out in the order in which they were added."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, Step]] = []
        self._added = 0

    def add(self, step: Step) -> None:
        """Plan a step; it must not lie before what `before` has handed out already."""
        heapq.heappush(self._heap, (step.at, self._added, step))
        self._added += 1

    def before(self, moment: datetime) -> Iterator[Step]:
        """Hand out, in order, the planned steps older than `moment`."""
        while self._heap and self._heap[0][0] < moment:
            yield heapq.heappop(self._heap)[2]

    def rest(self) -> Iterator[Step]:
        """Hand out all that is left, in order."""
        while self._heap:
            yield heapq.heappop(self._heap)[2]
