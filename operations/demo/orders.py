"""Step 3 of the demo: write orders and show how far each stage has processed them."""

import time

from rich.console import Console

from operations import barrier, connections, load
from operations.demo.board import StageBoard
from operations.demo.steps import Check, print_step
from operations.probe import connect_probe
from operations.settings import Settings
from operations.stages import Stages
from schemas.errors import HeadraceError
from shop.model import History

CATCH_UP_S = 120.0
SAMPLE_S = 0.5
ANY_ORDER = "SELECT tenant_id FROM report.orders ORDER BY tenant_id OFFSET 0 ROWS FETCH NEXT 1 ROWS ONLY"


def write_orders(settings: Settings, past: History, out: Console, began: float, check: Check) -> float:
    """Write the orders and wait until all have landed.

    Return the seconds from `began` (of `time.monotonic`) until a reader could see the first order.
    """
    print_step(out, "[3/5] orders", f"{past.orders:,} orders, {past.first_day} to {past.last_day}")
    probe, reader = connect_probe(settings), connections.report(settings, "reader")
    stages, shop = Stages(probe), load.BackgroundLoad(settings, past)
    first: float | None = None

    def sample(*, last: bool = False) -> None:
        nonlocal first
        check()
        if first is None and reader.query(ANY_ORDER):
            first = time.monotonic() - began
        board.show_sample(shop.orders, past.orders, stages.sample(), last=last)

    with StageBoard(out) as board:
        while shop.running():
            sample()
            time.sleep(SAMPLE_S)
        barrier.wait_for_barrier(probe, deadline_s=CATCH_UP_S, on_wait=lambda _: sample())
        sample(last=True)
    if first is None:
        raise HeadraceError("everything has landed, but report.orders shows no order to its readers")
    return first
