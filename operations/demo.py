"""`headrace demo`: the whole line on this machine, traded on, watched, and proven row by row."""

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import zip_longest
from pathlib import Path

import orjson
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as Grid

from operations import barrier, connections, load, local, migrate
from operations.archive.cat import lines
from operations.board import Board
from operations.console import invocation
from operations.retention import policy
from operations.retention import run as retention
from operations.retention.item import RetentionOutcome
from operations.retention.policy import Age
from operations.settings import Settings
from operations.stages import Stages
from operations.verify import run as verify
from operations.verify.sides import Report
from schemas.errors import HeadraceError
from schemas.tables import EVENTS
from shop import actions
from shop.model import History
from sinks.archive.reader import ArchiveSelection
from stack import supervisor

Check = Callable[[], None]
ARRIVAL_DEADLINE_S = 60.0
CATCH_UP_S = 120.0
POLL_S = 0.02
SAMPLE_S = 0.5
TWELVE_YEARS, ELEVEN_YEARS = timedelta(days=12 * 366), Age(years=11)
INDENT = " " * 6


def run(folder: Path, out: Console, *, orders: int, olist: Path | None, keep: bool) -> bool:
    """Show everything; returns whether reporting equals the sources.

    Stops all that it started unless `keep`. The data go with it when all was equal or somebody interrupted; after a
    failure they stay, with the logs, to be looked at.
    """
    past = load.history(folder=olist, orders=orders, seed=1)  # a folder that can't be read: before anything starts
    if local.exists(folder):
        ways = f"see `{invocation('status')}`, or end it: `{invocation('down --wipe')}`"
        raise HeadraceError(f"{folder} holds a line already; {ways}")
    failed = True
    with supervisor.terminable():
        try:
            failed = not _show(folder, past, out)
        except KeyboardInterrupt:
            failed = keep = False
            raise
        finally:
            with supervisor.undisturbed():
                _end(folder, out, keep=keep, failed=failed)
    return not failed


def run_on(settings: Settings, out: Console, *, orders: int, olist: Path | None) -> bool:
    """Show everything but the start and the end, on a line that runs already, such as that of docker-compose.yml.

    Returns whether reporting equals the sources.
    """
    past = load.history(folder=olist, orders=orders, seed=1)
    began = time.monotonic()
    at = settings.reporting
    _step(out, "[1/5] servers", f"running already; reporting is {at.database} ({at.adapter}) at {at.host}:{at.port}")
    barrier.wait_for_barrier(connections.probe(settings), deadline_s=CATCH_UP_S)
    _step(out, "[2/5] line", f"captures, enriches and lands; {time.monotonic() - began:.1f} s")
    return _tour(settings, past, out, began, lambda: None)


def _show(folder: Path, past: History, out: Console) -> bool:
    began = time.monotonic()
    settings = _start(folder, out)
    return _tour(settings, past, out, began, partial(local.check_workers, folder))


def _tour(settings: Settings, past: History, out: Console, began: float, check: Check) -> bool:
    landed_after = _trade(settings, past, out, began, check)
    _change(settings, out, check)
    equal = _prove(settings, out, check) and _age(settings, past.first_day, out, check)
    took = time.monotonic() - began
    out.print(f"\nFirst order in reporting {landed_after:.1f} s after the start; everything in {took:.1f} s.")
    return equal


def _end(folder: Path, out: Console, *, keep: bool, failed: bool) -> None:
    """Leave everything running, or stop it; delete it unless there is something to look at."""
    if keep:
        local.say_left(folder, out)
        return
    evidence = failed and any(local.logs(folder).glob("*.log"))
    local.down(folder, Console(quiet=True), wipe=not evidence)
    if evidence:
        gone = f"`{invocation('down --wipe')}` deletes both"
        out.print(f"Stopped. Logs: {local.logs(folder)}; data: {folder}; {gone}.", markup=False, soft_wrap=True)


def _start(folder: Path, out: Console) -> Settings:
    began = time.monotonic()
    out.print("Real servers, started here, traded on, and stopped again; it takes about a minute.", style="dim")
    settings, ready = local.start(folder, lambda said: out.print(f"      {said}", style="dim", markup=False))
    _step(out, "[1/5] servers", local.describe(ready))
    _step(out, "[2/5] line", f"2 connectors stream, {len(local.WORKERS)} workers; {time.monotonic() - began:.1f} s")
    return settings


def _trade(settings: Settings, past: History, out: Console, began: float, check: Check) -> float:
    """Play the orders beside a live table until all have landed; returns when the first one had (s)."""
    _step(out, "[3/5] orders", f"{past.orders:,} orders of {past.first_day} to {past.last_day}")
    probe, reader = connections.probe(settings), connections.report(settings, "reader")
    stages, shop = Stages(probe), load.Player(settings, past)
    first: float | None = None

    def look(*, last: bool = False) -> None:
        nonlocal first
        check()
        if first is None and reader.query(ANY_ORDER):
            first = time.monotonic() - began
        board.show_sample(shop.orders, past.orders, stages.sample(), last=last)

    with Board(out) as board:
        while shop.running():
            look()
            time.sleep(SAMPLE_S)
        barrier.wait_for_barrier(probe, deadline_s=CATCH_UP_S, on_wait=lambda _: look())
        look(last=True)
    if first is None:
        raise HeadraceError("everything has landed, but report.orders shows its readers no order")
    return first


