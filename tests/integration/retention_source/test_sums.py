"""Postgres counts and sums rows as the archive does, for every type and every table that ages."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from operations.retention.source import OltpRetention
from schemas.checksums import row_text, sum_of
from schemas.tables import EVENTS, ORDERS
from tests.support.source_rows import (
    NOTES,
    NOW,
    ODD,
    TRADE,
    Connection,
    event,
    event_proof,
    leaf_of,
    line,
    note,
    order,
    payment,
)

ODD_ORDERS: list[dict[str, Any]] = [
    {"customer_id": "zoë \U0001f600 'quoted' \"twice\" \\ % {}", "total": "-0.0001"},
    {"status": "U+001F\x1f=~", "customer_id": "~", "total": "-999999999999999.9999"},
    {"total": "999999999999999.9999", "placed_at": ODD, "approved_at": ODD, "status": ""},
    {"total": "0", "placed_at": datetime(1, 1, 1, tzinfo=UTC), "deleted_at": NOW, "deleted_by": " x "},
    {"total": "1.5", "placed_at": datetime(9999, 12, 31, 23, 59, 59, 999999, UTC), "cancelled_at": NOW},
]


def test_postgres_sums_rows_as_everybody_does(retention: OltpRetention, shop: Connection, month: date) -> None:
    for number, odd in enumerate(ODD_ORDERS):
        order(shop, month, f"o{number}", **odd)
        line(shop, month, f"o{number}", unit_price=odd["total"])
        payment(shop, month, f"o{number}", method_token=None if number else "é")
    for table in TRADE:
        seen = list(retention.rows(table, month, []))
        assert len(seen) == len(ODD_ORDERS)
        assert retention.row_sums(table, month, []) == sum_of(map(row_text(table.columns), seen))


def test_rows_are_read_with_their_types_in_the_order_of_the_declaration(
    retention: OltpRetention, shop: Connection, month: date
) -> None:
    order(shop, month, total="12.3", placed_at=ODD)
    (row,) = retention.rows(ORDERS, month, [])
    found = dict(zip([column.name for column in ORDERS.columns], row, strict=True))
    assert (found["order_month"], found["total"], found["placed_at"]) == (month, Decimal("12.3000"), ODD)
    assert found["placed_at"].tzinfo is UTC
    assert found["shipped_at"] is None


@pytest.mark.usefixtures("notes")
def test_a_table_of_ones_own_ages_by_any_day_of_the_month(retention: OltpRetention, owner: Connection) -> None:
    note(owner, date(2000, 1, 31), document='{"b": 1.50, "a": ["\\u0001", null, "é"]}', done=True, Said="~", at=ODD)
    note(owner, date(2000, 2, 1), document="null", done=False, Said="", rate="9999999999999999999999999999.5")
    note(owner, date(2000, 2, 29))
    note(owner, date(2000, 3, 1))
    assert retention.months([NOTES], date(2000, 3, 17), []) == [date(2000, 1, 1), date(2000, 2, 1)]
    for first, count in ((date(2000, 1, 1), 1), (date(2000, 2, 1), 2)):
        proven = sum_of(map(row_text(NOTES.columns), retention.rows(NOTES, first, [])))
        assert retention.row_sums(NOTES, first, []) == proven
        assert retention.retire_rows(first, [NOTES], [], {"notes": proven}) == {"notes": count}
    assert owner.execute("SELECT on_day FROM sales.notes").fetchall() == [(date(2000, 3, 1),)]


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ODD_EVENTS: list[dict[str, Any]] = [
    {},
    {"payload": '{"b": 1.50, "a": ["\\u0001", null, "zoë \U0001f600"], "a2": 12345678901234567890.000}'},
    {"traceparent": TRACE, "schema_version": 7, "aggregate_type": "payment", "aggregate_id": "U+001F\x1f=~"},
    {"payload": "null", "event_type": "~"},
]


def test_postgres_sums_events_as_everybody_does(retention: OltpRetention, shop: Connection, day: datetime) -> None:
    for odd in ODD_EVENTS:
        event(shop, day + timedelta(microseconds=1), **odd)
    event(shop, day, "another")
    leaf = leaf_of(retention, day)
    proofs = event_proof(retention, leaf, "t", "another")
    assert proofs["t"].count == len(ODD_EVENTS)
    assert retention.event_sums(EVENTS, leaf, []) == proofs
    assert retention.event_sums(EVENTS, leaf, ["t"]) == {"another": proofs["another"]}
