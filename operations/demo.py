"""`headrace demo`: the whole line on this machine, traded on, watched, and proven row by row."""

import time
from datetime import date
from decimal import Decimal
from itertools import zip_longest
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.table import Table as Grid

from operations import barrier, connections, load, local, verify
from operations.board import Board
from operations.rows import Report
from operations.settings import Settings
from operations.stages import Stages
from schemas.errors import HeadraceError
from shop import actions
from shop.model import History

ARRIVAL_DEADLINE_S = 60.0
CATCH_UP_S = 120.0
POLL_S = 0.02
SAMPLE_S = 0.5
INDENT = " " * 6


def run(folder: Path, out: Console, *, orders: int, olist: Path | None, keep: bool) -> bool:
    """Show everything; returns whether reporting equals the sources. Stops all that it started unless `keep`."""
    past = load.history(folder=olist, orders=orders, seed=1)  # a folder that can't be read: before anything starts
    if local.exists(folder):
        raise HeadraceError(f"{folder} holds a line already; see `headrace status`, or end it: `headrace down --wipe`")
    began = time.monotonic()
    try:
        settings = _start(folder, out)
        landed_after = _trade(settings, past, out, began)
        _change(settings, out)
        equal = _prove(settings, out)
        took = time.monotonic() - began
        out.print(f"\nFirst order in reporting {landed_after:.1f} s after the start; everything in {took:.1f} s.")
        return equal
    finally:
        if keep:
            out.print(f"Left running: `headrace status` shows it, `headrace down --wipe` ends it. Settings: {folder}")
        else:
            local.down(folder, Console(quiet=True), wipe=True)


def _start(folder: Path, out: Console) -> Settings:
    began = time.monotonic()
    out.print("Real servers, started here, traded on, and stopped again; it takes about a minute.", style="dim")
    settings, ready = local.start(folder, lambda said: out.print(f"      {said}", style="dim", markup=False))
    _step(out, "[1/4] servers", local.describe(ready))
    _step(out, "[2/4] line", f"2 connectors stream, {len(local.WORKERS)} workers; {time.monotonic() - began:.1f} s")
    return settings


def _trade(settings: Settings, past: History, out: Console, began: float) -> float:
    """Play the orders beside a live table until all have landed; returns when the first one had (s)."""
    _step(out, "[3/4] orders", f"{past.orders:,} orders of {past.first_day} to {past.last_day}")
    hops, reader = connections.hops(settings), connections.report(settings, "reader")
    stages, shop = Stages(hops), load.Player(settings, past)
    first: list[float] = []

    def look(_: str = "") -> None:
        if not first and reader.query("SELECT 1 FROM report.orders OFFSET 0 ROWS FETCH NEXT 1 ROWS ONLY"):
            first.append(time.monotonic() - began)
        board.show(shop.orders, past.orders, stages.sample())

    with Board(out) as board:
        while shop.running():
            look()
            time.sleep(SAMPLE_S)
        barrier.cross(hops, deadline_s=CATCH_UP_S, on_wait=look)
        look()
    return first[0]


def _change(settings: Settings, out: Console) -> None:
    """Change a price, cancel an order, sell a product that the catalog learns late; follow each to a reader."""
    reader = connections.report(settings, "reader")
    sales, catalog = connections.oltp(settings, "app_writer"), connections.catalog(settings)

    product = actions.change_price(catalog)
    took = _seconds_until(reader, f"SELECT 1 FROM report.products WHERE {_is(product)} AND price = {product.price}")
    _step(out, "", f"a price changed           visible to readers after {took:.2f} s")

    order = actions.cancel_order(sales)
    took = _seconds_until(reader, f"SELECT 1 FROM report.orders WHERE {_is(order)} AND status = 'cancelled'")
    _step(out, "", f"an order was cancelled    visible to readers after {took:.2f} s")

    line = actions.sell_unlisted(sales)
    late = f"SELECT 1 FROM report.order_lines WHERE {_is(line)} AND enrichment_status"
    took = _seconds_until(reader, f"{late} = 'pending'")
    _step(out, "", f"an unlisted product sold  visible, pending, after {took:.2f} s")
    actions.list_late(catalog, line)
    took = _seconds_until(reader, f"{late} = 'enriched'")
    _step(out, "", f"the product was listed    its line enriched after {took:.2f} s")


def _prove(settings: Settings, out: Console) -> bool:
    """A small report as a reader gets it, then every row compared."""
    _step(out, "[4/4] report", "as a reader of reporting sees it")
    summary(connections.report(settings, "reader"), out)
    result = verify.verify(settings, deadline_s=CATCH_UP_S)
    _step(out, "      verify", "every row of Postgres and MongoDB against reporting")
    verify.show(result, out, json=False)
    return result.equal


def summary(report: Report, out: Console) -> None:
    """Revenue by tenant and month, the top products, payments by status: three short lists side by side."""
    grid = Grid(*SUMMARY, box=None, pad_edge=False, padding=(0, 4, 0, 0))
    lists = [[" ".join(map(_cell, row)) for row in report.query(sql)] for sql in SUMMARY.values()]
    for row in zip_longest(*lists, fillvalue=""):
        grid.add_row(*row)
    out.print(Padding(grid, (0, 0, 0, len(INDENT))))


SUMMARY = {
    "revenue by tenant and month": "SELECT tenant_id, order_month, SUM(total) FROM report.orders "
    "WHERE status <> 'cancelled' GROUP BY tenant_id, order_month "
    "ORDER BY 3 DESC, 1, 2 OFFSET 0 ROWS FETCH NEXT 3 ROWS ONLY",
    "top products": "SELECT product_name, SUM(quantity) FROM report.order_lines WHERE product_name IS NOT NULL "
    "GROUP BY product_name ORDER BY 2 DESC, 1 OFFSET 0 ROWS FETCH NEXT 3 ROWS ONLY",
    "payments by status": "SELECT provider_status, COUNT(*), SUM(amount) FROM report.payments "
    "GROUP BY provider_status ORDER BY 2 DESC, 1 OFFSET 0 ROWS FETCH NEXT 3 ROWS ONLY",
}
NAME_WIDTH = 16  # of a tenant or product: an id may have 64


def _cell(value: object) -> str:
    match value:
        case Decimal():
            return f"{value:,.2f}"
        case date():
            return f"{value:%Y-%m}"
        case int():
            return f"{value:,}"
    return str(value) if len(str(value)) <= NAME_WIDTH else f"{str(value)[: NAME_WIDTH - 1]}…"


def _is(row: actions.Row) -> str:
    """The row as an SQL condition; its values are the demo's own."""
    conditions = (
        f"{name} = {value if isinstance(value, int) else repr(str(value))}" for name, value in row.key.items()
    )
    return " AND ".join(conditions)


def _seconds_until(reader: Report, sql: str) -> float:
    began = time.monotonic()
    while not reader.query(sql):
        if time.monotonic() - began > ARRIVAL_DEADLINE_S:
            raise HeadraceError(f"not visible to readers after {ARRIVAL_DEADLINE_S:.0f} s: {sql}")
        time.sleep(POLL_S)
    return time.monotonic() - began


def _step(out: Console, head: str, said: str) -> None:
    out.print(f"{head:16}{said}", markup=False, soft_wrap=True, style="bold" if head.startswith("[") else None)
