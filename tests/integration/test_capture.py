"""Capture of the reference tables: what the shop commits is what the topics hold."""

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import psycopg
import pymongo
import pytest
from bson.decimal128 import Decimal128
from confluent_kafka import TopicPartition

from connectors import apply, kafka_topics, publication, signals
from connectors.pipeline import Pipeline
from messaging import clients, dead_letters
from messaging.decoding import Decoding
from messaging.delivery import ConfirmedProducer
from messaging.registry import Registry
from operations.databases.canonical import Place
from operations.probe import open_probe
from operations.settings import Settings
from operations.verify.diff import Difference
from operations.verify.documents import write_documents
from operations.verify.overtaken import Overtaken
from operations.verify.provenance import with_record
from operations.verify.topics import capture_again
from schemas.change import Change, Key, Op
from schemas.decoders import mongo
from schemas.decoders.record import document_key_bytes
from schemas.errors import BadRecord, HeadraceError, Unavailable
from schemas.tables import EVENTS, ORDERS, PRICE_HISTORY, PRODUCTS
from schemas.topics import DEAD_LETTERS, Topic, topics
from schemas.wire import schema_id
from tests.support.capture_pipeline import CapturePipeline, Connection, servers
from tests.support.captured import Record, landed, newest
from tests.support.eventually import eventually

MONTH = date.today().replace(day=1)
DAYS = (MONTH - date(1970, 1, 1)).days
ORDER = {
    "customer_id": "c", "status": "placed", "total": "12345678.0001", "currency": "BRL",
    "placed_at": "2026-03-01 10:00:00.123456-03",
}  # fmt: skip
(ORDERS_TOPIC,) = ORDERS.captured_topics


@pytest.fixture(scope="module")
def shop(settings: Settings) -> CapturePipeline:
    """The reference line, streaming."""
    stage = CapturePipeline(settings=settings, pipeline=Pipeline(), servers=servers(settings, settings.oltp.database))
    stage.start()
    return stage


@pytest.fixture
def tenant() -> str:
    return f"capture-{uuid.uuid4()}"


@pytest.fixture
def writer(settings: Settings) -> Iterator[Connection]:
    """The shop's own connection."""
    with psycopg.connect(
        host=settings.oltp.host,
        port=settings.oltp.port,
        dbname=settings.oltp.database,
        user="app_writer",
        password=settings.oltp.app_writer_password.get_secret_value(),
        autocommit=True,
    ) as connection:
        yield connection


@pytest.fixture
def owner(shop: CapturePipeline) -> Iterator[Connection]:
    """The owner's connection, who may do what the shop may not: delete."""
    with shop.connect() as connection:
        yield connection


def place(connection: Connection, tenant: str, order: str, **values: Any) -> None:
    row = ORDER | {"tenant_id": tenant, "order_month": MONTH, "order_id": order} | values
    connection.execute(
        f"INSERT INTO sales.orders ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})", [*row.values()]
    )


def order_key(tenant: str, order: str) -> bytes:
    return json.dumps({"tenant_id": tenant, "order_month": DAYS, "order_id": order}, separators=(",", ":")).encode()


def orders(shop: CapturePipeline, tenant: str, order: str, times: int) -> list[Record]:
    """The records of one order, once there are so many."""
    key = order_key(tenant, order)
    found = [record for record in shop.until(ORDERS_TOPIC, key, times=times) if record.key == key]
    assert len({record.partition for record in found}) == 1, "a key has left its partition"
    return found


def row(connection: Connection, key: Key) -> tuple[Any, ...] | None:
    names = ", ".join(column.name for column in ORDERS.columns)
    return connection.execute(
        f"SELECT {names} FROM sales.orders WHERE (tenant_id, order_month, order_id) = (%s, %s, %s)", key
    ).fetchone()


def newest_order(records: list[Record]) -> Change:
    (change,) = newest(record.change(ORDERS) for record in records).values()
    return change


def test_applying_again_changes_nothing(shop: CapturePipeline) -> None:
    plan = apply.plan(shop.pipeline, shop.servers)
    assert plan.changes == ()
    assert all(line.endswith(": unchanged") for line in plan.describe())


def test_an_order_arrives_as_it_is_with_four_decimals_and_microseconds(
    shop: CapturePipeline, writer: Connection, tenant: str
) -> None:
    place(writer, tenant, "o")
    (record,) = orders(shop, tenant, "o", 1)
    change = record.change(ORDERS)
    assert (change.op, change.key) == (Op.CREATE, (tenant, MONTH, "o"))
    assert change.row == row(writer, change.key)
    assert change.row[5] == Decimal("12345678.0001")
    assert change.row[7].microsecond == 123456
    assert record.headers == {"headrace-epoch": b"1"}


