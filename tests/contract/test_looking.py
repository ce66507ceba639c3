"""Verification's queries on a generation of reporting, and a repair's removal of a row, in each database."""

from typing import Any

import orjson
import pytest

from operations.databases.postgres import PostgresReport
from operations.databases.scope import Scope, key_of
from operations.databases.sides import Report
from operations.databases.sqlserver import SqlServerReport
from operations.verify.diff import Difference
from operations.verify.repair import remove_row
from schemas.change import Op
from schemas.checksums import compared_text, text_hash
from schemas.tables import EVENTS, ORDERS, Table
from tests.support.stores import GENERATION, SqlStore
from tests.support.trade import MONTH, Tenant, Worker

EVENT = "01a0acef-1f28-7123-8976-0ffe7d185ef8"
KEPT = "SELECT repaired_by, old_row FROM headrace.repair WHERE row_key LIKE '%{}%'"


@pytest.fixture
def report(database: SqlStore) -> Report:
    """Return the suite's generation, as verification reads it."""
    if database.name == "postgres":
        return PostgresReport(database.connection, GENERATION)
    return SqlServerReport(database.connection, GENERATION)


def found(table: Table, report: Report, tenant: Tenant) -> dict[Any, Any]:
    rows = list(report.rows(table, Scope(tenants=(tenant.name,))))
    return {key_of(table)(row): row for row in rows}


def unexpected(table: Table, report: Report, key: Any) -> Difference:
    """Return a row that the source lacks, at its present position."""
    (row,) = report.rows(table, Scope(keys=(key,)))
    place = report.places(table, [key]).get(key) if table is ORDERS else None
    return Difference(table=table, key=key, source=None, report=row, place=place)


def test_rows_hash_as_in_python_and_deleted_ones_are_not_there(
    database: SqlStore, report: Report, tenant: Tenant
) -> None:
    worker = Worker(database.reporting(), tenant)
    worker.land(tenant.order("a", 1), tenant.order("b", 2), tenant.order("c", 3, op=Op.DELETE), tenant.event(EVENT, 4))
    for table, keys in ((ORDERS, ["a", "b"]), (EVENTS, [EVENT])):
        rows, scope = found(table, report, tenant), Scope(tenants=(tenant.name,))
        assert sorted(key[2] for key in rows) == keys
        text, hashes = compared_text(table.columns), report.hashes(table, scope)
        assert hashes.keys() == rows.keys()
        if table is ORDERS:  # a document is hashed as it is stored
            assert hashes == {key: text_hash(text(row)) for key, row in rows.items()}
        ((group, total),) = report.sums(table, scope).items()
        assert (group, total.count, total.total) == ((tenant.name, MONTH), len(keys), sum(hashes.values()))


def test_where_a_row_has_landed_is_told_of_a_deleted_one_too(
    database: SqlStore, report: Report, tenant: Tenant
) -> None:
    Worker(database.reporting(), tenant).land(tenant.order("a", 7), tenant.order("b", 8, op=Op.DELETE))
    places = report.places(ORDERS, [(tenant.name, MONTH, name) for name in "abc"])
    assert {key[2]: (place.position.offset, place.deleted) for key, place in places.items()} == {
        "a": (7, False),
        "b": (8, True),
    }


def test_a_row_that_is_taken_out_is_kept_and_comes_back_by_no_old_change_but_by_a_later_one(
    database: SqlStore, report: Report, tenant: Tenant
) -> None:
    worker = Worker(database.reporting(), tenant)
    worker.land(tenant.order("a", 50))
    key = (tenant.name, MONTH, "a")
    remove_row(unexpected(ORDERS, report, key), report, report, reached=40, by="somebody@here")
    assert found(ORDERS, report, tenant) == {}
    ((by, row),) = report.query(KEPT.format(tenant.name))
    assert (by, orjson.loads(row)["total"], orjson.loads(row)["order_month"]) == (
        "somebody@here",
        "12.3400",
        "2026-11-01",
    )

    assert worker.land(tenant.order("a", 39, at={"log": (1, 1)})).written == 0
    # Its own offset was one that a later change of its key might have had.
    assert worker.land(tenant.order("a", 40, at={"log": (9_999, 9_999)})).written == 1
    assert list(found(ORDERS, report, tenant)) == [key]


def test_a_row_that_has_changed_since_it_was_looked_at_stays(
    database: SqlStore, report: Report, tenant: Tenant
) -> None:
    worker = Worker(database.reporting(), tenant)
    worker.land(tenant.order("a", 1))
    seen = unexpected(ORDERS, report, (tenant.name, MONTH, "a"))
    worker.land(tenant.order("a", 2, "shipped"))
    remove_row(seen, report, report, reached=10, by="somebody@here")
    assert len(found(ORDERS, report, tenant)) == 1
    assert report.query(KEPT.format(tenant.name)) == []


def test_an_event_that_is_taken_out_is_kept_as_it_was_and_may_land_again(
    database: SqlStore, report: Report, tenant: Tenant, request: pytest.FixtureRequest
) -> None:
    worker = Worker(database.reporting(), tenant)
    worker.land(tenant.event(EVENT, 1))
    (key,) = found(EVENTS, report, tenant)
    remover = report
    if database.name == "postgres":
        import psycopg

        retention = request.getfixturevalue("postgres_conninfos")[2]
        remover = PostgresReport(psycopg.connect(retention, autocommit=True), GENERATION)
    remove_row(unexpected(EVENTS, report, key), report, remover, reached=10, by="somebody@here")
    if remover is not report:
        remover.close()
    assert found(EVENTS, report, tenant) == {}
    ((_, row),) = report.query(KEPT.format(tenant.name))
    assert orjson.loads(row)["payload"] == '{"total": "12.34", "note": "caf\\u00e9"}'
    assert worker.land(tenant.event(EVENT, 1)).written == 1
