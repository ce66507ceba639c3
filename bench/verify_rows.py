"""The rows of bench.verify, written to Postgres and MongoDB."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg

from operations import connections
from operations.settings import Settings
from shop.catalog import write_listings
from shop.model import ListProduct

TENANTS, PRODUCTS = 50, 20

# An order has two lines and a payment: a quarter of the rows each.
WRITTEN = (
    """
INSERT INTO sales.orders (tenant_id, order_month, order_id, customer_id, status, total, currency, placed_at)
SELECT 'bench-' || n %% %(tenants)s, date_trunc('month', now())::date, md5(n::text), md5((-n)::text), 'placed',
    n / 100.0, 'BRL', now() - n * interval '1 ms'
FROM generate_series(1, %(orders)s) AS n
""",
    """
INSERT INTO sales.order_lines (tenant_id, order_month, order_id, line_no, sku, quantity, unit_price, freight, currency,
    priced_at)
SELECT 'bench-' || n %% %(tenants)s, date_trunc('month', now())::date, md5(n::text), line,
    'sku-' || (n + line) %% %(products)s, 1, 9.9, 1, 'BRL', now() - n * interval '1 ms'
FROM generate_series(1, %(orders)s) AS n, generate_series(1, 2) AS line
""",
    """
INSERT INTO sales.payments (tenant_id, payment_id, order_month, order_id, provider, provider_status, method,
    installments, amount, currency, paid_at)
SELECT 'bench-' || n %% %(tenants)s, 'p-' || n, date_trunc('month', now())::date, md5(n::text), 'acme', 'captured',
    'card', 1, n / 100.0, 'BRL', now()
FROM generate_series(1, %(orders)s) AS n
""",
)


def write_rows(settings: Settings, orders: int) -> None:
    """Write the catalog, and `orders` orders with two lines and a payment each."""
    valid_from = datetime.now(UTC).replace(microsecond=0) - timedelta(days=2)
    listings = [
        ListProduct(
            at=valid_from,
            tenant_id=f"bench-{tenant}",
            sku=f"sku-{sku}",
            name=f"product {sku}",
            category="bench",
            price=Decimal(sku + 1),
            currency="BRL",
            stock=1,
        )
        for tenant in range(TENANTS)
        for sku in range(PRODUCTS)
    ]
    write_listings(connections.catalog(settings), listings)
    values = {"tenants": TENANTS, "products": PRODUCTS, "orders": orders}
    with psycopg.connect(connections.oltp_conninfo(settings, "app_writer")) as connection:
        for statement in WRITTEN:
            connection.execute(statement.encode(), values)
