"""Show the progress of a generation's backfill, topic by topic: records done, records in total, rate, time left."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table as Grid

from messaging import clients
from operations import barrier
from operations.barrier import Offsets, PipelineProbe
from operations.console import LiveDisplay
from schemas.tables import reported

BAR_WIDTH = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicProgress:
    """One topic at one moment: `done` of `total` records.

    Records are counted by offsets, so those that compaction removed count as done. Captured order lines are done when
    they are enriched, other records when they have landed.
    """

    topic: str
    done: int
    total: int

    @property
    def behind(self) -> int:
        """The number of records that are not done yet."""
        return self.total - self.done


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRate:
    """A topic's rate since the first sample, in records a second, and the seconds left at this rate.

    `left_s` is None when nothing was done since the first sample.
    """

    rate: float
    left_s: float | None


def build_rate(first: TopicProgress, now: TopicProgress, seconds: float) -> BuildRate:
    """Return a topic's rate between two samples that are `seconds` apart, and the time left."""
    rate = (now.done - first.done) / seconds if seconds > 0 else 0.0
    left = 0.0 if now.behind <= 0 else now.behind / rate if rate > 0 else None
    return BuildRate(rate=rate, left_s=left)


def topic_progress(topic: str, starts: Offsets, ends: Offsets, reached: Offsets) -> TopicProgress:
    """Return one topic's progress from the offsets of its partitions."""
    of_topic = [at for at in ends if at[0] == topic]
    done = sum(max(0, min(reached.get(at, 0), ends[at]) - starts[at]) for at in of_topic)
    return TopicProgress(topic=topic, done=done, total=sum(ends[at] - starts[at] for at in of_topic))


def read_progress(probe: PipelineProbe) -> list[TopicProgress]:
    """Return the progress of each topic that the pipeline reads, in the order of the tables.

    Raises:
        Unavailable: Kafka does not answer.
    """
    tables = reported(probe.pipeline.tables)
    enriched = [topic for table in tables if table.enrichment for topic in table.captured_topics]
    landing = [topic for table in tables for topic in table.landed_topics]
    topics = [*enriched, *landing]
    starts, ends = clients.start_offsets(probe.bootstrap, topics), clients.end_offsets(probe.bootstrap, topics)
    wanted = {at: end for at, end in ends.items() if at[0] in enriched}
    reached = probe.report.offsets() | barrier.committed_offsets(probe.bootstrap, probe.enrich_group, wanted)
    return [topic_progress(topic, starts, ends, reached) for topic in topics]


class ProgressBoard(LiveDisplay):
    """Displays the topics' progress: in place on a terminal, otherwise as lines every few seconds."""

    def __init__(self, out: Console) -> None:
        super().__init__(out, every_s=5.0)
        self._first: dict[str, TopicProgress] = {}

    def show_sample(self, topics: Sequence[TopicProgress], *, last: bool = False) -> None:
        """Show one sample."""
        now = time.monotonic()
        for each in topics:
            self._first.setdefault(each.topic, each)
        rates = [build_rate(self._first[each.topic], each, now - self.began) for each in topics]
        lines = [f"{each.topic:28} {' '.join(_cells(each, rate))}" for each, rate in zip(topics, rates, strict=True)]
        self.redraw(now, _grid(topics, rates), lines, last=last)


def _cells(progress: TopicProgress, rate: BuildRate) -> tuple[str, str, str]:
    left = "waiting" if rate.left_s is None else "done" if not progress.behind else f"{rate.left_s:,.0f} s left"
    return f"{progress.done:>12,} of {progress.total:,}", f"{rate.rate:>10,.0f}/s", left


def _grid(topics: Sequence[TopicProgress], rates: Sequence[BuildRate]) -> Grid:
    grid = Grid(box=None, show_header=False, padding=(0, 2, 0, 0))
    for each, rate in zip(topics, rates, strict=True):
        records, per_second, left = _cells(each, rate)
        bar = ProgressBar(total=max(1, each.total), completed=each.done if each.total else 1, width=BAR_WIDTH)
        grid.add_row(f"      {each.topic}", bar, records, per_second, left)
    return grid
