"""Barriers of tables: a reading of the pipeline is a value, so each stall is a one-line test."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from operations.barrier import Barrier, PipelineOffsets, SourcePosition, advance, begin_barrier
from schemas.tables import ORDER_LINES, ORDERS, PAYMENTS, PRODUCTS, Source, Table

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
POSITION = SourcePosition(at=NOON, position=100, captured=100, unit="bytes behind", unknown="no slot")
CAPTURED = {(f"shop.sales.{name}", number): 10 for name in ("orders", "order_lines", "payments") for number in (0, 1)}
LINES = {at: end for at, end in CAPTURED.items() if "lines" in at[0]}
EMITTED = {("reporting.order_lines", 0): 15, ("reporting.order_lines", 1): 15}
CATALOG = {("shop.catalog.products", 0): 5}
PASSED = PipelineOffsets(
    sources={Source.POSTGRES: POSITION, Source.MONGODB: POSITION},
    captured=CAPTURED | CATALOG,
    taken=LINES,
    emitted=EMITTED,
    landed=CAPTURED | CATALOG | EMITTED,
)
TABLES = (ORDERS, ORDER_LINES, PAYMENTS, PRODUCTS)


def begun(table: Table) -> Barrier:
    return begin_barrier(table, POSITION)


def lack(table: Table, seen: PipelineOffsets) -> str | None:
    return advance(begun(table), seen)[1]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_one_look_is_enough_where_nothing_is_behind(table):
    assert lack(table, PASSED) is None


@pytest.mark.parametrize(
    ("hop", "at", "offset", "held"),
    [
        ("landed", ("shop.sales.payments", 1), 9, {PAYMENTS}),
        ("landed", ("shop.sales.orders", 0), 0, {ORDERS}),
        ("taken", ("shop.sales.order_lines", 0), 9, {ORDER_LINES}),
        ("landed", ("reporting.order_lines", 1), 14, {ORDER_LINES}),
        ("landed", ("shop.catalog.products", 0), 4, {PRODUCTS}),
    ],
)
def test_a_stalled_partition_holds_its_own_table_back_and_no_other(hop, at, offset, held):
    seen = replace(PASSED, **{hop: getattr(PASSED, hop) | {at: offset}})
    assert {table.name for table in TABLES if lack(table, seen) is not None} == {table.name for table in held}
    (table,) = held
    assert at[0] in lack(table, seen)


def test_a_partition_that_has_never_landed_anything_holds_its_table_back():
    seen = replace(PASSED, landed={at: end for at, end in PASSED.landed.items() if at != ("shop.sales.orders", 1)})
    assert lack(ORDERS, seen) == "reporting is 10 records behind, 10 of them in shop.sales.orders[1]"


def test_a_source_that_does_not_answer_holds_its_tables_back_and_no_other():
    seen = replace(PASSED, sources={Source.POSTGRES: POSITION})
    assert [table.name for table in TABLES if lack(table, seen) is not None] == ["products"]


@pytest.mark.parametrize(("captured", "said"), [(99, "capture is 1 bytes behind"), (None, "no slot")])
def test_what_is_not_captured_yet_lands_behind_the_ends_that_are_taken_then(captured, said):
    """The ends of this look would be reached, but a record of before the barrier is still to come."""
    early = replace(PASSED, sources={Source.POSTGRES: replace(POSITION, captured=captured)})
    barrier, lacks = advance(begun(ORDERS), early)
    assert (barrier.captured, lacks) == (None, said)
    grown = replace(PASSED, captured=PASSED.captured | {("shop.sales.orders", 0): 11})
    barrier, lacks = advance(barrier, grown)
    assert lacks == "reporting is 1 records behind, 1 of them in shop.sales.orders[0]"
    later = replace(grown, captured=grown.captured | {("shop.sales.orders", 0): 99})
    later = replace(later, landed=later.landed | {("shop.sales.orders", 0): 11})
    assert advance(barrier, later)[1] is None, "what came after the barrier is not waited for"


def test_lines_are_waited_for_behind_what_enrichment_had_sent_when_it_had_taken_them():
    early = replace(PASSED, taken=LINES | {("shop.sales.order_lines", 1): 9})
    barrier, _ = advance(begun(ORDER_LINES), early)
    assert barrier.emitted is None
    more = {("reporting.order_lines", 1): 16}
    barrier, lacks = advance(barrier, replace(PASSED, emitted=EMITTED | more))
    assert lacks == "reporting is 1 records behind, 1 of them in reporting.order_lines[1]"
    assert advance(barrier, replace(PASSED, landed=PASSED.landed | more))[1] is None


def test_a_committed_offset_that_nobody_answers_for_is_no_progress():
    assert lack(ORDER_LINES, replace(PASSED, taken={})) == "enrich is 20 records behind, 10 of them in " + (
        "shop.sales.order_lines[0]"
    )
