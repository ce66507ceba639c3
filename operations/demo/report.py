"""Step 4 of the demo: a short report, and the verification of every row."""

from datetime import date
from decimal import Decimal
from itertools import zip_longest

from rich.console import Console
from rich.padding import Padding
from rich.table import Table as Grid

from operations import connections
from operations.databases.sides import Report
from operations.demo.orders import CATCH_UP_S
from operations.demo.steps import INDENT, Check, print_step
from operations.settings import Settings
from operations.verify import run as verify

LINES = (
    "SELECT COUNT(*), COALESCE(SUM(CASE WHEN enrichment_status = 'enriched' THEN 1 ELSE 0 END), 0) "
    "FROM report.order_lines"
)
SUMMARY = {
    "revenue by tenant and month": "SELECT tenant_id, order_month, SUM(total) FROM report.orders "
    "WHERE status <> 'cancelled' GROUP BY tenant_id, order_month "
    "ORDER BY 3 DESC, 1, 2 OFFSET 0 ROWS FETCH NEXT 3 ROWS ONLY",
    "top products": "SELECT product_name, SUM(quantity) FROM report.order_lines WHERE product_name IS NOT NULL "
    "GROUP BY product_name ORDER BY 2 DESC, 1 OFFSET 0 ROWS FETCH NEXT 3 ROWS ONLY",
    "payments by status": "SELECT provider_status, COUNT(*), SUM(amount) FROM report.payments "
    "GROUP BY provider_status ORDER BY 2 DESC, 1 OFFSET 0 ROWS FETCH NEXT 3 ROWS ONLY",
}
NAME_WIDTH = 16  # columns, of a tenant or product: an id may have 64 characters


def verify_report(settings: Settings, out: Console, check: Check) -> bool:
    """Print a report, then compare every row; return whether all are equal and every order line has its product."""
    reader = connections.report(settings, "reader")
    print_step(out, "[4/5] report", "queried as a reader of the reporting database")
    print_summary(reader, out)
    result = verify.verify(settings, deadline_s=CATCH_UP_S, on_wait=lambda _: check())
    print_step(out, "      verify", "every row of Postgres and MongoDB compared with reporting")
    pending = _print_pending(reader, out)
    verify.print_result(result, out, json=False)
    return result.equal and not pending


def _print_pending(reader: Report, out: Console) -> int:
    """Print how many order lines are enriched, and return how many are not. By now the catalog has all products.

    Verification alone would not notice: it expects a pending line where the catalog has lost a product.
    """
    ((lines, enriched),) = reader.query(LINES)
    out.print(f"{INDENT}order lines: {enriched:,} enriched, {lines - enriched:,} waiting for their product")
    return int(lines - enriched)


def print_summary(report: Report, out: Console) -> None:
    """Print revenue by tenant and month, the top products, and payments by status: three short lists side by side."""
    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in SUMMARY:
        grid.add_column(title, no_wrap=True)
    lists = [[" ".join(map(_cell, row)) for row in report.query(sql)] for sql in SUMMARY.values()]
    for row in zip_longest(*lists, fillvalue=""):
        grid.add_row(*row)
    out.print(Padding(grid, (0, 0, 0, len(INDENT))))


def _cell(value: object) -> str:
    match value:
        case Decimal():
            return f"{value:,.2f}"
        case date():
            return f"{value:%Y-%m}"
        case int():
            return f"{value:,}"
    return str(value) if len(str(value)) <= NAME_WIDTH else f"{str(value)[: NAME_WIDTH - 1]}…"
