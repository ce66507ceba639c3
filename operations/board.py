"""The live table of a running line; plain lines where the output is not a terminal."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table as Grid

from operations.stages import Stage

PLAIN_LINE_S = 3.0


class Board:
    """Shows stage, records, rate and lag. On a terminal in place, else a line every few seconds."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._live = Live(console=out, auto_refresh=False) if out.is_terminal else None
        self._before: dict[str, tuple[float, int]] = {}
        self._began = time.monotonic()
        self._printed = 0.0

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def show(self, orders: int, total: int, stages: list[Stage], *, last: bool = False) -> None:
        """Show one sample. `orders` of `total` have been placed."""
        now = time.monotonic()
        rates = {stage.name: self._rate(stage, now) for stage in stages}
        if self._live:
            self._live.update(self._grid(orders, total, stages, rates), refresh=True)
        elif last or now - self._printed >= PLAIN_LINE_S:
            self._printed = now
            passed = "   ".join(f"{stage.name} {stage.records:,} (lag {stage.lag_s:.1f} s)" for stage in stages)
            self._out.print(
                f"      {now - self._began:5.1f} s   placed {orders:,} of {total:,}   {passed}", soft_wrap=True
            )

    def _rate(self, stage: Stage, now: float) -> float:
        at, records = self._before.get(stage.name, (now, stage.records))
        self._before[stage.name] = (now, stage.records)
        return (stage.records - records) / (now - at) if now > at else 0.0

    def _grid(self, orders: int, total: int, stages: list[Stage], rates: dict[str, float]) -> Grid:
        grid = Grid(box=None, pad_edge=False, padding=(0, 3, 0, 0))
        grid.add_column("      stage")
        for name in ("records", "records/s", "lag"):
            grid.add_column(name, justify="right")
        grid.add_row("      placed", f"{orders:,} of {total:,} orders", "", "")
        for stage in stages:
            rate = f"{rates[stage.name]:,.0f}"
            grid.add_row(f"      {stage.name}", f"{stage.records:,}", rate, f"{stage.lag_s:.1f} s")
        return grid
