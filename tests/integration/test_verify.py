"""Verification and its repair on real servers, and the sums that prove an event."""

import secrets
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pymongo
import pytest
from bson import Decimal128
from pymongo import monitoring

from messaging import ranges
from messaging.dead_letters import record
from messaging.decoding import Decoding
from messaging.registry import Registry
from operations import connections
from operations.databases.database import KEYS_AT_ONCE
from operations.databases.mongo import CatalogSource
from operations.databases.postgres import PostgresReport, PostgresSource
from operations.databases.scope import Scope
from operations.probe import open_probe
from operations.retention.source import OltpRetention
from operations.settings import Settings
from operations.verify.diff import Difference
from operations.verify.enriched import EnrichedSource
from operations.verify.repair import only_copies, repair
from operations.verify.settle import Result, Sides, TableResult
from schemas.change import Op
from schemas.checksums import row_text, sum_of
from schemas.decoders.postgres import decoder
from schemas.decoders.record import key_bytes
from schemas.delete_envelope import delete_value
from schemas.errors import HeadraceError
from schemas.position import Position
from schemas.tables import EVENTS, ORDER_LINES, ORDERS, Table
from sinks.reporting.memory import MemoryReporting
from sinks.reporting.port import Batch
from tests.support.eventually import eventually
from tests.support.landing import GENERATION, Landing

NOW = datetime.now(UTC)
MONTH = NOW.date().replace(day=1)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHERS = 40  # products of the tenant without order lines


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


# Rows that only reporting has


class Rows:
    """A source that has some of the rows that reporting has, and no other."""

    def __init__(self, report: PostgresReport, *order_ids: str) -> None:
        self._report, self._has = report, order_ids

    def rows(self, table: Table, scope: Scope) -> Iterator[Any]:
        return (row for row in self._report.rows(table, scope) if row[2] in self._has)


def rebuilt(landing: Landing) -> set[str]:
    """The orders that a rebuild has: every record of the topic, landed from its beginning."""
    decoding, memory = Decoding(landing.registry, [landing.table]), MemoryReporting()
    for came in map(record, ranges.everything(landing.bootstrap, landing.topic)):
        change = decoding.change(came.topic, came.key, came.value, came.headers, came.offset)
        assert change is not None
        memory.land(Batch(changes=[change], checkpoints={}))
    return {str(key[2]) for key, stored in memory.rows(landing.table).items() if stored.row is not None}


def repaired(landing: Landing, order_id: str, source: Any) -> Result:
    """Return the comparison after a repair of an order that only reporting has."""
    with (
        open_probe(landing.settings) as probe,
        psycopg.connect(landing.conninfo, autocommit=True) as connection,
    ):
        report = PostgresReport(connection, GENERATION)
        key = (landing.name, date(2026, 11, 1), order_id)
        (row,) = report.rows(landing.table, Scope(keys=(key,)))
        found = Difference(
            table=landing.table, key=key, source=None, report=row, place=report.places(landing.table, [key])[key]
        )
        result = Result(
            tables=[
                TableResult(
                    table=landing.table, source=1, report=2, tenants={landing.name}, different=[found], unsettled=[]
                )
            ],
            seconds=0,
            through={},
        )
        worker = landing.workers[-1]

        def barrier() -> dict[Any, Any]:
            landing.drain(worker)
            return {}

        sides = Sides(source=lambda _: source(report), report=report, barrier=barrier)
        return repair(landing.settings, result, replace(probe, report=report), sides, by="test", deadline_s=0)


def test_a_row_that_only_reporting_has_comes_back_by_no_rebuild(landing: Landing) -> None:
    landing.put("phantom", "c")
    landing.put("real", "c")
    landing.drain(landing.worker())
    assert repaired(landing, "phantom", lambda report: Rows(report, "real")).equal
    assert landing.statuses() == {"phantom": "(deleted)", "real": "placed"}
    assert rebuilt(landing) == {"real"}

    landing.put("phantom", "c")  # the source has it after all, later
    landing.drain(landing.workers[-1])
    assert landing.statuses()["phantom"] == "placed"
    assert rebuilt(landing) == {"phantom", "real"}


def test_a_row_that_a_snapshot_has_read_is_deleted_behind_that(landing: Landing) -> None:
    landing.put("phantom", "r")
    landing.drain(landing.worker())
    assert repaired(landing, "phantom", Rows).equal
    assert rebuilt(landing) == set()


