"""Values that the source database refuses because capture or reporting could not carry them."""

import json
from typing import Any

import pytest
from psycopg import errors

from operations.migrate import migrate_oltp
from operations.settings import Settings
from schemas.sizes import MB
from tests.support.migrated import Login
from tests.support.oltp_rows import ROWS, line_row, order_row, outbox_row, payment_row


@pytest.mark.parametrize(
    ("table", "value"),
    [
        ("orders", {"total": "NaN"}),
        ("orders", {"placed_at": "infinity"}),
        ("orders", {"placed_at": "-infinity"}),
        ("orders", {"placed_at": "10000-01-01 00:00+00"}),
        ("orders", {"placed_at": "0001-01-01 00:00+00 BC"}),
        ("orders", {"shipped_at": "infinity"}),
        ("orders", {"updated_at": "infinity"}),
        ("orders", {"currency": "eur"}),
        ("orders", {"tenant_id": "ends with a space "}),
        ("orders", {"order_id": ""}),
        ("orders", {"deleted_at": "2026-01-01 00:00+00"}),
        ("order_lines", {"unit_price": "NaN"}),
        ("order_lines", {"freight": "NaN"}),
        ("order_lines", {"quantity": 0}),
        ("order_lines", {"priced_at": "infinity"}),
        ("payments", {"amount": "NaN"}),
        ("payments", {"paid_at": "-infinity"}),
        ("payments", {"order_month": "2026-01-02"}),
        ("payments", {"method_token": "4111111111111111"}),
        ("payments", {"method_token": "4111 1111 1111 1111"}),
        ("payments", {"method_token": "4111-1111-1111-1111"}),
        ("payments", {"method_token": "3782 822463 10005"}),
        ("payments", {"method_token": "4222222222222"}),
        ("payments", {"method_token": "6304000000000000000"}),
        ("payments", {"method_token": "card:4111111111111111"}),
        ("payments", {"method_token": "tok_4111-1111-1111-1111"}),
        ("payments", {"method_token": " 4111.1111.1111.1111 "}),
        ("outbox_events", {"aggregate_type": "invoice"}),
        ("outbox_events", {"schema_version": 0}),
        ("outbox_events", {"headers": "[]"}),
        ("outbox_events", {"traceparent": "not a trace"}),
    ],
    ids=str,
)
def test_the_source_refuses_what_cannot_be_carried(table: str, value: dict[str, Any], login: Login) -> None:
    connection = login("app_writer")
    connection.execute(*order_row())
    row = {"order_id": "another"} | value if table == "orders" else value
    with pytest.raises(errors.CheckViolation):
        connection.execute(*ROWS[table](**row))


@pytest.mark.parametrize("column", ["payload", "headers"])
def test_a_value_that_is_too_long_for_a_record_is_refused_in_words(column: str, login: Login) -> None:
    def value(length: int) -> str:
        return json.dumps({"": "x" * (length - len('{"": ""}'))})

    connection = login("app_writer")
    connection.execute(*outbox_row(**{column: value(MB)}))
    with pytest.raises(errors.CheckViolation) as refused:
        connection.execute(*outbox_row(**{column: value(MB + 1)}))
    said = refused.value.diag
    assert said.message_primary == f"the value of {column} has 1048577 bytes, at most 1048576 are captured"
    assert "HEADRACE_OLTP__MAX_VALUE_BYTES" in str(said.message_hint)
    assert (said.schema_name, said.column_name) == ("sales", column)


def test_the_longest_value_is_a_setting_that_open_sessions_heed(migrated: Settings, login: Login) -> None:
    at = migrated.oltp
    larger = migrated.model_copy(update={"oltp": at.model_copy(update={"max_value_bytes": 2 * MB})})
    row = outbox_row(payload=json.dumps("x" * MB))
    shop = login("app_writer")
    with pytest.raises(errors.CheckViolation):
        shop.execute(*row)
    try:
        said: list[str] = []
        migrate_oltp(larger, said.append)
        assert f"oltp: a value may have {2 * MB} bytes" in said
        shop.rollback()
        shop.execute(*row)
    finally:
        migrate_oltp(migrated)
    shop.rollback()
    with pytest.raises(errors.CheckViolation):
        shop.execute(*row)


def test_an_event_is_not_changed_even_by_its_owner(login: Login) -> None:
    owner = login("migrator")
    owner.execute(*outbox_row())
    with pytest.raises(errors.RestrictViolation, match="an event is immutable"):
        owner.execute("UPDATE sales.outbox_events SET payload = '[]'")


def test_an_infinite_amount_is_refused(login: Login) -> None:
    with pytest.raises(errors.NumericValueOutOfRange):
        login("app_writer").execute(*order_row(total="Infinity"))


def test_a_line_needs_its_order(login: Login) -> None:
    with pytest.raises(errors.ForeignKeyViolation):
        login("app_writer").execute(*line_row())


@pytest.mark.parametrize(
    "token",
    ["tok_visa_1234", "550e8400-e29b-41d4-a716-446655440000", "12345678-1234-4123-8123-123456789012", "a1" * 32, None],
)
def test_a_token_passes_whatever_digits_it_holds(token: str | None, login: Login) -> None:
    connection = login("app_writer")
    connection.execute(*order_row())
    connection.execute(*payment_row(method_token=token))


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER_TRACE = "00-11111111111111111111111111111111-2222222222222222-00"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, None),
        ({"traceparent": TRACE}, TRACE),
        ({"headers": json.dumps({"traceparent": TRACE})}, TRACE),
        ({"headers": json.dumps({"traceparent": OTHER_TRACE}), "traceparent": TRACE}, TRACE),
        ({"headers": json.dumps({"traceparent": "malformed"})}, None),
        ({"headers": json.dumps({"traceparent": 7})}, None),
    ],
)
def test_an_events_trace_is_its_column_or_a_header_and_never_costs_the_event(
    given: dict[str, Any], expected: str | None, login: Login
) -> None:
    found = login("app_writer").execute(*outbox_row(returning="traceparent", **given)).fetchone()
    assert found == (expected,)
