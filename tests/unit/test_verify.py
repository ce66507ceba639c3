"""The rule for when a difference counts. Two lists replace the databases, and a function the barrier."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from prometheus_client import REGISTRY

from operations.databases.canonical import Place
from operations.databases.mongo import hashes_of, parts_of, sums_of
from operations.databases.scope import group_of, key_of, within
from operations.verify.diff import Difference
from operations.verify.follow import PAUSE_S, pause_after, record_result, require_whole_tables
from operations.verify.repair import SIGNAL_LENGTH, key_conditions
from operations.verify.run import select
from operations.verify.settle import Result, Sides, compare
from schemas.checksums import compared_text, text_hash
from schemas.errors import HeadraceError
from schemas.position import Position
from schemas.tables import EVENTS, ORDER_LINES, ORDERS, PRODUCTS, Column, Source, Table
from schemas.types import Date, Integer, Text
from sinks.reporting.cutoff import Cutoff

PAIRS = Table(
    name="pairs",
    source=Source.POSTGRES,
    schema="sales",
    key=("tenant_id",),
    columns=(Column(name="tenant_id", type=Text()), Column(name="value", type=Integer())),
)


class Side:
    """Rows that have changed at each barrier but the first: the last version stays. So do the cutoffs of a report, each
    time they are asked for."""

    def __init__(self, *versions, cutoffs=({},), erased=()):
        self.versions = list(versions)
        self.known, self.gone = list(cutoffs), set(erased)

    def change(self):
        self.versions = self.versions[1:] or self.versions

    def cutoffs(self):
        return self.known.pop(0) if len(self.known) > 1 else self.known[0]

    def erased(self):
        return self.gone

    def rows(self, table, scope):
        return filter(within(table, scope), self.versions[0])

    def sums(self, table, scope):
        return sums_of(self.hashed(table, scope))

    def hashes(self, table, scope):
        return hashes_of(self.hashed(table, scope))

    def bounds(self, table, scope, step):
        return sorted(self.hashes(table, scope))[step - 1 :: step]

    def parts(self, table, scope, bounds):
        return parts_of(self.hashed(table, scope), bounds)

    def hashed(self, table, scope):
        group, key, text = group_of(table), key_of(table), compared_text(table.all_columns)
        return [(group(row), key(row), text_hash(text(row))) for row in self.rows(table, scope)]


def verify(source, report, table=PAIRS, deadline_s=0.0):
    barriers = []

    def barrier():
        if barriers:
            source.change()
            report.change()
        barriers.append(1)
        return {}

    (found,) = compare(
        [table], Sides(source=lambda _: source, report=report, barrier=barrier), deadline_s=deadline_s
    ).tables
    return found, len(barriers)


def test_equal_rows_need_no_second_reading():
    found, barriers = verify(Side([("a", 1)]), Side([("a", 1)]))
    assert (found.equal, found.source, found.report, barriers) == (True, 1, 1, 1)


def test_what_lands_behind_the_barrier_is_no_difference():
    found, barriers = verify(Side([("a", 2)]), Side([("a", 1)], [("a", 2)]))
    assert (found.equal, barriers) == (True, 2)


def test_a_row_that_stood_still_and_differs_is_a_difference():
    found, _ = verify(Side([("a", 2), ("b", 1)]), Side([("a", 1), ("b", 1)]))
    assert [str(each) for each in found.different] == ["pairs (tenant_id=a): value is 2 in the source, 1 in reporting"]
    assert not found.unsettled


def test_a_row_that_never_stands_still_is_unsettled_and_not_different():
    found, _ = verify(Side([("a", 2)], [("a", 3)]), Side([("a", 1)]))
    assert ([each.key for each in found.unsettled], found.different) == ([("a",)], [])


AT = datetime(2026, 1, 1, tzinfo=UTC)
NOTHING_KNOWN = (None, None, None, 0, "pending")


def order_line(*enrichment, quantity=1):
    line = ("t", date(2026, 1, 1), "o", 1, "s", quantity, Decimal(1), Decimal(1), "BRL", AT, AT, "x", AT, "x", None)
    return (*line, None, *enrichment)


def test_a_line_that_waits_for_the_catalog_is_unsettled_and_not_different():
    decided = order_line("Lamp", "home", Decimal(1), 5, "enriched")
    waiting = order_line(*NOTHING_KNOWN)
    found, _ = verify(Side([decided]), Side([waiting]), ORDER_LINES)
    assert (len(found.unsettled), len(found.different)) == (1, 0)
    wrong = order_line("Vase", "home", Decimal(1), 5, "enriched")
    found, _ = verify(Side([decided]), Side([wrong]), ORDER_LINES)
    assert (len(found.unsettled), len(found.different)) == (0, 1)


@pytest.mark.parametrize("status", ["pending", "provisional"])
def test_a_waiting_line_is_excused_for_its_enrichment_alone(status):
    waiting = (*NOTHING_KNOWN[:-1], status)
    found, _ = verify(Side([order_line(*waiting)]), Side([order_line(*waiting, quantity=2)]), ORDER_LINES)
    assert [each.fields for each in found.different] == [{"quantity": (1, 2)}]
    found, _ = verify(Side([]), Side([order_line(*waiting)]), ORDER_LINES)
    assert [str(each) for each in found.different] == [
        "order_lines (tenant_id=t, order_month=2026-01-01, order_id=o, line_no=1): unexpected in reporting"
    ]
    assert not found.unsettled


# Rows that share a key, and sums that no key explains


def test_two_rows_of_one_key_in_the_source_and_one_in_reporting_are_different():
    found, _ = verify(Side([("a", 1), ("a", 2)]), Side([("a", 1)]))
    assert [str(each) for each in found.different] == [
        "pairs (tenant_id=a): 2 rows have this key in the source, 1 in reporting"
    ]
    assert [each.key for each in verify(Side([("a", 1), ("a", 1)]), Side([("a", 1)]))[0].different] == [("a",)]
    assert verify(Side([("a", 2), ("a", 1)]), Side([("a", 1), ("a", 2)]))[0].equal


class Collapsing(Side):
    """A store whose list of hashes doesn't tell all that it has summed."""

    def hashes(self, table, scope):
        return {key: each for _, key, each in self.hashed(table, scope)}