def _change(settings: Settings, out: Console, check: Check) -> None:
    """Change a price, cancel an order, sell a product that the catalog learns late; follow each to a reader."""
    reader = connections.report(settings, "reader")
    sales, catalog = connections.oltp(settings, "app_writer"), connections.catalog(settings)

    product = actions.change_price(catalog)
    took = _seconds_until(
        reader, check, f"SELECT 1 FROM report.products WHERE {_is(product)} AND price = {product.price}"
    )
    _step(out, "", f"a price changed           visible to readers after {took:.2f} s")

    order = actions.cancel_order(sales)
    took = _seconds_until(reader, check, f"SELECT 1 FROM report.orders WHERE {_is(order)} AND status = 'cancelled'")
    _step(out, "", f"an order was cancelled    visible to readers after {took:.2f} s")

    line = actions.sell_unlisted(sales)
    late = f"SELECT 1 FROM report.order_lines WHERE {_is(line)} AND enrichment_status"
    took = _seconds_until(reader, check, f"{late} = 'pending'")
    _step(out, "", f"an unlisted product sold  visible, pending, after {took:.2f} s")
    actions.list_late(catalog, line)
    took = _seconds_until(reader, check, f"{late} = 'enriched'")
    _step(out, "", f"the product was listed    its line enriched after {took:.2f} s")


def _prove(settings: Settings, out: Console, check: Check) -> bool:
    """A small report as a reader gets it, then every row compared, and no line left that waits for its product."""
    reader = connections.report(settings, "reader")
    _step(out, "[4/5] report", "as a reader of reporting sees it")
    summary(reader, out)
    result = verify.verify(settings, deadline_s=CATCH_UP_S, on_wait=lambda _: check())
    _step(out, "      verify", "every row of Postgres and MongoDB against reporting")
    waiting = _waiting(reader, out)
    verify.print_result(result, out, json=False)
    return result.equal and not waiting


def _waiting(reader: Report, out: Console) -> int:
    """Print how many order lines have their product, and return how many still wait: the catalog now lists them all.

    Equal tables don't tell: where the catalog has lost a product, a line that waits for it is what is expected.
    """
    ((lines, enriched),) = reader.query(LINES)
    out.print(f"{INDENT}lines {enriched:,} visible and enriched, {lines - enriched:,} waiting for their product")
    return int(lines - enriched)


def _age(settings: Settings, first_day: date, out: Console, check: Check) -> bool:
    """Enter an order of twelve years ago; let what is too old go, once it is archived; read it back from the archive.

    Where the orders that were played are too old themselves, a longer policy lets them stay to be looked at.
    """
    at = datetime.now(UTC) - TWELVE_YEARS
    rules = policy.load(None)
    if first_day < rules.events.before(at.date() + TWELVE_YEARS):
        rules = rules.model_copy(update={"events": ELEVEN_YEARS, "orders": ELEVEN_YEARS})
    migrate.make_partitions(settings, at.date(), at.date())
    order = actions.sell_long_ago(connections.oltp(settings, "app_writer"), connections.catalog(settings), at)
    reader = connections.report(settings, "reader")
    visible = f"SELECT 1 FROM report.orders WHERE {_is(order)}"
    _seconds_until(reader, check, visible)
    _step(out, "[5/5] archive", f"an order of {at:%Y-%m-%d}; policy: events {rules.events}, orders {rules.orders}")
    log, of_that_day = connections.archive(settings, "demo"), ArchiveSelection(since=at.date(), until=at.date())
    _until(check, lambda: any(lines(log, EVENTS, of_that_day)), "the event is not in the archive")
    items = retention.collect(settings, rules)
    for item in items:
        _step(out, "", f"{item.outcome:6}{item.store:14}{item.what:30}{item.count:>7,}")
    (event,) = map(orjson.loads, lines(log, EVENTS, of_that_day))
    _step(out, "", f"read back from there: {event['event_type']} {event['payload'][:60]}…")
    return not reader.query(visible) and all(item.outcome is not RetentionOutcome.KEPT for item in items)


ANY_ORDER = "SELECT tenant_id FROM report.orders ORDER BY tenant_id OFFSET 0 ROWS FETCH NEXT 1 ROWS ONLY"
LINES = (
    "SELECT COUNT(*), COALESCE(SUM(CASE WHEN enrichment_status = 'enriched' THEN 1 ELSE 0 END), 0) "
    "FROM report.order_lines"
)


def summary(report: Report, out: Console) -> None:
    """Revenue by tenant and month, the top products, payments by status: three short lists side by side."""
    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in SUMMARY:
        grid.add_column(title, no_wrap=True)
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


def _seconds_until(reader: Report, check: Check, sql: str) -> float:
    return _until(check, lambda: bool(reader.query(sql)), f"not visible to readers: {sql}")


def _until(check: Check, happened: Callable[[], bool], otherwise: str) -> float:
    """Seconds until it happened. Raises HeadraceError after ARRIVAL_DEADLINE_S."""
    began = time.monotonic()
    while not happened():
        check()
        if time.monotonic() - began > ARRIVAL_DEADLINE_S:
            raise HeadraceError(f"{otherwise} after {ARRIVAL_DEADLINE_S:.0f} s")
        time.sleep(POLL_S)
    return time.monotonic() - began


def _step(out: Console, head: str, said: str) -> None:
    out.print(f"{head:16}{said}", markup=False, soft_wrap=True, style="bold" if head.startswith("[") else None)
