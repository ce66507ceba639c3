"""How far each stage is: records passed, records behind, and for how many seconds it has been behind.

A stage's lag is the age of the moment at which the stage before it stood where this one stands now. It needs no
clock but ours, and no counter of a worker's.
"""

import time
from collections import deque
from dataclasses import dataclass, field

from operations import barrier
from operations.barrier import PipelineProbe
from schemas.tables import Source


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

    def __init__(self, probe: PipelineProbe) -> None:
        self._hops = probe
        self._lines = {topic for table in probe.pipeline.tables if table.enrichment for topic in table.captured_topics}
        self._curves = {name: Curve() for name in ("captured", "enriched", "landed")}

    def sample(self) -> list[Stage]:
        """The stages now. Raises Unavailable when Kafka or a database does not answer."""
        stand = barrier.postgres(self._hops)
        seen = barrier.look(self._hops, {Source.POSTGRES: stand})
        lines = {at: end for at, end in seen.captured.items() if at[0] in self._lines}
        expected = {at: end for at, end in seen.captured.items() if at not in lines} | dict(seen.emitted)
        landed = sum(seen.landed.get(at, 0) for at in expected)
        return [
            self._stage("captured", sum(seen.captured.values()), stand.position, stand.captured or 0, "bytes"),
            self._stage("enriched", sum(seen.taken.values()), sum(lines.values()), sum(seen.taken.values())),
            self._stage("landed", landed, sum(expected.values()), landed),
        ]

    def _stage(self, name: str, records: int, produced: int, reached: int, unit: str = "records") -> Stage:
        lag = self._curves[name].lag(time.monotonic(), produced, reached)
        return Stage(name=name, records=records, behind=max(0, produced - reached), unit=unit, lag_s=lag)
