"""What verification reads of the sources, on real servers."""

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pymongo
import pytest
from bson import Decimal128
from pymongo import monitoring

from operations import connections
from operations.expected import EnrichedSource
from operations.rows import KEYS_AT_ONCE, CatalogSource, PostgresSource
from operations.scope import Scope
from operations.settings import Settings
from schemas.tables import ORDER_LINES

NOW = datetime.now(UTC)
MONTH = NOW.date().replace(day=1)
OTHERS = 40  # products of the tenant that no line is of


class Documents(monitoring.CommandListener):
    """Counts the documents of price_history that the server hands out."""

    def __init__(self) -> None:
        self.read = 0

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """Not needed."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Not needed."""

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        cursor = event.reply.get("cursor", {})
        if cursor.get("ns", "").endswith(".price_history"):
            self.read += len(cursor.get("firstBatch", [])) + len(cursor.get("nextBatch", []))


@pytest.fixture
def tenant() -> str:
    return f"t-{secrets.token_hex(6)}"


@pytest.fixture
def documents() -> Documents:
    return Documents()


@pytest.fixture
def catalog(settings: Settings, documents: Documents) -> Iterator[Any]:
    client: Any = pymongo.MongoClient(settings.catalog.uri, tz_aware=True, event_listeners=[documents])
    yield client[settings.catalog.database]
    client.close()


def price(catalog: Any, tenant: str, sku: str, name: str) -> None:
    id_ = {"tenant_id": tenant, "sku": sku, "valid_from": NOW - timedelta(days=1)}
    entry = {"name": name, "category": "home", "price": Decimal128("5.0000"), "currency": "EUR"}
    catalog.price_history.insert_one({"_id": id_} | id_ | entry)


def order_with_lines(settings: Settings, tenant: str, lines: int) -> None:
    with connections.oltp(settings, "app_writer") as shop, shop.transaction():
        shop.execute(
            "INSERT INTO sales.orders (tenant_id, order_month, order_id, customer_id, status, total, currency, "
            "placed_at) VALUES (%s, %s, 'o', 'c', 'placed', 1, 'EUR', %s)",
            [tenant, MONTH, NOW],
        )
        shop.execute(
            "INSERT INTO sales.order_lines (tenant_id, order_month, order_id, line_no, sku, quantity, unit_price, "
            "freight, currency, priced_at) SELECT %s, %s, 'o', n, 'lamp', 1, 1, 0, 'EUR', %s "
            "FROM generate_series(1, %s) AS n",
            [tenant, MONTH, NOW, lines],
        )


def test_rows_are_enriched_from_the_entries_of_their_own_products_alone(
    settings: Settings, catalog: Any, documents: Documents, tenant: str
) -> None:
    price(catalog, tenant, "lamp", "Lamp")
    for number in range(OTHERS):
        price(catalog, tenant, f"other-{number}", "Other")
    order_with_lines(settings, tenant, KEYS_AT_ONCE + 1)
    with connections.oltp(settings, "reporter_reader") as oltp:
        source = EnrichedSource(PostgresSource(oltp), CatalogSource(catalog), now=lambda: NOW + timedelta(days=1))
        rows = list(source.rows(ORDER_LINES, Scope(tenants=(tenant,))))
    names = [column.name for column in ORDER_LINES.all_columns]
    assert [row[names.index("product_name")] for row in rows] == ["Lamp"] * (KEYS_AT_ONCE + 1)
    assert documents.read == 2  # once for every 200 rows