def test_the_workers_decoding_reads_what_connect_writes(
    shop: CapturePipeline, writer: Connection, tenant: str, settings: Settings
) -> None:
    place(writer, tenant, "o")
    (record,) = orders(shop, tenant, "o", 1)
    registry = Registry(settings.registry.url)
    read = Decoding(registry).change(
        record.topic, record.key, record.value, list(record.headers.items()), record.offset
    )
    registry.close()
    assert read == record.change(ORDERS)


def test_a_delete_is_its_keys_last_record_and_no_tombstone_follows(
    shop: CapturePipeline, owner: Connection, tenant: str
) -> None:
    place(owner, tenant, "o")
    owner.execute("DELETE FROM sales.orders WHERE tenant_id = %s", [tenant])
    place(owner, tenant, "o", status="again")
    created, deleted, again = orders(shop, tenant, "o", 3)
    assert [record.datum["op"] for record in (created, deleted, again)] == ["c", "d", "c"]
    assert deleted.change(ORDERS).row is None
    assert newest_order([created, deleted]).op is Op.DELETE
    assert newest_order([created, deleted, again]).row[4] == "again"


def test_an_update_of_the_key_is_a_delete_and_a_create(shop: CapturePipeline, owner: Connection, tenant: str) -> None:
    place(owner, tenant, "old")
    owner.execute("UPDATE sales.orders SET order_id = 'new' WHERE tenant_id = %s", [tenant])
    _, deleted = orders(shop, tenant, "old", 2)
    (created,) = orders(shop, tenant, "new", 1)
    assert (deleted.datum["op"], created.datum["op"]) == ("d", "c")
    assert newest_order([created]).row == row(owner, (tenant, MONTH, "new"))


