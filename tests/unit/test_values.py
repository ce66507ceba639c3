"""Each column type by one explicit rule: carried exactly, or refused as a bad record."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from schemas.decoders.values import TOAST_PLACEHOLDER, converter, microseconds
from schemas.errors import BadRecord
from schemas.sizes import CUT_AT, LONGEST_VALUE
from schemas.types import Boolean, Date, Integer, Json, Numeric, Text, Timestamp

MONEY = Numeric(19, 4)


@pytest.mark.parametrize(
    ("type_", "raw", "value"),
    [
        (Text(4), "ação", "ação"),
        (Text(), "😀" * 10_000, "😀" * 10_000),
        (Text(), "x" * LONGEST_VALUE, "x" * LONGEST_VALUE),
        (Text(), "😀" * (LONGEST_VALUE // 2), "😀" * (LONGEST_VALUE // 2)),
        (MONEY, Decimal("1.5000"), Decimal("1.5000")),
        (MONEY, "19.9", Decimal("19.9000")),
        (MONEY, Decimal("-999999999999999.9999"), Decimal("-999999999999999.9999")),
        (Numeric(38, 10), "1234567890123456789012345678.9", Decimal("1234567890123456789012345678.9000000000")),
        (Integer(), -(2**31), -(2**31)),
        (Integer(big=True), 2**63 - 1, 2**63 - 1),
        (Boolean(), False, False),
        (Date(), 17_000, date(2016, 7, 18)),
        (Date(), -719_162, date(1, 1, 1)),
        (Timestamp(), "2017-11-27T19:09:02.123456Z", datetime(2017, 11, 27, 19, 9, 2, 123456, UTC)),
        (Timestamp(), "2017-11-27T19:09:02.1-03:00", datetime(2017, 11, 27, 22, 9, 2, 100000, UTC)),
        (Timestamp(), 1, datetime(1970, 1, 1, 0, 0, 0, 1, UTC)),
        (Json(), '{"a": 1}', '{"a": 1}'),
    ],
)
def test_a_value_is_carried_exactly(type_, raw, value):
    carried = converter(type_)(raw)
    assert carried == value
    assert type(carried) is type(value)


@pytest.mark.parametrize(
    ("type_", "raw", "why"),
    [
        (Text(3), "four", "at most 3 characters"),
        (Text(3), 4, "expected text"),
        (Text(), TOAST_PLACEHOLDER, "REPLICA IDENTITY FULL"),
        (Text(), "x" * CUT_AT, "capture has cut it"),
        (Json(), "x" * CUT_AT, "capture has cut it"),
        (Text(), "😀" * (CUT_AT // 2) + "x", "capture has cut it"),
        (MONEY, Decimal("NaN"), r"decimal\(19,4\)"),
        (MONEY, Decimal("Infinity"), r"decimal\(19,4\)"),
        (MONEY, Decimal("1E15"), r"decimal\(19,4\)"),
        (MONEY, Decimal("0.00001"), "at most 4 decimal places"),
        (MONEY, "ten", r"decimal\(19,4\)"),
        (MONEY, 1.5, r"decimal\(19,4\)"),
        (Integer(), 2**31, "32 bits"),
        (Integer(), True, "32 bits"),
        (Integer(), "7", "32 bits"),
        (Boolean(), 1, "true or false"),
        (Date(), 2**31 - 1, "0001-01-01 to 9999-12-31"),
        (Timestamp(), "infinity", "ISO form"),
        (Timestamp(), "+292278994-08-16T23:00:00Z", "ISO form"),
        (Timestamp(), 2**62, "year 1 to 9999"),
        (Timestamp(), None, "ISO form"),
        (Timestamp(), "2026-01-01T00:00:00", "with its zone"),
        (Timestamp(), "2026-01-01", "with its zone"),
    ],
)
def test_what_cannot_be_carried_is_a_bad_record_that_says_what_was_expected(type_, raw, why):
    with pytest.raises(BadRecord, match=why):
        converter(type_)(raw)


@pytest.mark.parametrize(
    ("type_", "raw", "shape"),
    [
        (Text(3), "secret", "got 6"),
        (Boolean(), "secret", "a text of 6 characters"),
        (MONEY, "secret", "a text of 6 characters"),
        (MONEY, Decimal("4711471147114711.5"), "16 digits before the point and 1 after it"),
        (MONEY, Decimal("0.47114711"), "0 digits before the point and 8 after it"),
        (MONEY, Decimal("-Infinity"), "got -Infinity"),
        (Integer(), 4711471147114711, "an integer of 54 bits"),
        (Date(), 4711471147114711, "an integer of 54 bits"),
        (Timestamp(), "secret", "a text of 6 characters"),
        (Timestamp(), [4711], "got list"),
        (Boolean(), b"secret", "6 bytes"),
    ],
)
def test_a_refusal_shows_a_values_shape_and_never_the_value(type_, raw, shape):
    with pytest.raises(BadRecord, match=shape) as error:
        converter(type_)(raw)
    assert "secret" not in str(error.value)
    assert "4711" not in str(error.value)


def test_microseconds_are_exact_where_a_float_would_round():
    assert microseconds(datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)) == 253_402_300_799_999_999
