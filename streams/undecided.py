"""Track undecided order lines of one partition, and the offset below which acks are safe. Pure.

A line is unacked (in memory only: a crash reads it again) or spilled (in the pending topic, its offset acked). It is
kept as captured bytes: to decide it is to enrich it once more.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from messaging.dead_letters import Record
from schemas.position import Position
from streams.asof import Product
from streams.enrich import Wait


@dataclass(slots=True, kw_only=True, eq=False)
class UndecidedLine:
    """One undecided line. `received_at` is in seconds of a monotonic clock.

    `pending_key` is the key of its record in the pending topic, which needs a tombstone once the line is finished, or
    None while the line is unacked. `done` means decided, or no longer the newest of its key.
    """

    record: Record
    key: bytes
    position: Position
    wait: Wait
    received_at: float
    pending_key: bytes | None = None
    done: bool = False


class UndecidedLines:
    """The undecided lines of one partition, at most one a key."""

    def __init__(self) -> None:
        self._by_key: dict[bytes, UndecidedLine] = {}
        self._due: list[tuple[int, int, UndecidedLine]] = []
        self._unknown: dict[Product, dict[bytes, UndecidedLine]] = {}
        self._unacked: deque[UndecidedLine] = deque()
        self._pushed = 0

    def __len__(self) -> int:
        return len(self._by_key)

    @property
    def unacked(self) -> int:
        """The number of lines that hold back the ack."""
        self._drop_finished()
        return len(self._unacked)

    def first_unacked(self) -> int | None:
        """Return the lowest offset that may not be acked yet, or None when all may."""
        self._drop_finished()
        return self._unacked[0].record.offset if self._unacked else None

    def track(self, line: UndecidedLine) -> UndecidedLine | None:
        """Add an undecided line, in the order of its partition, and return the line of its key that it replaces.

        Two lines are not added. A repeat older than the waiting line of its key never lands. The same record again was
        written to the pending topic, and is delivered once more because its ack was not committed.
        """
        earlier = self._by_key.get(line.key)
        if earlier is not None:
            if _same(line.position, earlier.position) or not _covers(line.position, earlier.position):
                return None
            self._finish(earlier)
            line.position = line.position.replacing(earlier.position)
        self._by_key[line.key] = line
        if line.pending_key is None:
            self._unacked.append(line)
        self._await(line)
        return earlier

    def supersede(self, key: bytes, position: Position) -> UndecidedLine | None:
        """Return the waiting line of `key` that an emitted final change replaces, or None."""
        earlier = self._by_key.get(key)
        if earlier is None or not _covers(position, earlier.position):
            return None
        self.decide(earlier)
        return earlier

    def decide(self, line: UndecidedLine) -> None:
        """Release a line that is final and whose record is confirmed."""
        if not line.done:
            del self._by_key[line.key]
            self._finish(line)

    def requeue(self, line: UndecidedLine, wait: Wait) -> None:
        """Let a line that is still undecided wait for `wait`."""
        line.wait = wait
        self._await(line)

    def pop_due(self, watermark: int, arrived: Iterable[Product]) -> list[UndecidedLine]:
        """Remove and return the lines that are due by `watermark`, and those whose product has an entry now.

        Call `decide` or `requeue` for each.
        """
        found: list[UndecidedLine] = []
        for product in arrived:
            found += self._unknown.pop(product, {}).values()
        while self._due and self._due[0][0] <= watermark:
            line = heappop(self._due)[2]
            if not line.done:
                found.append(line)
        return found

    def overdue(self, now: float, *, count: int, age: float) -> list[UndecidedLine]:
        """Return the unacked lines, oldest first, beyond `count` or older than `age` seconds, for the pending topic."""
        surplus = self.unacked - count
        found: list[UndecidedLine] = []
        for line in self._unacked:
            if surplus <= len(found) and now - line.received_at < age:
                break
            if not line.done:
                found.append(line)
        return found

    def mark_spilled(self, line: UndecidedLine, key: bytes) -> None:
        """Record that the line's pending record, with this key, is confirmed."""
        line.pending_key = key

    def _await(self, line: UndecidedLine) -> None:
        if line.wait.due is None:
            self._unknown.setdefault(line.wait.product, {})[line.key] = line
        else:
            self._pushed += 1
            heappush(self._due, (line.wait.due, self._pushed, line))

    def _finish(self, line: UndecidedLine) -> None:
        line.done = True
        same = self._unknown.get(line.wait.product)
        if same is not None and same.get(line.key) is line:
            del same[line.key]
            if not same:
                del self._unknown[line.wait.product]
        # A finished line keeps its captured bytes, so the heap must not outgrow the waiting keys.
        if len(self._due) > 2 * len(self._by_key):
            self._due = [each for each in self._due if not each[2].done]
            heapify(self._due)

    def _drop_finished(self) -> None:
        while self._unacked and (self._unacked[0].done or self._unacked[0].pending_key is not None):
            self._unacked.popleft()


def _same(position: Position, other: Position) -> bool:
    return (position.epoch, position.offset) == (other.epoch, other.offset)


def _covers(position: Position, earlier: Position) -> bool:
    """Return whether a line at `position` replaces the one at `earlier`: it is the same, or newer.

    A repeat of the same change counts: if its enrichment was a later one, it has landed with the repeat's offset, and a
    decision at the earlier offset would lose against it.
    """
    return position._replace(version=1).wins_over(earlier._replace(version=0))
