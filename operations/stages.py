"""How far each stage is: records passed, records behind, and for how many seconds it has been behind.

A stage's lag is the age of the moment at which the stage before it stood where this one stands now. It needs no
clock but ours, and no counter of a worker's.
"""

import time
from collections import deque
from dataclasses import dataclass, field

from kafka import clients
from operations import barrier
from operations.barrier import Hops, Offsets
from schemas.tables import reported


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage at one moment. `behind` is in records, for capture in bytes of Postgres' log; `lag_s` in seconds."""

    name: str
    records: int
    behind: int
    unit: str
    lag_s: float


@dataclass(slots=True)
class Curve:
    """How far the stage before has come, and when; old points are dropped once they have been passed."""

    points: deque[tuple[float, int]] = field(default_factory=deque)

    def lag(self, now: float, produced: int, reached: int) -> float:
        """For how many seconds `reached` has been behind, when `produced` is where the stage before stands now."""
        if not self.points or produced > self.points[-1][1]:
            self.points.append((now, produced))
        while self.points and self.points[0][1] <= reached:
            self.points.popleft()
        return now - self.points[0][0] if self.points else 0.0


class Stages:
    """Samples the line; the first sample begins the curves."""

    def __init__(self, hops: Hops) -> None:
        self._hops = hops
        self._tables = reported(hops.line.tables)
        self._curves = {name: Curve() for name in ("captured", "enriched", "landed")}

    def sample(self) -> list[Stage]:
        """The stages now. Raises Unavailable when Kafka or a database does not answer."""
        captured = self._ends([topic for table in self._tables for topic in table.captured_topics])
        lines = [topic for table in self._tables if table.enrichment for topic in table.captured_topics]
        wanted = {at: end for at, end in captured.items() if at[0] in lines}
        taken = barrier.committed(self._hops.bootstrap, self._hops.enrich_group, wanted)
        emitted = self._ends([topic for table in self._tables for topic in table.landed_topics])
        landed = self._hops.report.offsets()
        lsn = barrier.log_position(self._hops.oltp)
        confirmed = barrier.confirmed_position(self._hops.oltp, self._hops.line.slot) or 0
        return [
            self._stage("captured", sum(captured.values()), lsn, confirmed, "bytes"),
            self._stage("enriched", sum(taken.values()), sum(wanted.values()), sum(taken.values())),
            self._stage("landed", _within(landed, emitted), sum(emitted.values()), _within(landed, emitted)),
        ]

    def _stage(self, name: str, records: int, produced: int, reached: int, unit: str = "records") -> Stage:
        lag = self._curves[name].lag(time.monotonic(), produced, reached)
        return Stage(name=name, records=records, behind=max(0, produced - reached), unit=unit, lag_s=lag)

    def _ends(self, topics: list[str]) -> dict[tuple[str, int], int]:
        return clients.end_offsets(self._hops.bootstrap, topics)


def _within(reached: Offsets, ends: Offsets) -> int:
    return sum(reached.get(at, 0) for at in ends)
