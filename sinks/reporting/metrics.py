"""Metrics of a sink worker.

Latency is counted for a batch at a time: an observation for each change would cost more than landing it.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from schemas.change import Change, Op
from schemas.tables import Mode
from sinks.reporting.port import Partition

LAG_RECORDS = Gauge(
    "headrace_sink_lag_records", "Records in the partition that have not landed.", ["topic", "partition"]
)
LAG_SECONDS = Gauge(
    "headrace_sink_lag_seconds", "Age of the last landed record while more are waiting, else 0.", ["topic", "partition"]
)
BATCH = Histogram(
    "headrace_sink_batch_records", "Records in a batch.", buckets=(1, 10, 100, 500, 1_000, 2_500, 5_000, 10_000, 50_000)
)
LAND_SECONDS = Histogram(
    "headrace_sink_land_seconds",
    "Seconds to land a batch.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
FOLDED = Counter("headrace_sink_folded", "Rows staged: the newest change of each key of a batch.")
WRITTEN = Counter("headrace_sink_written", "Rows changed in reporting. Other staged rows were repeats or outdated.")
REFUSED = Counter("headrace_sink_refused", "Changes skipped because retention has deleted their rows.")
RETRIES = Counter("headrace_sink_retries", "Retries of a batch.")
POISONED = Counter("headrace_sink_poisoned", "Batches bisected to isolate a row that reporting refuses.")


def remove_partition(partition: Partition) -> None:
    """Remove the metrics of a partition that another worker holds now."""
    for gauge in (LAG_RECORDS, LAG_SECONDS):
        gauge.remove(*map(str, partition))


class Latency(Collector):
    """A histogram by table of commit in the source to visible in reporting, in seconds."""

    BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)

    def __init__(self) -> None:
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def observe(self, changes: Sequence[Change], now: datetime) -> None:
        """Count a landed batch. Snapshot reads and events are left out: their times are not those of a commit."""
        seconds: dict[str, list[float]] = {}
        for change in changes:
            if change.op is not Op.READ and change.table.mode is Mode.STATE:
                seconds.setdefault(change.table.name, []).append((now - change.source_time).total_seconds())
        for table, values in seconds.items():
            counts = self._counts.setdefault(table, [0] * (len(self.BOUNDS) + 1))
            values.sort()
            for index, bound in enumerate(self.BOUNDS):
                counts[index] += bisect_right(values, bound)
            counts[-1] += len(values)
            self._sums[table] = self._sums.get(table, 0.0) + sum(values)

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """Return the histogram, for prometheus_client."""
        family = HistogramMetricFamily(
            "headrace_commit_to_visible_seconds",
            "Seconds from the commit in the source until the row is visible in reporting.",
            labels=["table"],
        )
        bounds = [str(bound) for bound in self.BOUNDS] + ["+Inf"]
        for table, counts in self._counts.items():
            family.add_metric([table], list(zip(bounds, counts, strict=True)), self._sums[table])
        yield family


LATENCY = Latency()
REGISTRY.register(LATENCY)
