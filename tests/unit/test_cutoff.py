"""The cutoff's decision for one change or row at a time."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from schemas.change import Change, Op
from schemas.position import Position
from schemas.tables import EVENTS, ORDERS, PAYMENTS, PRODUCTS, Table
from sinks.reporting.cutoff import Cutoff, aged_rows, cutoffs_of, split

BEFORE = date(2019, 11, 1)
CUTOFFS = {"orders": Cutoff("orders", BEFORE, frozenset({"held"}))}


def change(table: Table, *, tenant: str = "t", deleted: bool = False, **values: object) -> Change:
    row = {column.name: None for column in table.all_columns} | {"tenant_id": tenant} | values
    return Change(
        table=table,
        key=tuple(row[name] for name in table.key),
        op=Op.DELETE if deleted else Op.UPDATE,
        position=Position(1, 1),
        source_time=datetime(2026, 11, 23, tzinfo=UTC),
        row=None if deleted else tuple(row.values()),
    )


OLD, YOUNG = date(2019, 10, 31), BEFORE


@pytest.mark.parametrize(
    ("late", "refused"),
    [
        (change(ORDERS, order_month=OLD), True),
        (change(ORDERS, order_month=YOUNG), False),
        (change(ORDERS, order_month=OLD, tenant="held"), False),
        (change(ORDERS, order_month=OLD, deleted=True), True),
        (change(PAYMENTS, order_month=OLD), True),
        (change(PAYMENTS, order_month=YOUNG), False),
        (change(PAYMENTS, order_month=OLD, deleted=True), False),  # its key doesn't tell
        (change(PAYMENTS, order_month=None), False),
        (change(EVENTS, event_day=OLD), False),  # another part of the policy
        (change(PRODUCTS), False),
        (change(replace(ORDERS, ages_by=None), order_month=OLD), False),
    ],
)
def test_what_is_older_than_its_cutoff_is_refused_unless_a_hold_keeps_it(late: Change, refused: bool) -> None:
    assert split([late], CUTOFFS) == (([], [late]) if refused else ([late], []))


def test_the_order_of_what_may_land_is_kept() -> None:
    changes = [
        change(ORDERS, order_month=day, order_id=str(n)) for n, day in enumerate([YOUNG, OLD, YOUNG, OLD, YOUNG])
    ]
    assert split(changes, CUTOFFS) == (changes[::2], changes[1::2])


def test_without_a_cutoff_nothing_is_looked_at() -> None:
    changes = [change(ORDERS, order_month=OLD)]
    assert split(changes, {})[0] is changes


@pytest.mark.parametrize("table", [ORDERS, PAYMENTS], ids=lambda table: table.name)
def test_a_row_ages_as_its_change_does(table: Table) -> None:
    aged = aged_rows(table, CUTOFFS)
    old, young = (change(table, order_month=day) for day in (OLD, YOUNG))
    assert [aged(each.row or ()) for each in (old, young)] == [True, False]
    assert not aged(change(table, order_month=OLD, tenant="held").row or ())
    assert not aged_rows(PRODUCTS, CUTOFFS)(change(PRODUCTS).row or ())


def test_a_cutoff_comes_back_from_a_database_as_it_went_in() -> None:
    cutoff = Cutoff("orders", BEFORE, frozenset({'t"1', "ü"}))
    assert cutoffs_of([(cutoff.part, cutoff.before, cutoff.held_text())]) == {"orders": cutoff}
    assert Cutoff("orders", BEFORE).held_text() == "[]"
