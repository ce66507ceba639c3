"""Debezium's envelopes to changes: every odd case in a line, without Kafka."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from messaging.decoding import OTHER_SHAPE
from schemas.change import Op
from schemas.decoders import mongo, outbox, postgres
from schemas.decoders.record import document_key_bytes
from schemas.errors import BadRecord
from schemas.tables import EVENTS, PAYMENTS, PRODUCTS

KEY = b'{"tenant_id":"t","payment_id":"p"}'
SOURCE = {"sequence": '["100","200"]', "lsn": 200, "ts_us": 1_500_000_000_000_001, "snapshot": "false"}
PAYMENT = {
    "tenant_id": "t", "payment_id": "p", "order_month": 17_000, "order_id": "o", "provider": "x",
    "provider_status": "paid", "method": "boleto", "method_token": None, "installments": 1,
    "amount": Decimal("1.0000"), "currency": "BRL", "paid_at": "2017-01-01T00:00:00Z",
    "created_at": "2017-01-01T00:00:00Z", "created_by": "a", "updated_at": "2017-01-01T00:00:00Z",
    "updated_by": "a", "deleted_at": None, "deleted_by": None,
}  # fmt: skip


def payment(key=KEY, op="c", after=PAYMENT, source=SOURCE):
    return postgres.decoder(PAYMENTS)(key, {"op": op, "after": after, "source": source}, 1, 7)


def test_a_streamed_change_stands_after_the_previous_commit_and_at_its_own_lsn():
    change = payment()
    assert change.position == (1, 7, 0, (100, 200), False)
    assert change.key == ("t", "p")
    assert change.row[2] == date(2016, 7, 18)
    assert change.source_time == datetime(2017, 7, 14, 2, 40, 0, 1, UTC)


def test_a_change_of_the_first_transaction_is_no_snapshot_read_and_is_placed_at_its_lsn():
    assert payment(source=SOURCE | {"sequence": '[null,"200"]'}).position == (1, 7, 0, (200, 0), False)


def test_a_snapshot_read_has_an_offset_but_no_place_in_the_log():
    position = payment(op="r").position
    assert (position.offset, position.log, position.read) == (7, (0, 0), True)


def test_a_delete_names_its_row_by_the_key_alone():
    change = payment(op="d", after=None)
    assert (change.op, change.key, change.row) == (Op.DELETE, ("t", "p"), None)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"key": None}, "key: expected a JSON object, got null"),
        ({"key": b"p"}, "key: expected a JSON object"),
        ({"key": b'["p"]'}, "key: expected a JSON object"),
        ({"key": b'{"tenant_id":"t"}'}, "payment_id: the record lacks this field"),
        ({"op": "t"}, "op: expected one of c, u, d, r, got 't'"),
        ({"after": None}, "after: expected the row"),
        ({"after": PAYMENT | {"amount": None}}, "amount: expected a value, got null"),
        ({"after": PAYMENT | {"installments": "1"}}, "installments: expected an integer"),
        ({"after": {}}, "tenant_id: the record lacks this field"),
        ({"source": SOURCE | {"sequence": None}}, "source: expected a sequence and an LSN"),
        ({"source": SOURCE | {"sequence": "[]"}}, "source: expected a sequence and an LSN"),
    ],
)
def test_a_record_that_makes_no_sense_says_where_and_what_was_expected(wrong, why):
    with pytest.raises(BadRecord) as caught:
        payment(**wrong)
    assert why in str(caught.value)


PRODUCT = {
    "_id": {"tenant_id": "t", "sku": "s"}, "tenant_id": "t", "sku": "s", "name": "Lamp", "category": "home",
    "price": {"$numberDecimal": "19.9"}, "currency": "BRL", "stock": 3, "updated_at": {"$date": 1_500_000_000_001},
}  # fmt: skip
PRODUCT_KEY = json.dumps({"id": json.dumps(PRODUCT["_id"])}).encode()
CLUSTER = {"ts_us": 1_500_000_000_000_000, "ts_ms": 1_500_000_000_000, "ord": 2, "snapshot": "false"}


def product(key=PRODUCT_KEY, op="c", after=PRODUCT):
    after = None if after is None else json.dumps(after)
    return mongo.decoder(PRODUCTS)(key, {"op": op, "after": after, "source": CLUSTER}, 1, 7)


def test_a_document_becomes_a_row_at_its_cluster_time():
    change = product()
    assert change.key == ("t", "s")
    assert change.row[4:] == (Decimal("19.9000"), "BRL", 3, datetime(2017, 7, 14, 2, 40, 0, 1000, UTC))
    assert change.position == (1, 7, 0, ((1_500_000_000 << 31) + 2, 7), False)


def test_a_document_that_a_snapshot_reads_has_an_offset_but_no_cluster_time():
    assert product(op="r").position == (1, 7, 0, (0, 0), True)


def test_a_cluster_time_of_the_next_century_fits_a_column_of_64_bits():
    source = CLUSTER | {"ts_ms": (2**32 - 1) * 1000, "ord": 2**31 - 1}
    assert mongo.position({"op": "u", "source": source}, 1, 7).log[0] < 2**63


@pytest.mark.parametrize(("op", "after"), [("u", PRODUCT), ("d", None)])
def test_a_change_that_a_paused_task_sends_late_is_skipped(op, after):
    landed = mongo.position({"op": "u", "source": CLUSTER | {"ord": 3}}, 1, 7)
    late = mongo.position({"op": op, "source": CLUSTER}, 1, 8)
    assert not late.wins_over(landed)
    assert mongo.position({"op": op, "source": CLUSTER | {"ord": 4}}, 1, 8).wins_over(landed)


def test_changes_of_one_transaction_share_a_cluster_time_and_are_ordered_by_their_offsets():
    first, second = (mongo.position({"op": "u", "source": CLUSTER}, 1, offset) for offset in (7, 8))
    assert second.wins_over(first)


def test_a_snapshot_read_of_a_document_leaves_late_changes_known_as_such():
    landed = mongo.position({"op": "u", "source": CLUSTER | {"ord": 3}}, 1, 7)
    read = mongo.position({"op": "r", "source": CLUSTER}, 1, 8).replacing(landed)
    assert not mongo.position({"op": "u", "source": CLUSTER}, 1, 9).wins_over(read)


def test_a_change_captured_with_a_wall_time_is_ordered_by_its_offset():
    at = mongo.position({"op": "u", "source": CLUSTER | {"wallTime": 1_500_000_000_123}}, 1, 8)
    assert at == (1, 8, 0, (0, 0), True)


@pytest.mark.parametrize("number", [3, {"$numberInt": "3"}, {"$numberLong": "3"}])
def test_both_forms_of_extended_json_are_understood(number):
    assert product(after=PRODUCT | {"stock": number}).row[6] == 3
    canonical = {"$date": {"$numberLong": "1500000000001"}}
    assert product(after=PRODUCT | {"updated_at": canonical}).row == product().row
    assert product(after=PRODUCT | {"updated_at": {"$date": "2017-07-14T02:40:00.001Z"}}).row == product().row


def test_an_update_whose_document_was_gone_when_looked_up_is_the_delete_that_follows():
    change = product(op="u", after=None)
    assert (change.op, change.key, change.row) == (Op.DELETE, ("t", "s"), None)


def test_a_deleted_document_is_named_by_its_compound_id():
    assert product(op="d", after=None).key == ("t", "s")


@pytest.mark.parametrize("id_", ['{"$oid": "64"}', '"text"', "1", "{", '{"tenant_id":"t"}'])
def test_a_document_without_the_tables_key_in_its_id_is_refused(id_):
    with pytest.raises(BadRecord):
        product(key=json.dumps({"id": id_}).encode())


def test_a_documents_key_is_known_byte_for_byte_where_it_is_printable_ascii():
    assert document_key_bytes(PRODUCTS, ("t", 'a "b"')) == (
        b'{"id":"{\\"tenant_id\\": \\"t\\",\\"sku\\": \\"a \\\\\\"b\\\\\\"\\"}"}'
    )
    assert document_key_bytes(PRODUCTS, ("t", "café")) is None


def test_the_cluster_time_of_a_change_is_known_unless_a_wall_time_took_its_place():
    assert mongo.cluster_time({"op": "u", "source": CLUSTER}) == (1_500_000_000, 2)
    assert mongo.cluster_time({"op": "u", "source": CLUSTER | {"wallTime": 1_500_000_000_123}}) is None
    assert mongo.cluster_time({"op": "r", "source": CLUSTER}) is None


HEARTBEAT_KEY = b'{"id":"\\"heartbeat\\""}'


def test_a_heartbeat_is_told_from_a_price():
    beat = {"op": "u", "source": {"ts_ms": 2_000}, "after": json.dumps({"_id": "heartbeat", "at": {"$date": 1_000}})}
    second = datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert mongo.heartbeat(HEARTBEAT_KEY, beat) == (second, second.replace(second=2))
    assert mongo.heartbeat(PRODUCT_KEY, {"after": json.dumps(PRODUCT)}) is None


def test_a_heartbeat_read_by_a_snapshot_says_nothing():
    beat = {"op": "r", "source": {"ts_ms": 1_000}, "after": json.dumps({"_id": "heartbeat", "at": {"$date": 1_000}})}
    assert mongo.heartbeat(HEARTBEAT_KEY, beat) is None


def test_an_event_is_keyed_by_its_day_in_utc():
    value = {
        "event_id": "0190163d-8694-739b-aea5-966c26f8ad90", "tenant_id": "t", "aggregate_type": "order",
        "aggregate_id": "o", "event_type": "OrderPlaced", "schema_version": 1, "payload": "{}",
        "occurred_at": "2017-01-01T23:30:00-03:00", "traceparent": None,
    }  # fmt: skip
    change = outbox.decoder(EVENTS)(b'"o"', value, 1, 7)
    assert change.key == ("t", date(2017, 1, 2), value["event_id"])
    with pytest.raises(BadRecord, match="expected an instant"):
        outbox.decoder(EVENTS)(b'"o"', value | {"occurred_at": None}, 1, 7)


@pytest.mark.parametrize("date", [{"$date": 10**18}, {"$date": {"$numberLong": "9" * 18}}, {"$date": {}}])
def test_a_date_that_no_calendar_has_is_a_bad_record(date):
    with pytest.raises((BadRecord, *OTHER_SHAPE)):  # Decoding makes a BadRecord of each
        product(after=PRODUCT | {"updated_at": date})