def test_a_group_whose_sums_differ_and_whose_keys_do_not_is_never_equal():
    found, _ = verify(Collapsing([("a", 1), ("a", 1), ("b", 1)]), Collapsing([("a", 1), ("b", 1)]))
    assert (found.equal, found.different, found.unexplained) == (False, [], [("a", None)])


def test_sums_that_differ_by_what_landed_while_the_keys_were_listed_are_equal():
    class Lagging(Side):
        """Lands the row between its sums and its list."""

        def hashes(self, table, scope):
            self.change()
            return super().hashes(table, scope)

    found, _ = verify(Side([("a", 1)]), Lagging([], [("a", 1)]))
    assert found.equal


# Rows that retention has deleted

OLD, YOUNG = date(2019, 10, 1), date(2019, 11, 1)
AGEING = Table(
    name="pairs",
    source=Source.POSTGRES,
    schema="sales",
    key=("tenant_id", "id"),
    columns=(
        Column(name="tenant_id", type=Text()),
        Column(name="id", type=Text()),
        Column(name="month", type=Date()),
        Column(name="value", type=Integer()),
    ),
    ages_by="month",
    retention="pairs",
)
CUT = {"pairs": Cutoff("pairs", YOUNG, frozenset({"held"}))}


@pytest.mark.parametrize("source", [[], [("t", "a", OLD, 1)]], ids=["gone", "there"])
@pytest.mark.parametrize("report", [[], [("t", "a", OLD, 2)]], ids=["gone", "there"])
def test_an_aged_row_is_compared_on_neither_side(source, report):
    young = ("t", "b", YOUNG, 1)
    found, barriers = verify(Side([*source, young]), Side([*report, young], cutoffs=[CUT]), AGEING)
    assert (found.equal, found.source, found.report, barriers) == (True, 1, 1, 1)


@pytest.mark.parametrize("row", [("t", "a", YOUNG, 1), ("held", "a", OLD, 1)], ids=["young", "held"])
def test_what_no_cutoff_refuses_is_compared(row):
    found, _ = verify(Side([row]), Side([], cutoffs=[CUT]), AGEING)
    assert [each.key for each in found.different] == [row[:2]]


