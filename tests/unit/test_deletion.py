"""A delete record for a row that only reporting has comes directly after that row, and before every later change."""

import io
from datetime import UTC, date, datetime

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.databases.canonical import Place
from operations.verify.delete_records import deletable
from operations.verify.diff import Difference
from schemas.change import Op
from schemas.decoders.postgres import decoder
from schemas.decoders.record import key_bytes
from schemas.delete_envelope import delete_value
from schemas.errors import HeadraceError
from schemas.position import Position
from schemas.tables import EVENTS, ORDERS, PRODUCTS
from schemas.wire import HEADER_SIZE
from tests.support.envelopes import envelope

AT = datetime(2026, 1, 1, 12, 0, 0, 1, tzinfo=UTC)
KEY = ("t", date(2026, 1, 1), "o")
LSN = st.integers(1, 1 << 40).map(lambda number: number * 8)  # Postgres aligns its records


def deleted(landed, offset):
    """The change that the delete record of a row landed there comes to, at an offset."""
    value = delete_value(7, envelope(ORDERS), landed, AT)
    datum = fastavro.schemaless_reader(io.BytesIO(value[HEADER_SIZE:]), fastavro.parse_schema(envelope(ORDERS)))
    return decoder(ORDERS)(key_bytes(ORDERS, KEY), datum, landed.epoch, offset)


@given(st.tuples(LSN | st.just(0), LSN) | st.just((0, 0)), LSN, st.integers(0, 10))
def test_it_wins_over_the_row_alone(log, further, version):
    landed = Position(1, 5, version, log)
    change = deleted(landed, 6)
    assert (change.op, change.key, change.row, change.source_time) == (Op.DELETE, KEY, None, AT)
    assert change.position.wins_over(landed)
    stored = change.position.replacing(landed)
    if log[0]:  # else no repeat of the row was known as one before
        assert not landed._replace(offset=7).wins_over(stored)
    assert Position(1, 7, log=(max(log[0], 8), log[1] + further)).wins_over(stored)
    assert Position(1, 7, read=True).wins_over(stored)


def test_only_rows_of_postgres_that_reporting_alone_has_are_deleted_by_a_record():
    place = Place(position=Position(1, 5), source_time=AT, deleted=False)
    alone = Difference(table=ORDERS, key=KEY, source=None, report=(), place=place)
    others = [
        Difference(table=ORDERS, key=KEY, source=(), report=(), place=place),
        Difference(table=ORDERS, key=KEY, source=None, report=(), place=None),
        Difference(table=PRODUCTS, key=("t", "s"), source=None, report=(), place=place),
        Difference(table=EVENTS, key=KEY, source=None, report=()),
    ]
    assert deletable([*others, alone]) == [alone]


def test_a_schema_of_something_else_is_refused():
    with pytest.raises(HeadraceError, match="schema 7 is no envelope"):
        delete_value(
            7, {"type": "record", "name": "x", "fields": [{"name": "y", "type": "string"}]}, Position(1, 5), AT
        )
