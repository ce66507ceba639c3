"""Verification's comparison must find what differs, all of it and nothing else."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from operations.databases.canonical import canonical
from operations.verify.diff import differences
from schemas.tables import EVENTS, Column, Source, Table
from schemas.types import Integer, Text

PAIR = Table(
    name="pairs",
    source=Source.POSTGRES,
    schema="sales",
    key=("tenant", "id"),
    columns=(
        Column(name="tenant", type=Text()),
        Column(name="id", type=Integer()),
        Column(name="value", type=Integer(), nullable=True),
    ),
)
KEYS = st.tuples(st.text(max_size=3), st.integers(-5, 5))
ROWS = st.dictionaries(KEYS, st.one_of(st.none(), st.integers(0, 2)), max_size=12)


def rows(side):
    return [(*key, value) for key, value in side.items()]


@given(ROWS, ROWS)
def test_exactly_the_keys_that_differ_are_found(source, report):
    found = [each.key for each in differences(PAIR, rows(source), rows(report))]
    absent = object()
    assert found == sorted(k for k in source | report if source.get(k, absent) != report.get(k, absent))


def test_a_difference_says_where_and_what():
    (changed,) = differences(PAIR, [("a", 1, 5)], [("a", 1, 6)])
    (missing,) = differences(PAIR, [("a", 1, 5)], [])
    (unexpected,) = differences(PAIR, [], [("a", 1, 5)])
    assert str(changed) == "pairs (tenant=a, id=1): value is 5 in the source, 6 in reporting"
    assert str(missing) == "pairs (tenant=a, id=1): missing in reporting"
    assert str(unexpected) == "pairs (tenant=a, id=1): unexpected in reporting"


def test_canonical_rows_are_equal_whatever_the_database_writes_them_as():
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    row = ["t", noon.date(), "id", "order", "o1", "placed", 1, '{"a": 1.50, "b": 2}', noon, None]
    other = [*row]
    other[7] = '{"b":2,"a":1.5}'
    other[8] = noon.astimezone(timezone(timedelta(hours=2)))
    naive = [*other]
    naive[8] = noon.replace(tzinfo=None)
    assert canonical(EVENTS, row) == canonical(EVENTS, other) == canonical(EVENTS, naive)
    as_text = [*row]
    as_text[7] = '{"a": "1.5", "b": 2}'
    assert canonical(EVENTS, row) != canonical(EVENTS, as_text)
    other[8] += timedelta(microseconds=1)
    assert canonical(EVENTS, row) != canonical(EVENTS, other)


def event_with(payload):
    return canonical(EVENTS, ["t", None, "id", "order", "o1", "placed", 1, payload, None, None])


def test_numbers_in_a_document_are_compared_by_all_their_digits():
    almost = "0.1234567890123456789012345678901"
    assert event_with(f'{{"a": {almost}2}}') != event_with(f'{{"a": {almost}3}}')
    assert event_with(f"[{10**40}1]") != event_with(f"[{10**40}2]")
    assert event_with(f'{{"a": {almost}00}}') == event_with(f'{{"a": {almost}}}')
    assert event_with("[1e5, 0, -0, 10]") == event_with("[100000, 0.00, 0, 1E+1]")
    assert event_with("[1e999999]") != event_with("[1e999998]")


@given(st.decimals(allow_nan=False, allow_infinity=False), st.decimals(allow_nan=False, allow_infinity=False))
def test_two_numbers_are_equal_in_a_document_exactly_where_they_are(left, right):
    assert (event_with(f"[{left}]") == event_with(f"[{right}]")) == (left == right)
