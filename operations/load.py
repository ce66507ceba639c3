"""`headrace load`: write a shop's orders, behind a progress bar, after creating the partitions that they need."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from operations import connections, migrate
from operations.settings import Settings
from shop import generate, olist, writer
from shop.model import History
from shop.writer import Loaded

OnProgress = Callable[[int, int], None]


def history(*, folder: Path | None, orders: int, seed: int) -> History:
    """Return Olist's history in `folder`, or a generated one. Raises HeadraceError for files that can't be read."""
    if folder is not None:
        return olist.history(folder)
    return generate.history(orders, seed, generate.default_start(datetime.now(UTC).date()))


def load(settings: Settings, past: History, *, rate: float = 0, speedup: float = 0, on_progress: OnProgress) -> Loaded:
    """Create the partitions that `past` needs and write its orders.

    `rate` is in orders a second, 0 for no limit. `speedup` keeps the history's own pace, that many times faster; 0
    ignores it. `on_progress` gets the orders written and their total.
    """
    migrate.make_partitions(settings, past.first_day, past.last_day)
    connections.oltp(settings, "app_writer").close()  # a refused login names the setting
    catalog = connections.catalog(settings)
    with catalog.client:
        return writer.load(
            past,
            conninfo=connections.oltp_conninfo(settings, "app_writer"),
            catalog=catalog,
            rate=rate,
            speedup=speedup,
            on_progress=on_progress,
        )


class BackgroundLoad:
    """Write a history on a thread of its own, so that the caller can watch the pipeline meanwhile."""

    def __init__(self, settings: Settings, past: History) -> None:
        self.orders = 0
        self._future: Future[Loaded] = Future()
        threading.Thread(target=self._run, args=(settings, past), name="shop", daemon=True).start()

    def running(self) -> bool:
        """Return whether it is still writing. Raises the error that ended it, if any."""
        if self._future.done():
            self._future.result()
            return False
        return True

    def _run(self, settings: Settings, past: History) -> None:
        try:
            self._future.set_result(load(settings, past, on_progress=self._count))
        except BaseException as error:  # `running` raises it
            self._future.set_exception(error)

    def _count(self, orders: int, _: int) -> None:
        self.orders = orders


def load_with_progress(settings: Settings, out: Console, past: History, *, rate: float = 0, speedup: float = 0) -> None:
    """Write `past` behind a progress bar, then print a summary. For the parameters see `load`."""
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("orders"), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out, disable=not out.is_terminal) as bar:
        task = bar.add_task("orders", total=past.orders)
        done = load(
            settings, past, rate=rate, speedup=speedup, on_progress=lambda orders, _: bar.update(task, completed=orders)
        )
    speed = f"{done.orders / done.seconds:,.0f} orders/s" if done.seconds else ""
    changes = f"{done.steps:,} changes, {done.written:,} of them new"
    out.print(f"{done.orders:,} orders, {changes}; {done.seconds:.1f} s, {speed}")
