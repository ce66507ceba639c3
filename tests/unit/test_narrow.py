"""Sums are narrowed to exactly the keys that differ, whatever the groups, and no equal group is looked at again."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.databases.scope import Scope, group_of, key_of, within
from operations.verify import locate as narrowing
from operations.verify.locate import locate
from schemas.checksums import Sum, compared_text, text_hash
from schemas.tables import Column, Source, Table
from schemas.types import Date, Integer, Text

TABLE = Table(
    name="things",
    source=Source.POSTGRES,
    schema="sales",
    key=("tenant_id", "number"),
    columns=(
        Column(name="tenant_id", type=Text()),
        Column(name="number", type=Integer()),
        Column(name="day", type=Date(), nullable=True),
        Column(name="value", type=Integer()),
    ),
    ages_by="day",
)
FIRST = date(2026, 1, 1)
ROWS = st.dictionaries(
    st.tuples(st.sampled_from("ab"), st.integers(0, 60)),
    st.tuples(st.none() | st.sampled_from([FIRST, FIRST + timedelta(days=40)]), st.integers(0, 1)),
    max_size=60,
)


class Side:
    """Rows in memory, which remember what they were asked for."""

    def __init__(self, rows):
        self.all = [(*key, *rest) for key, rest in rows.items()]
        self.listed = []

    def hashed(self, table, scope):
        group, key, text = group_of(table), key_of(table), compared_text(table.columns)
        return [(group(row), key(row), text_hash(text(row))) for row in filter(within(table, scope), self.all)]

    def sums(self, table, scope):
        found = {}
        for group, _, each in self.hashed(table, scope):
            found[group] = found.get(group, Sum()) + Sum(1, each)
        return found

    def parts(self, table, scope, bounds):
        return [sum(self.sums(table, part).values(), Sum()) for part in scope.parts(bounds)]

    def bounds(self, table, scope, step):
        return sorted(key for _, key, _ in self.hashed(table, scope))[step - 1 :: step]

    def hashes(self, table, scope):
        found = {key: each for _, key, each in self.hashed(table, scope)}
        self.listed.append(len(found))
        return found


@pytest.mark.parametrize("listed", [1, 3, 1_000])
def test_exactly_the_keys_that_differ_are_left(monkeypatch, listed):
    monkeypatch.setattr(narrowing, "LISTED", listed)
    monkeypatch.setattr(narrowing, "FANOUT", 4)

    @given(ROWS, ROWS)
    def narrowed(source, report):
        found = locate(TABLE, Side(source), Side(report), Scope())
        absent = object()
        assert found.keys == sorted(k for k in source | report if source.get(k, absent) != report.get(k, absent))
        assert (found.source, found.report) == (len(source), len(report))
        assert found.tenants == {tenant for tenant, _ in source | report}

    narrowed()


def test_of_a_large_group_no_more_is_listed_than_the_part_that_differs(monkeypatch):
    monkeypatch.setattr(narrowing, "LISTED", 10)
    rows = {("a", number): (FIRST, 0) for number in range(5_000)} | {("b", number): (FIRST, 0) for number in range(9)}
    source, report = Side(rows), Side(rows | {("a", 77): (FIRST, 1)})
    assert locate(TABLE, source, report, Scope()).keys == [("a", 77)]
    assert len(source.listed) == 1 and source.listed[0] <= 10


def test_equal_sides_are_asked_for_sums_alone():
    rows = {("a", number): (FIRST, 0) for number in range(50)}
    source = Side(rows)
    assert locate(TABLE, source, Side(rows), Scope()).keys == []
    assert source.listed == []


def test_only_what_was_asked_for_is_compared():
    later = FIRST + timedelta(days=40)
    source = Side({(tenant, number): (day, 0) for tenant in "ab" for number, day in enumerate([FIRST, later, None])})
    for scope, expected in [
        (Scope(tenants=("a",)), [("a", 0), ("a", 1), ("a", 2)]),
        (Scope(months=(FIRST,)), [("a", 0), ("b", 0)]),
        (Scope(since=later.replace(day=1)), [("a", 1), ("b", 1)]),
    ]:
        assert locate(TABLE, source, Side({}), scope).keys == expected
