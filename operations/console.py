"""What is shown again and again while somebody waits."""

import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table as Grid


class Pane:
    """On a terminal a grid in place, else lines, every `every_s` seconds at most."""

    def __init__(self, out: Console, every_s: float) -> None:
        self._out, self._every_s = out, every_s
        self._live = Live(console=out, auto_refresh=False) if out.is_terminal else None
        self._printed = 0.0
        self.began = time.monotonic()

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def update(self, now: float, grid: Grid, lines: Iterable[str], *, last: bool) -> None:
        """Show what there is at `now` (as `time.monotonic` has it); lines also when it is the `last` time."""
        if self._live:
            self._live.update(grid, refresh=True)
        elif last or now - self._printed >= self._every_s:
            self._printed = now
            for line in lines:
                self._out.print(f"      {line}", markup=False, soft_wrap=True)