def test_a_delete_record_is_what_capture_would_have_written(capture: Settings, tenant: str) -> None:
    """By the schemas that the running Debezium has registered."""
    order_with_lines(capture, tenant, 1)
    registry = Registry(capture.registry.url)
    landed, at = Position(1, 7, log=(100, 120)), datetime.now(UTC)
    for table in (ORDERS, ORDER_LINES):
        schema_id, schema = eventually(lambda table=table: latest(registry, table))
        datum = registry.decode(delete_value(schema_id, schema, landed, at))
        key = (tenant, MONTH, "o", 1)[: len(table.key)]
        change = decoder(table)(key_bytes(table, key), datum, 1, 8)
        assert (change.op, change.key, change.row, change.source_time) == (Op.DELETE, key, None, at)
        assert change.position.wins_over(landed)
        assert not landed._replace(offset=9).wins_over(change.position)  # a repeat of the row
        assert Position(1, 9, log=(100, 128)).wins_over(change.position)  # the next change of the same transaction
    registry.close()


def latest(registry: Registry, table: Table) -> tuple[int, dict[str, Any]] | None:
    try:
        return registry.latest(f"{table.captured_topics[0]}-value")
    except HeadraceError:
        return None  # nothing has been captured yet


# Events


class Nothing:
    """A source without a row."""

    def rows(self, table: Table, scope: Scope) -> Iterator[Any]:
        return iter(())


def test_an_event_that_only_reporting_has_is_left_as_it_is(
    settings: Settings, landing_generation: None, tenant: str
) -> None:
    """It may be the only copy of it; and its record, which nothing deletes, would bring it back."""
    key = (tenant, NOW.date(), str(uuid4()))
    with (
        open_probe(settings) as probe,
        psycopg.connect(connections.reporting_conninfo(settings, "writer"), autocommit=True) as connection,
    ):
        connection.execute(
            f"INSERT INTO reporting_g{GENERATION}.events (tenant_id, event_day, event_id, aggregate_type, "
            "aggregate_id, event_type, schema_version, payload, occurred_at) "
            "VALUES (%s, %s, %s, 'order', 'o', 'e', 1, '{}', %s)",
            [*key, NOW],
        )
        report = PostgresReport(connection, GENERATION)
        (row,) = report.rows(EVENTS, Scope(keys=(key,)))
        found = Difference(table=EVENTS, key=key, source=None, report=row)
        result = Result(
            tables=[TableResult(table=EVENTS, source=0, report=1, tenants={tenant}, different=[found], unsettled=[])],
            seconds=0,
            through={},
        )
        sides: Sides = Sides(source=lambda _: Nothing(), report=report, barrier=dict)  # type: ignore[arg-type,return-value]
        after = repair(settings, result, replace(probe, report=report), sides, by="test", deadline_s=0)
        assert list(report.rows(EVENTS, Scope(keys=(key,)))) == [row]
        assert after.tables[0].different == [found]
        assert only_copies(after) == {"events": 1}


def test_an_event_is_captured_with_the_content_by_which_the_outbox_is_summed(capture: Settings, tenant: str) -> None:
    payloads = [
        '{"b": 1.50, "a": ["\\u0001", null, "zo\u00eb \U0001f600"]}',
        '{"n": 12345678901234567890.1234500}',
        "null",
    ]
    with connections.oltp(capture, "app_writer") as shop:
        for payload in payloads:
            shop.execute(
                "INSERT INTO sales.outbox_events (event_id, tenant_id, aggregate_type, aggregate_id, event_type, "
                "payload, headers) VALUES (%s, %s, 'order', 'o', 'e', %s, %s)",
                [uuid4(), tenant, payload, f'{{"traceparent": "{TRACE}"}}'],
            )
    registry, text = Registry(capture.registry.url), row_text(EVENTS.columns)
    decoding = Decoding(registry, [EVENTS])

    def captured() -> list[str]:
        records = map(record, ranges.everything(capture.kafka.bootstrap, "shop.events.order"))
        changes = [decoding.change(came.topic, came.key, came.value, came.headers, came.offset) for came in records]
        return [text(change.row) for change in changes if change and change.row and change.key[0] == tenant]

    eventually(lambda: len(captured()) == len(payloads))
    with connections.oltp(capture, "retention") as connection:
        retention = OltpRetention(connection)
        (leaf,) = (leaf for leaf in retention.leaves(EVENTS) if leaf.start <= NOW < leaf.end)
        assert sorted(captured()) == sorted(map(text, retention.events(EVENTS, leaf, tenant)))
        assert retention.event_sums(EVENTS, leaf, [])[tenant] == sum_of(captured())
    registry.close()
