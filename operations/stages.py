"""Measure each stage of the pipeline: records processed, records behind, and lag in seconds.

A stage's lag is the time since the previous stage was where this stage is now. It is measured with one clock, this
process's, and does not depend on the workers' own counters.
"""

import time
from collections import deque
from dataclasses import dataclass, field

from operations import barrier
from operations.barrier import PipelineProbe
from schemas.tables import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage at one moment.

    `behind` is in `unit`: records, or for capture bytes of Postgres' write-ahead log. `lag_s` is in seconds.
    """

    name: str
    records: int
    behind: int
    unit: str
    lag_s: float


@dataclass(slots=True)
class LagCurve:
    """The previous stage's progress over time, as (time, progress). Points that this stage has passed are dropped."""

    points: deque[tuple[float, int]] = field(default_factory=deque)

    def lag(self, now: float, produced: int, reached: int) -> float:
        """Record the previous stage's progress, `produced`; return for how many seconds `reached` has been behind."""
        if not self.points or produced > self.points[-1][1]:
            self.points.append((now, produced))
        while self.points and self.points[0][1] <= reached:
            self.points.popleft()
        return now - self.points[0][0] if self.points else 0.0


class Stages:
    """Sample the stages of a pipeline. Lags are measured from the first sample on."""

    def __init__(self, probe: PipelineProbe) -> None:
        self._probe = probe
        self._lines = {topic for table in probe.pipeline.tables if table.enrichment for topic in table.captured_topics}
        self._curves = {name: LagCurve() for name in ("captured", "enriched", "landed")}

    def sample(self) -> list[Stage]:
        """Return the stages now. Raises Unavailable when Kafka or a database does not answer."""
        source = barrier.read_postgres(self._probe)
        seen = barrier.read_offsets(self._probe, {Source.POSTGRES: source})
        lines = {at: end for at, end in seen.captured.items() if at[0] in self._lines}
        expected = {at: end for at, end in seen.captured.items() if at not in lines} | dict(seen.emitted)
        landed = sum(seen.landed.get(at, 0) for at in expected)
        return [
            self._stage("captured", sum(seen.captured.values()), source.position, source.captured or 0, "bytes"),
            self._stage("enriched", sum(seen.taken.values()), sum(lines.values()), sum(seen.taken.values())),
            self._stage("landed", landed, sum(expected.values()), landed),
        ]

    def _stage(self, name: str, records: int, produced: int, reached: int, unit: str = "records") -> Stage:
        lag = self._curves[name].lag(time.monotonic(), produced, reached)
        return Stage(name=name, records=records, behind=max(0, produced - reached), unit=unit, lag_s=lag)