def test_a_row_that_moves_to_another_leaf_keeps_its_history_under_one_topic(
    shop: CapturePipeline, owner: Connection, tenant: str
) -> None:
    place(owner, tenant, "o")
    next_month = date(MONTH.year + MONTH.month // 12, MONTH.month % 12 + 1, 1)
    owner.execute("UPDATE sales.orders SET order_month = %s WHERE tenant_id = %s", [next_month, tenant])
    _, deleted = orders(shop, tenant, "o", 2)
    assert deleted.datum["op"] == "d"
    moved = order_key(tenant, "o").replace(str(DAYS).encode(), str((next_month - date(1970, 1, 1)).days).encode())
    (created,) = [record for record in shop.until(ORDERS_TOPIC, moved) if record.key == moved]
    assert newest_order([created]).row == row(owner, (tenant, next_month, "o"))


def test_of_many_interleaved_updates_the_last_to_commit_is_the_newest(
    shop: CapturePipeline, owner: Connection, tenant: str
) -> None:
    for order in ("a", "b"):
        place(owner, tenant, order, total=0)
    statement = "UPDATE sales.orders SET total = %s WHERE tenant_id = %s AND order_id = %s"
    for turn in range(1, 11):
        with shop.connect(autocommit=False) as first, shop.connect(autocommit=False) as second:
            first.execute(statement, [turn, tenant, "a"])
            second.execute(statement, [turn, tenant, "b"])
            # One commits before the other wrote its last row, in turns.
            (first if turn % 2 else second).commit()
            (second if turn % 2 else first).execute(statement, [turn + 1, tenant, "b" if turn % 2 else "a"])
            second.commit()
            first.commit()
    for order, times in (("a", 16), ("b", 16)):
        log = [record.change(ORDERS) for record in orders(shop, tenant, order, times)]
        totals = [change.row[5] for change, _ in landed(log)]
        assert len(totals) == len(log), "a change was taken for a repeat"
        assert log[-1].row == row(owner, (tenant, MONTH, order))


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_the_source_refuses_a_number_that_is_none(writer: Connection, tenant: str, value: str) -> None:
    with pytest.raises((psycopg.errors.CheckViolation, psycopg.errors.NumericValueOutOfRange)):
        place(writer, tenant, "o", total=value)


@pytest.mark.parametrize("value", ["infinity", "-infinity", "10000-01-01 00:00:00+00"])
def test_the_source_refuses_a_time_that_reporting_cannot_hold(writer: Connection, tenant: str, value: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        place(writer, tenant, "o", placed_at=value)


def test_an_event_is_routed_by_its_aggregate_with_its_fields_beside_the_payload(
    shop: CapturePipeline, writer: Connection, tenant: str
) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    event = str(uuid.uuid4())
    writer.execute(
        "INSERT INTO sales.outbox_events "
        "(event_id, tenant_id, aggregate_type, aggregate_id, event_type, schema_version, payload, headers, "
        "occurred_at) VALUES (%s, %s, 'payment', %s, 'PaymentCaptured', 1, %s, %s, now())",
        [event, tenant, tenant, json.dumps({"amount": "1.5000"}), json.dumps({"traceparent": trace})],
    )
    key = json.dumps(tenant).encode()
    (record,) = [each for each in shop.until("shop.events.payment", key) if each.key == key]
    change = record.change(EVENTS)
    occurred_at = writer.execute("SELECT occurred_at FROM sales.outbox_events WHERE event_id = %s", [event]).fetchone()[
        0
    ]
    values = dict(zip([column.name for column in EVENTS.columns], change.row, strict=True))
    assert json.loads(values.pop("payload")) == {"amount": "1.5000"}
    assert values == {
        "tenant_id": tenant, "event_day": occurred_at.date(), "event_id": event, "aggregate_type": "payment",
        "aggregate_id": tenant, "event_type": "PaymentCaptured", "schema_version": 1, "occurred_at": occurred_at,
        "traceparent": trace,
    }  # fmt: skip
    assert record.headers["traceparent"] == trace.encode()
    assert record.headers["headrace-epoch"] == b"1"


def test_events_that_are_there_are_read_again(
    shop: CapturePipeline, writer: Connection, owner: Connection, tenant: str
) -> None:
    """Their primary key holds an instant, by which Debezium can't read: it would pass them over."""
    writer.execute(
        "INSERT INTO sales.outbox_events (event_id, tenant_id, aggregate_type, aggregate_id, event_type, "
        "schema_version, payload, occurred_at) VALUES (%s, %s, 'payment', %s, 'PaymentCaptured', 1, '{}', now())",
        [uuid.uuid4(), tenant, tenant],
    )
    assert eventually(lambda: _of(shop, "shop.events.payment", tenant, 1))
    signals.signal_snapshot(owner, ["sales.outbox_events"])
    assert eventually(lambda: _of(shop, "shop.events.payment", tenant, 2))


def test_a_key_by_which_debezium_cannot_read_is_refused(owner: Connection) -> None:
    before = owner.execute("SELECT count(*) FROM sales.debezium_signal").fetchone()
    with pytest.raises(HeadraceError, match=r"sales.sessions.*\(tenant_id, session_id, started_at\).*no UUID"):
        signals.signal_snapshot(owner, ["sales.sessions"])
    assert owner.execute("SELECT count(*) FROM sales.debezium_signal").fetchone() == before


def test_every_leaf_of_a_captured_table_logs_whole_rows(shop: CapturePipeline, owner: Connection) -> None:
    assert publication.leaves_without_full(owner, shop.pipeline.full_identity) == ()


def test_only_the_signals_of_debezium_itself_are_left_out(shop: CapturePipeline) -> None:
    assert "shop.sales.debezium_signal" not in {topic.name for topic in shop.pipeline.topics()}
    assert eventually(lambda: shop.records("shop.sales.heartbeat"))


def test_a_bad_record_as_long_as_its_topic_takes_becomes_a_confirmed_dead_letter(settings: Settings) -> None:
    bootstrap = settings.kafka.bootstrap
    producer = clients.producer(bootstrap, compression_type="none")
    (letters,) = [topic for topic in topics() if topic.name == DEAD_LETTERS]
    origin, small, large = (f"test_capture.{name}-{uuid.uuid4()}" for name in ("origin", "small", "large"))
    kafka_topics.create_topics(
        bootstrap,
        [
            Topic(name=origin, partitions=1, config={}),
            Topic(name=small, partitions=1, config={}),
            replace(letters, name=large),
        ],
    )
    value = os.urandom(1_048_588 - 120)  # the brokers' default, less what Kafka adds
    producer.produce(origin, key=b"k", value=value, headers=[("headrace-epoch", b"1")])
    assert producer.flush(30) == 0
    assert clients.end_offsets(bootstrap, [origin]) == {(origin, 0): 1}
    reader = clients.consumer(bootstrap, "test-capture", auto_offset_reset="earliest")
    reader.assign([TopicPartition(origin, 0, 0)])
    message = reader.poll(30)
    reader.close()
    assert message is not None and not message.error()
    bad = dead_letters.record(message)

    short = dead_letters.DeadLetters(producer, "test", topic=small)
    short.send(bad, BadRecord("no"))
    with pytest.raises(Unavailable, match="too large"):
        short.confirm()
    kept = dead_letters.DeadLetters(producer, "test", topic=large)
    kept.send(bad, BadRecord("no"))
    kept.confirm()
    assert [letter.record for letter in dead_letters.listing(bootstrap, topic=large)] == [bad]
    kafka_topics.delete_topics(bootstrap, [origin, small, large])


@pytest.fixture(scope="module")
def catalog(settings: Settings) -> Iterator[Any]:
    client: Any = pymongo.MongoClient(settings.catalog.uri)
    yield client[settings.catalog.database]
    client.close()


def test_a_product_arrives_with_its_decimals_and_its_delete_is_named_by_its_key(
    shop: CapturePipeline, catalog: Any, tenant: str
) -> None:
    id_ = {"tenant_id": tenant, "sku": "s"}
    product = {"name": "Lamp", "category": "home", "price": Decimal128("19.9"), "currency": "BRL", "stock": 3}
    catalog.products.insert_one({"_id": id_} | id_ | product | {"updated_at": mongo._EPOCH})
    catalog.products.update_one({"_id": id_}, {"$set": {"price": Decimal128("21.5")}})
    mine = eventually(lambda: _of(shop, "shop.catalog.products", tenant, 2))
    catalog.products.delete_one({"_id": id_})
    mine = eventually(lambda: _of(shop, "shop.catalog.products", tenant, 3))
    changes = [record.change(PRODUCTS) for record in mine]
    assert [change.op for change in changes] == [Op.CREATE, Op.UPDATE, Op.DELETE]
    assert [change.row[4] for change in changes[:2]] == [Decimal("19.9000"), Decimal("21.5000")]
    assert {change.key for change in changes} == {(tenant, "s")}
    assert newest(changes)[tenant, "s"].op is Op.DELETE


def test_changes_of_the_catalog_carry_the_cluster_time(shop: CapturePipeline, catalog: Any, tenant: str) -> None:
    """The wall time of whichever member was the primary is no order."""
    before = catalog.command("hello")["operationTime"]
    id_ = {"tenant_id": tenant, "sku": "s"}
    product = {"name": "Lamp", "category": "home", "price": Decimal128("19.9"), "currency": "BRL", "stock": 3}
    catalog.products.insert_one({"_id": id_} | id_ | product | {"updated_at": mongo._EPOCH})
    catalog.products.delete_one({"_id": id_})
    after = catalog.command("hello")["operationTime"]
    mine = eventually(lambda: _of(shop, "shop.catalog.products", tenant, 2))
    times = [mongo.cluster_time(record.datum) for record in mine]
    assert (before.time, before.inc) < times[0] < times[1] <= (after.time, after.inc)


def test_a_document_that_a_repair_writes_is_one_more_change_and_the_next_one_wins(
    settings: Settings, shop: CapturePipeline, catalog: Any, tenant: str
) -> None:
    there, gone = {"tenant_id": tenant, "sku": "s"}, (tenant, "gone")
    product = {"name": "Lamp", "category": "home", "price": Decimal128("19.9"), "currency": "BRL", "stock": 3}
    catalog.products.insert_one({"_id": there} | there | product | {"updated_at": mongo._EPOCH})
    (captured,) = eventually(lambda: _of(shop, "shop.catalog.products", tenant, 1))
    key = captured.change(PRODUCTS).key
    assert captured.key == document_key_bytes(PRODUCTS, key)
    with closing(Registry(settings.registry.url)) as registry:
        write_documents(shop.servers.bootstrap, registry, catalog, PRODUCTS, [key, gone], epoch=1)
    catalog.products.update_one({"_id": there}, {"$set": {"stock": 2}})
    mine = [record.change(PRODUCTS) for record in eventually(lambda: _of(shop, "shop.catalog.products", tenant, 4))]
    first, written, deleted, last = mine
    assert (written.row, written.key) == (first.row, first.key)
    assert (deleted.op, deleted.key) == (Op.DELETE, gone)
    assert written.position.wins_over(first.position) and last.position.wins_over(written.position)
    late = first.position._replace(offset=last.position.offset + 1)
    assert not late.wins_over(written.position._replace(offset=last.position.offset))


def test_a_product_that_differs_is_shown_with_the_record_that_it_has_landed_from(
    shop: CapturePipeline, catalog: Any, tenant: str
) -> None:
    id_ = {"tenant_id": tenant, "sku": "lâmpada"}
    product = {"name": "Lamp", "category": "home", "price": Decimal128("19.9"), "currency": "BRL", "stock": 3}
    catalog.products.insert_one({"_id": id_} | id_ | product | {"updated_at": mongo._EPOCH})
    (record,) = eventually(lambda: _of(shop, "shop.catalog.products", tenant, 1))
    change = record.change(PRODUCTS)
    place = Place(position=change.position, source_time=change.source_time, deleted=False)
    found = Difference(table=PRODUCTS, key=change.key, source=None, report=change.row, place=place)
    bootstrap, topics = shop.servers.bootstrap, PRODUCTS.captured_topics
    ends = clients.end_offsets(bootstrap, topics)
    kept = {at: (start, ends[at]) for at, start in clients.start_offsets(bootstrap, topics).items()}
    shown = with_record(found, bootstrap, kept)
    assert shown.place is not None and shown.place.record == (record.topic, record.partition)


def test_a_key_that_a_late_record_has_overtaken_gets_its_newest_state_as_its_last_record(  # noqa: PLR0917
    settings: Settings, shop: CapturePipeline, writer: Connection, owner: Connection, tenant: str, catalog: Any
) -> None:
    place(writer, tenant, "there")
    place(writer, tenant, "gone")
    owner.execute("DELETE FROM sales.orders WHERE tenant_id = %s AND order_id = 'gone'", [tenant])
    found = []
    for order, times in (("there", 1), ("gone", 2)):
        records = orders(shop, tenant, order, times)
        record, landed = records[0], records[-1].change(ORDERS)
        shop_again(settings, record)
        last = landed.position._replace(offset=landed.position.offset + 1, log=record.change(ORDERS).position.log)
        at = Place(position=landed.position, source_time=landed.source_time, deleted=landed.row is None)
        found.append(
            Overtaken(table=ORDERS, key=landed.key, record=(ORDERS_TOPIC, record.partition), last=last, landed=at)
        )
    with open_probe(settings, 1) as probe, closing(Registry(settings.registry.url)) as registry:
        capture_again(settings, probe, registry, found)
    assert newest_order(orders(shop, tenant, "there", 3)[-1:]).op is Op.READ
    gone = orders(shop, tenant, "gone", 4)
    assert newest_order(gone[-1:]).op is Op.DELETE
    assert newest_order(gone).row is None


def shop_again(settings: Settings, record: Record) -> None:
    """A record is sent again, late."""
    producer = ConfirmedProducer(clients.producer(settings.kafka.bootstrap))
    headers = [("headrace-epoch", b"1")]
    producer.deliver(ORDERS_TOPIC, record.key, record.value, headers, record.partition)


def test_heartbeats_of_the_catalog_stand_in_one_order_and_one_schema_with_its_prices(
    shop: CapturePipeline, catalog: Any, tenant: str
) -> None:
    id_ = {"tenant_id": tenant, "sku": "s", "valid_from": mongo._EPOCH}
    entry = {"name": "Lamp", "category": "home", "price": Decimal128("19.9"), "currency": "BRL"}
    catalog.price_history.insert_one({"_id": id_} | id_ | entry)
    beat = [{"$set": {"at": "$$NOW"}}]
    catalog.heartbeat.update_one({"_id": mongo.HEARTBEAT_ID}, beat, upsert=True)
    catalog.heartbeat.update_one({"_id": mongo.HEARTBEAT_ID}, beat)
    (price,) = eventually(lambda: _of(shop, "shop.catalog.price_history", tenant, 1))

    def beaten() -> list[Record]:
        records = shop.records("shop.catalog.price_history")
        return [each for each in records if mongo.heartbeat(each.key, each.datum) and each.offset > price.offset]

    last = eventually(beaten)[-1]
    assert price.change(PRICE_HISTORY).key == (tenant, "s", mongo._EPOCH)
    assert (last.partition, schema_id(last.value)) == (price.partition, schema_id(price.value))


def _of(shop: CapturePipeline, topic: str, tenant: str, times: int) -> list[Record] | None:
    found = [record for record in shop.records(topic) if tenant.encode() in (record.key or b"")]
    return found if len(found) >= times else None
