"""The live table of the demo: each stage's records, rate and lag."""

import time

from rich.console import Console
from rich.table import Table as Grid

from operations.console import LiveDisplay
from operations.stages import Stage


class StageBoard(LiveDisplay):
    """Show the stages: in place on a terminal, else as a line every few seconds."""

    def __init__(self, out: Console) -> None:
        super().__init__(out, every_s=3.0)
        self._before: dict[str, tuple[float, int]] = {}

    def show_sample(self, orders: int, total: int, stages: list[Stage], *, last: bool = False) -> None:
        """Show one sample. `orders` of `total` have been written. The `last` sample is always printed."""
        now = time.monotonic()
        rates = {stage.name: self._rate(stage, now) for stage in stages}
        counts = "   ".join(f"{stage.name} {stage.records:,} (lag {stage.lag_s:.1f} s)" for stage in stages)
        line = f"{now - self.began:5.1f} s   written {orders:,} of {total:,} orders   {counts}"
        self.redraw(now, self._grid(orders, total, stages, rates), [line], last=last)

    def _rate(self, stage: Stage, now: float) -> float:
        at, records = self._before.get(stage.name, (now, stage.records))
        self._before[stage.name] = (now, stage.records)
        return (stage.records - records) / (now - at) if now > at else 0.0

    def _grid(self, orders: int, total: int, stages: list[Stage], rates: dict[str, float]) -> Grid:
        grid = Grid(box=None, pad_edge=False, padding=(0, 3, 0, 0))
        grid.add_column("      stage")
        for name in ("records", "records/s", "lag"):
            grid.add_column(name, justify="right")
        grid.add_row("      written", f"{orders:,} of {total:,} orders", "", "")
        for stage in stages:
            rate = f"{rates[stage.name]:,.0f}"
            grid.add_row(f"      {stage.name}", f"{stage.records:,}", rate, f"{stage.lag_s:.1f} s")
        return grid
