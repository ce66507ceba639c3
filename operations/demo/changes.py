"""Step 3 of the demo, continued: change single rows and measure how soon a reader of reporting sees each change."""

from rich.console import Console

from operations import connections
from operations.demo.steps import Check, matches, print_step, wait_until_visible
from operations.settings import Settings
from shop import actions


def follow_changes(settings: Settings, out: Console, check: Check) -> None:
    """Change a price, cancel an order, and sell a product before the catalog has it; wait for each in reporting."""
    reader = connections.report(settings, "reader")
    sales, catalog = connections.oltp(settings, "app_writer"), connections.catalog(settings)

    product = actions.change_price(catalog)
    sql = f"SELECT 1 FROM report.products WHERE {matches(product)} AND price = {product.price}"
    print_step(
        out, "      changes", f"price changed             visible in {wait_until_visible(reader, check, sql):.2f} s"
    )

    order = actions.cancel_order(sales)
    sql = f"SELECT 1 FROM report.orders WHERE {matches(order)} AND status = 'cancelled'"
    print_step(out, "", f"order cancelled           visible in {wait_until_visible(reader, check, sql):.2f} s")

    line = actions.sell_unlisted(sales)
    sql = f"SELECT 1 FROM report.order_lines WHERE {matches(line)} AND enrichment_status"
    seconds = wait_until_visible(reader, check, f"{sql} = 'pending'")
    print_step(out, "", f"unknown product sold      visible in {seconds:.2f} s, without product data")
    actions.list_late(catalog, line)
    seconds = wait_until_visible(reader, check, f"{sql} = 'enriched'")
    print_step(out, "", f"product added to catalog  order line enriched in {seconds:.2f} s")
