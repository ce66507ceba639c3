"""Values that are longer than a record may be, on a line whose source has no limit: none of them stops capture."""

import uuid

import pytest

from connectors.connect import Connect
from schemas.errors import BadRecord
from schemas.sizes import LONGEST_VALUE, MB
from schemas.tables import EVENTS, Source, Table
from tests.support.capture_pipeline import THINGS, THINGS_DDL, CapturePipeline, Connection, Declared
from tests.support.captured import Record
from tests.support.eventually import eventually

THINGS_TOPIC, EVENTS_TOPIC = "shop.sales.things", "shop.events.order"
EVENTS_DDL = """
CREATE TABLE sales.outbox_events (
    event_id uuid NOT NULL, tenant_id varchar(64) NOT NULL, aggregate_type varchar(32) NOT NULL,
    aggregate_id varchar(128) NOT NULL, event_type varchar(64) NOT NULL, schema_version integer NOT NULL,
    payload jsonb NOT NULL, headers jsonb NOT NULL DEFAULT '{}', traceparent varchar(64),
    occurred_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (event_id, occurred_at)
);
GRANT SELECT ON sales.outbox_events TO cdc_reader;
"""
PIPELINE = Declared(name="size", ddl=THINGS_DDL + EVENTS_DDL, tables=(THINGS, EVENTS))


def trade(connection: Connection, length: int = 1) -> bytes:
    """Write an event whose payload is longer than `length` characters; returns its record's key."""
    aggregate = str(uuid.uuid4())
    connection.execute(
        "INSERT INTO sales.outbox_events "
        "(event_id, tenant_id, aggregate_type, aggregate_id, event_type, schema_version, payload) "
        "VALUES (%s, 't', 'order', %s, 'Placed', 1, jsonb_build_object('note', repeat('x', %s)))",
        [uuid.uuid4(), aggregate, length],
    )
    return b'"%s"' % aggregate.encode()


def arrived(own: CapturePipeline, topic: str, key: bytes) -> list[Record]:
    """The records of one key, once there are any. Fails at once when the connector has."""
    connect, name = Connect(own.servers.connect_url), own.pipeline.connector(Source.POSTGRES)

    def found() -> list[Record]:
        failure = connect.status(name).failure
        assert failure is None, failure
        return [record for record in own.records(topic) if record.key == key]

    return eventually(found)


def assert_known_as_cut(record: Record, table: Table, field: str) -> None:
    with pytest.raises(BadRecord, match=f"^{field}: the value is longer than {LONGEST_VALUE} .*#value-cut"):
        record.change(table)


def test_an_event_of_three_megabytes_is_carried_whole(own: CapturePipeline, source: Connection) -> None:
    key = trade(source, 3 * MB)
    (record,) = arrived(own, EVENTS_TOPIC, key)
    row = record.change(EVENTS).row
    assert row is not None
    assert "x" * 3 * MB in str(row[EVENTS.columns.index(EVENTS.column("payload"))])


def test_an_event_that_no_record_can_carry_is_cut_known_as_cut_and_stops_nothing(
    own: CapturePipeline, source: Connection
) -> None:
    key, behind = trade(source, 30 * MB), trade(source)
    (later,) = arrived(own, EVENTS_TOPIC, behind)
    assert later.change(EVENTS).row is not None
    (record,) = arrived(own, EVENTS_TOPIC, key)
    assert_known_as_cut(record, EVENTS, "payload")


@pytest.mark.parametrize("character", ["x", "ü", "€", "🐘"], ids=["one byte", "two", "three", "two units"])
def test_a_row_is_known_as_cut_before_and_after_a_change_until_its_value_fits(
    own: CapturePipeline, source: Connection, character: str
) -> None:
    key = f"long-{uuid.uuid4()}"
    source.execute("INSERT INTO sales.things VALUES (%s, 1, NULL, NULL, repeat(%s, %s))", [key, character, 6 * MB])
    source.execute("UPDATE sales.things SET note = note || 'more' WHERE id = %s", [key])
    source.execute("UPDATE sales.things SET note = 'short' WHERE id = %s", [key])
    source.execute("INSERT INTO sales.things (id, version) VALUES (%s, 0)", [f"{key}-behind"])
    arrived(own, THINGS_TOPIC, b'{"id":"%s-behind"}' % key.encode())
    inserted, longer, fits = arrived(own, THINGS_TOPIC, b'{"id":"%s"}' % key.encode())
    assert_known_as_cut(inserted, THINGS, "note")
    assert_known_as_cut(longer, THINGS, "note")
    row = fits.change(THINGS).row
    assert row is not None
    assert row[-1] == "short"


def test_an_update_or_a_delete_of_an_event_is_passed_over_and_stops_nothing(
    own: CapturePipeline, source: Connection
) -> None:
    key = trade(source)
    arrived(own, EVENTS_TOPIC, key)
    source.execute("UPDATE sales.outbox_events SET event_type = 'Changed'")
    source.execute("DELETE FROM sales.outbox_events")
    arrived(own, EVENTS_TOPIC, trade(source))
    assert len(arrived(own, EVENTS_TOPIC, key)) == 1
