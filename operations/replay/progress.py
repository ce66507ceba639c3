"""How far a generation is, topic by topic: what it has passed of what is there, how fast, and for how long still."""

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
class Passed:
    """One topic at one moment: `done` of `total` records (offsets, so what compaction took counts) have been enriched
    (captured lines), or have landed."""

    topic: str
    done: int
    total: int

    @property
    def behind(self) -> int:
        """Records that are still to come."""
        return self.total - self.done


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRate:
    """A topic's rate since it was first looked at (records/s), and the seconds that are left at this rate; None where
    nothing has moved."""

    rate: float
    left_s: float | None


def pace(first: Passed, now: Passed, seconds: float) -> BuildRate:
    """How fast a topic went from `first` to `now`, and how long it still takes."""
    rate = (now.done - first.done) / seconds if seconds > 0 else 0.0
    left = 0.0 if now.behind <= 0 else now.behind / rate if rate > 0 else None
    return BuildRate(rate=rate, left_s=left)


def passed(topic: str, starts: Offsets, ends: Offsets, reached: Offsets) -> Passed:
    """One topic from its partitions' offsets."""
    of_topic = [at for at in ends if at[0] == topic]
    done = sum(max(0, min(reached.get(at, 0), ends[at]) - starts[at]) for at in of_topic)
    return Passed(topic=topic, done=done, total=sum(ends[at] - starts[at] for at in of_topic))


def sample(probe: PipelineProbe) -> list[Passed]:
    """Each topic that the line reads, in the order of the tables. Raises Unavailable."""
    tables = reported(probe.pipeline.tables)
    lines = [topic for table in tables if table.enrichment for topic in table.captured_topics]
    landing = [topic for table in tables for topic in table.landed_topics]
    topics = [*lines, *landing]
    starts, ends = clients.start_offsets(probe.bootstrap, topics), clients.end_offsets(probe.bootstrap, topics)
    wanted = {at: end for at, end in ends.items() if at[0] in lines}
    reached = probe.report.offsets() | barrier.committed(probe.bootstrap, probe.enrich_group, wanted)
    return [passed(topic, starts, ends, reached) for topic in topics]


class ProgressBoard(LiveDisplay):
    """Shows the topics: in place on a terminal, else a line every few seconds."""

    def __init__(self, out: Console) -> None:
        super().__init__(out, every_s=5.0)
        self._first: dict[str, Passed] = {}

    def show_sample(self, topics: Sequence[Passed], *, last: bool = False) -> None:
        """Show one sample."""
        now = time.monotonic()
        for each in topics:
            self._first.setdefault(each.topic, each)
        paces = [pace(self._first[each.topic], each, now - self.began) for each in topics]
        lines = [f"{each.topic:28} {' '.join(_cells(each, its))}" for each, its in zip(topics, paces, strict=True)]
        self.redraw(now, _grid(topics, paces), lines, last=last)


def _cells(passed: Passed, pace: BuildRate) -> tuple[str, str, str]:
    left = "waiting" if pace.left_s is None else "done" if not passed.behind else f"{pace.left_s:,.0f} s left"
    return f"{passed.done:>12,} of {passed.total:,}", f"{pace.rate:>10,.0f}/s", left


def _grid(topics: Sequence[Passed], paces: Sequence[BuildRate]) -> Grid:
    grid = Grid(box=None, show_header=False, padding=(0, 2, 0, 0))
    for each, its in zip(topics, paces, strict=True):
        records, rate, left = _cells(each, its)
        bar = ProgressBar(total=max(1, each.total), completed=each.done if each.total else 1, width=BAR_WIDTH)
        grid.add_row(f"      {each.topic}", bar, records, rate, left)
    return grid