def test_a_cutoff_that_comes_while_rows_are_read_again_is_seen():
    row = ("t", "a", OLD, 1)
    found, barriers = verify(Side([row]), Side([(*row[:3], 2)], [], cutoffs=[{}, CUT]), AGEING)
    assert (found.equal, barriers) == (True, 2)


def test_an_erased_event_is_no_difference_and_another_tenants_is():
    event = ("o-1", "placed", 1, "{}", None, None)
    rows = [(tenant, OLD, "e-1", "order", *event) for tenant in ("a", "b")]
    found, _ = verify(Side(rows), Side([], erased=[("a", "e-1")]), EVENTS)
    assert [each.key for each in found.different] == [("b", OLD, "e-1")]


# What is asked for, how often it is looked at, and what a repair asks Debezium


def test_a_filter_that_fits_nothing_is_an_error():
    month = [date(2026, 11, 1)]
    assert select(["orders"], months=month).scope.months == tuple(month)
    assert "products" in select([]).tables
    assert "products" not in select([], months=month).tables
    with pytest.raises(HeadraceError, match="'order'"):
        select(["order"])
    with pytest.raises(HeadraceError, match="products has no months"):
        select(["products"], since=month[0])


def test_looking_takes_no_more_than_its_share_of_the_time():
    assert pause_after(10, 0.25) == 30
    assert pause_after(0.01, 1) == PAUSE_S


def test_what_could_not_be_decided_is_exported():
    def exported():
        names = ("headrace_verify_different", "headrace_verify_unsettled")
        return [REGISTRY.get_sample_value(name, {"table": "pairs"}) for name in names]

    moving, _ = verify(Side([("a", 2)], [("a", 3)]), Side([("a", 1)]))
    record_result(Result(tables=[moving], seconds=1, through={}), None)
    assert exported() == [0, 1]
    unexplained, _ = verify(Collapsing([("a", 1), ("a", 1)]), Collapsing([("a", 1)]))
    record_result(Result(tables=[unexplained], seconds=1, through={}), None)
    assert exported() == [0, 1]


def test_only_whole_tables_are_followed():
    require_whole_tables(select(["orders"]))
    with pytest.raises(HeadraceError, match="--table"):
        require_whole_tables(select([], tenants=["a"]))


def missing(table, key):
    return Difference(table=table, key=key, source=(), report=None)


def test_a_repair_names_exactly_its_keys_quoted_and_in_pieces_that_fit():
    (one,) = key_conditions(ORDERS, [missing(ORDERS, ("o'neil", date(2026, 1, 1), "a"))])
    assert one == """("tenant_id" = 'o''neil' AND "order_month" = '2026-01-01'::date AND "order_id" = 'a')"""
    many = [missing(ORDERS, ("t", date(2026, 1, 1), f"{number}{'x' * 50}")) for number in range(60)]
    pieces = list(key_conditions(ORDERS, many))
    assert all(len(piece) < SIGNAL_LENGTH for piece in pieces)
    assert sum(piece.count('"tenant_id"') for piece in pieces) == 60


def test_documents_are_not_asked_for_again():
    assert list(key_conditions(PRODUCTS, [missing(PRODUCTS, ("t", "s"))])) == []


@pytest.mark.parametrize(
    ("table", "log", "shown"),
    [
        (ORDERS, (0x1_00000080, 0x1_000000A0), ", log 1/A0"),
        (ORDERS, (0x1_000000A0, 0), ", log 1/A0"),  # the first transaction behind a snapshot
        (ORDERS, (0x10, 0x20), ", log 0/20"),  # below its offset
        (ORDERS, (0, 0), ""),  # a snapshot read
        (PRODUCTS, (1_800_000_000 << 31, 40), ""),  # MongoDB's cluster time and an offset
    ],
)
def test_a_difference_shows_the_lsn_of_the_change_that_has_landed(table, log, shown):
    place = Place(position=Position(1, 40, log=log), source_time=datetime(2026, 11, 1, tzinfo=UTC), deleted=False)
    found = Difference(table=table, key=tuple("k" for _ in table.key), source=None, report=None, place=place)
    assert f"[landed at epoch 1, offset 40{shown}, committed 2026-11-01T00:00:00+00:00]" in str(found)
