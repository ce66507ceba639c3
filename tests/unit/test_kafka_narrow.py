"""The compiled reader gives what fastavro gives, for the fields that are wanted, and refuses what does not fit."""

import io
import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.projection import Unsupported, compile_reader
from messaging.registry import reader
from schemas.decoders import enriched, mongo, postgres
from schemas.tables import ORDER_LINES, ORDERS
from tests.support.envelopes import envelope

INNER = {"type": "record", "name": "Inner", "fields": [{"name": "n", "type": "long"}, {"name": "s", "type": "string"}]}
OUTER: dict[str, Any] = {
    "type": "record",
    "name": "Outer",
    "namespace": "some.where",
    "fields": [
        {"name": "before", "type": ["null", INNER]},
        {"name": "after", "type": ["null", "Inner"]},
        {"name": "number", "type": "int"},
        {"name": "flag", "type": ["boolean", "null"]},
        {"name": "raw", "type": "bytes"},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "money", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 4}},
    ],
}
PARSED = fastavro.parse_schema(OUTER)
READ_ALL = compile_reader(PARSED, None)

longs = st.integers(-(1 << 63), (1 << 63) - 1)
inners = st.none() | st.fixed_dictionaries({"n": longs, "s": st.text(max_size=200)})
outers = st.fixed_dictionaries(
    {
        "before": inners,
        "after": inners,
        "number": st.integers(-(1 << 31), (1 << 31) - 1),
        "flag": st.none() | st.booleans(),
        "raw": st.binary(max_size=300),
        "day": st.dates(),
        "at": st.datetimes(timezones=st.just(UTC)),
        "money": st.integers(-(10**38) + 1, 10**38 - 1).map(lambda n: Decimal(f"{n}E-4")),
    }
)


def encoded(datum: dict[str, Any], schema: Any = PARSED) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, schema, datum)
    return stream.getvalue()


@given(outers)
def test_every_value_is_read_as_fastavro_reads_it(datum: dict[str, Any]) -> None:
    body = encoded(datum)
    assert READ_ALL(body, 0) == (fastavro.schemaless_reader(io.BytesIO(body), PARSED), len(body))
    assert READ_ALL(body, 0)[0] == datum


@given(outers)
def test_what_is_not_wanted_is_skipped_and_the_rest_is_right(datum: dict[str, Any]) -> None:
    narrow = compile_reader(PARSED, {"after": {"s": None}, "day": None, "absent": None})
    after = None if datum["after"] is None else {"s": datum["after"]["s"]}
    body = encoded(datum)
    assert narrow(body, 0) == ({"after": after, "day": datum["day"]}, len(body))


@given(outers, st.data())
def test_a_cut_or_longer_record_never_ends_where_its_bytes_do(datum: dict[str, Any], data: st.DataObject) -> None:
    body = encoded(datum)
    cut = body[: data.draw(st.integers(0, len(body) - 1))]
    try:
        assert READ_ALL(cut, 0)[1] != len(cut)
    except Exception as error:  # any of them becomes a BadRecord
        assert not isinstance(error, AssertionError | MemoryError | RecursionError)
    assert READ_ALL(body + b"\0", 0)[1] == len(body)


@given(st.binary(max_size=400))
def test_no_bytes_make_it_hang_or_take_the_process_down(noise: bytes) -> None:
    try:
        READ_ALL(noise, 0)
    except Exception as error:
        assert not isinstance(error, MemoryError | RecursionError)


def test_a_fixed_array_or_recursive_schema_is_left_to_fastavro() -> None:
    for type_ in (
        {"type": "array", "items": "int"},
        {"type": "fixed", "name": "F", "size": 2},
        "double",
        ["null", "R"],
    ):
        schema = fastavro.parse_schema({"type": "record", "name": "R", "fields": [{"name": "x", "type": type_}]})
        with pytest.raises(Unsupported):
            compile_reader(schema, None)
    doubled = fastavro.parse_schema({"type": "record", "name": "R", "fields": [{"name": "x", "type": "double"}]})
    body = encoded({"x": math.pi}, doubled)
    assert reader(doubled)(body, 0) == ({"x": math.pi}, len(body))


def test_an_envelope_is_narrowed_to_what_the_decoders_read() -> None:
    schema = fastavro.parse_schema(envelope(ORDERS))
    row = {column.name: None for column in ORDERS.columns if column.nullable}
    row |= dict.fromkeys(("tenant_id", "order_id", "customer_id", "status", "created_by", "updated_by"), "x")
    row |= {"currency": "BRL", "order_month": 20_000, "total": Decimal("1.0000")}
    row |= dict.fromkeys(("placed_at", "created_at", "updated_at"), "2026-11-23T12:00:00Z")
    source = {"version": "3.7.0.Final", "connector": "postgresql", "name": "shop", "ts_ms": 1, "db": "shop"}
    source |= {"schema": "sales", "table": "orders", "sequence": '["1","2"]', "lsn": 2, "ts_us": 1000}
    body = encoded({"before": row, "after": row, "source": source, "transaction": None, "op": "u"}, schema)
    datum, end = reader(schema)(body, 0)
    assert end == len(body)
    assert datum["after"] == row
    assert set(datum) == {"after", "op", "source"}
    assert set(datum["source"]) == (postgres.SOURCE_FIELDS | mongo.SOURCE_FIELDS) - {"ord", "wallTime"}


def test_an_enriched_record_is_read_whole() -> None:
    schema = fastavro.parse_schema(enriched.schema(ORDER_LINES))
    datum = {"op": "d", "epoch": 1, "offset": 7, "version": 3, "log_commit": 1, "log_change": 2, "read": False}
    datum |= {"source_time": datetime(2026, 11, 23, tzinfo=UTC), "row": None}
    assert reader(schema)(encoded(datum, schema), 0)[0] == datum
