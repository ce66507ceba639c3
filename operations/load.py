"""`headrace load`: the pretend shop trades, with a progress bar, into partitions made ahead."""

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
    """Olist's history in `folder`, or a generated one. Raises HeadraceError for files that can't be read."""
    if folder is not None:
        return olist.history(folder)
    return generate.history(orders, seed, generate.default_start(datetime.now(UTC).date()))


def play(settings: Settings, past: History, *, rate: float = 0, speedup: float = 0, on_progress: OnProgress) -> Loaded:
    """Make the partitions that `past` needs and play it. `on_progress` gets the orders done and their total."""
    migrate.make_partitions(settings, past.first_day, past.last_day)
    connections.oltp(settings, "app_writer").close()  # its refusal names the setting
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


class Player:
    """Plays a history on a thread of its own, for whoever wants to watch the line meanwhile."""

    def __init__(self, settings: Settings, past: History) -> None:
        self.orders = 0
        self._future: Future[Loaded] = Future()
        threading.Thread(target=self._run, args=(settings, past), name="shop", daemon=True).start()

    def running(self) -> bool:
        """Whether it still plays; raises what ended it otherwise."""
        if self._future.done():
            self._future.result()
            return False
        return True

    def _run(self, settings: Settings, past: History) -> None:
        try:
            self._future.set_result(play(settings, past, on_progress=self._count))
        except BaseException as error:  # the watcher's to see
            self._future.set_exception(error)

    def _count(self, orders: int, _: int) -> None:
        self.orders = orders


def load_with_progress(settings: Settings, out: Console, past: History, *, rate: float = 0, speedup: float = 0) -> None:
    """Play `past` behind a progress bar, then say what was written."""
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("orders"), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out, disable=not out.is_terminal) as bar:
        task = bar.add_task("orders", total=past.orders)
        done = play(
            settings, past, rate=rate, speedup=speedup, on_progress=lambda orders, _: bar.update(task, completed=orders)
        )
    each = f"{done.orders / done.seconds:,.0f} orders/s" if done.seconds else ""
    out.print(
        f"{done.orders:,} orders, {done.steps:,} steps, {done.written:,} of them new; {done.seconds:.1f} s, {each}"
    )
