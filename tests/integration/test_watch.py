"""Freshness on real servers: a table is complete up to a moment when all of it until then can be read, never before."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import psycopg
import pytest
from confluent_kafka import TopicPartition

from connectors.connect import Connect
from messaging import clients
from messaging.dead_letters import DeadLetters
from messaging.decoding import Decoding
from messaging.registry import Registry
from operations import connections, migrate
from operations.barrier import PipelineProbe
from operations.generations import Generation, State
from operations.probe import connect_probe
from operations.settings import Settings
from operations.watch import metrics
from operations.watch.connectors import Connectors
from operations.watch.worker import WatchWorker
from schemas.tables import ORDERS, PAYMENTS, PRODUCTS
from sinks.reporting.postgres.driver import PostgresReporting
from sinks.reporting.worker import SinkLimits, SinkWorker
from streams.heartbeat import HeartbeatWriter
from tests.support.eventually import eventually

GENERATION = 74
TABLES = (ORDERS, PAYMENTS, PRODUCTS)
NOW = "SELECT clock_timestamp()"


class World:
    """Two sinks, one for payments alone, that land in a generation of their own, and a watch on it, turn by turn."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.sales = connections.oltp(settings, "migrator")
        self.report = psycopg.connect(connections.reporting_conninfo(settings, "migrator"), autocommit=True)
        self.registry = Registry(settings.registry.url)
        self.sink, self.payments = self._sink(ORDERS, PRODUCTS), self._sink(PAYMENTS)
        self.catalog: str | None = None
        # As the enrichment worker does it: behind a beat, everything older in the catalog has been captured.
        self.heartbeat = HeartbeatWriter(connections.catalog_uri(settings), settings.catalog.database)
        self.heartbeat.start()
        self.watch = WatchWorker(
            connect=self._hops,
            connectors=Connectors(Connect(settings.connect.url), []),
            generation=Generation(number=GENERATION, state=State.BUILDING, epoch=1),
            replication=connections.oltp_conninfo(settings, "cdc_reader"),
            every=0.1,
        )

    def _sink(self, *tables: Any) -> SinkWorker:
        bootstrap = self.settings.kafka.bootstrap
        return SinkWorker(
            bootstrap=bootstrap,
            group=f"test-watch-{tables[0].name}",
            reporting=PostgresReporting(connections.reporting_conninfo(self.settings, "writer"), GENERATION),
            decoding=Decoding(self.registry),
            dead_letters=DeadLetters(clients.producer(bootstrap), "test-watch"),
            tables=tables,
            pace=SinkLimits(linger=0.02),
        )

    def _hops(self) -> PipelineProbe:
        catalog = self.settings.catalog.model_copy(update={"uri": self.catalog} if self.catalog else {})
        probe = connect_probe(self.settings.model_copy(update={"catalog": catalog}), GENERATION)
        return replace(probe, pipeline=replace(probe.pipeline, tables=TABLES))

    def turn(self) -> None:
        self.sink.turn(0.05)
        self.payments.turn(0.05)
        self.watch.turn()

    def complete(self, table: str) -> datetime | None:
        sql = f"SELECT complete_through FROM reporting_g{GENERATION}.freshness WHERE table_name = %s"
        found = self.report.execute(sql.encode(), [table]).fetchone()
        return found[0] if found else None

    def now(self) -> datetime:
        ((moment,),) = self.sales.execute(NOW).fetchall()
        return moment

    def until_complete(self, table: str, moment: datetime) -> None:
        def complete() -> bool:
            self.turn()
            through = self.complete(table)
            return through is not None and through >= moment

        eventually(complete)

    def close(self) -> None:
        self.heartbeat.stop()
        self.sink.close()
        self.payments.close()
        self.watch.close()
        self.registry.close()
        self.sales.close()
        self.report.close()


@pytest.fixture(scope="module")
def world(capture: Settings) -> Iterator[World]:
    migrate.migrate_reporting(capture, GENERATION)
    world = World(capture)
    world.sales.execute("SELECT sales.make_partitions(current_date, current_date)")
    world.sales.execute(
        "INSERT INTO sales.orders (tenant_id, order_month, order_id, customer_id, status, total, currency, placed_at) "
        "SELECT 'watched', date_trunc('month', now())::date, 'o-1', 'c', '0', 0, 'BRL', now() "
        "ON CONFLICT DO NOTHING"
    )
    world.sales.execute(
        "INSERT INTO sales.payments (tenant_id, payment_id, order_month, order_id, provider, provider_status, method, "
        "installments, amount, currency, paid_at) "
        "SELECT 'watched', 'p-1', order_month, order_id, 'a', 'b', 'c', 1, 0, 'BRL', now() FROM sales.orders "
        "WHERE tenant_id = 'watched' ON CONFLICT DO NOTHING"
    )
    yield world
    world.close()


def pay(world: World, amount: int) -> datetime:
    """The payment changes at the source; the moment when everybody could see it there."""
    world.sales.execute("UPDATE sales.payments SET amount = %s WHERE tenant_id = 'watched'", [amount])
    return world.now()


def shown(world: World) -> int:
    """The payment's amount in reporting."""
    sql = f"SELECT amount FROM reporting_g{GENERATION}.payments WHERE tenant_id = 'watched' AND payment_id = 'p-1'"
    return int((world.report.execute(sql.encode()).fetchone() or [-1])[0])


def test_while_writes_go_on_nothing_is_called_complete_that_is_not_there(world: World):
    world.until_complete("payments", world.now())
    first = shown(world) + 1
    history: list[tuple[datetime, int]] = []
    stamps = set()
    for amount in range(first, first + 25):
        history.append((pay(world, amount), amount))
        world.turn()
        through = world.complete("payments")  # read before the row, as a reader would
        promised = max((each for moment, each in history if through is not None and moment <= through), default=-1)
        assert shown(world) >= promised
        stamps.add(through)
    assert len(stamps) > 2, "freshness stood still, so nothing was tested"
    world.until_complete("payments", history[-1][0])
    assert shown(world) == history[-1][1]


def test_one_stalled_partition_holds_its_table_back_and_only_that_one(world: World):
    bootstrap, topics = world.settings.kafka.bootstrap, PAYMENTS.landed_topics
    before = clients.end_offsets(bootstrap, topics)
    amount = shown(world)
    world.until_complete("payments", pay(world, amount + 1))
    (at,) = (at for at, end in clients.end_offsets(bootstrap, topics).items() if end > before[at])
    consumer = world.payments._fetcher.consumer
    consumer.pause([TopicPartition(*at)])
    paid = pay(world, amount + 2)
    moment = world.now()
    for table in ("orders", "products"):
        world.until_complete(table, moment)
    assert shown(world) == amount + 1
    assert (world.complete("payments") or paid) < paid
    consumer.resume([TopicPartition(*at)])
    world.until_complete("payments", paid)
    assert shown(world) == amount + 2


def test_a_catalog_that_is_down_holds_its_own_tables_back_and_a_lost_connection_none(world: World):
    world.watch.close()
    world.catalog = "mongodb://127.0.0.1:9"
    held = world.complete("products")
    world.until_complete("payments", world.now())
    assert world.complete("products") == held
    assert lag("payments") < lag("products")
    world.watch.close()
    world.catalog = None
    world.until_complete("products", world.now())


def lag(table: str) -> float:
    (family,) = metrics.FRESHNESS.collect()
    (seconds,) = (sample.value for sample in family.samples if sample.labels["table"] == table)
    return seconds
