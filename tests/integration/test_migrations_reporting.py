"""Generations of a reporting database in Postgres: tables, views, cutoffs and epochs."""

from datetime import date
from typing import Any

import pytest
from psycopg import errors, sql

from operations import connections
from operations.databases.postgres import PostgresReport
from operations.migrate import migrate_reporting
from operations.settings import Settings
from schemas.errors import HeadraceError
from schemas.tables import EVENTS, reported
from sinks.reporting.cutoff import Cutoff
from tests.support.epochs import epochs_follow_each_other, freshness_is_read_as_it_was_stamped
from tests.support.later_columns import a_column_that_came_later_reaches_the_view
from tests.support.migrated import CUTOFF, NOW, REPORTING_CHAIN, TODAY, Login

PLACE = {
    "_epoch": 1,
    "_offset": 1,
    "_version": 0,
    "_log_commit": 0,
    "_log_change": 0,
    "_deleted": False,
    "_source_time": NOW,
}


def product(**values: Any) -> tuple[sql.Composed, list[Any]]:
    row = {"tenant_id": "tenant", "sku": "sku"} | PLACE | values
    statement = sql.SQL("INSERT INTO reporting_g1.products ({}) VALUES ({})").format(
        sql.SQL(", ").join(map(sql.Identifier, row)), sql.SQL(", ").join([sql.Placeholder()] * len(row))
    )
    return statement, list(row.values())


def test_a_deleted_row_may_lack_what_a_live_one_needs(login: Login) -> None:
    login("reporting_writer").execute(*product(_deleted=True))
    with pytest.raises(errors.CheckViolation, match="products_complete"):
        login("reporting_writer").execute(*product(name="a name alone"))


def test_a_later_table_needs_no_grants(login: Login) -> None:
    owner = login("reporting_migrator")
    owner.execute("CREATE TABLE reporting_g1.later (id int)")
    owner.execute("CREATE VIEW report.later AS SELECT * FROM reporting_g1.later")
    allowed = owner.execute(
        "SELECT has_table_privilege('reporting_writer', 'reporting_g1.later', 'INSERT'), "
        "has_table_privilege('reporting_reader', 'report.later', 'SELECT'), "
        "has_table_privilege('reporting_reader', 'report.later', 'INSERT'), "
        "has_table_privilege('reporting_retention', 'reporting_g1.later', 'DELETE')"
    ).fetchone()
    assert allowed == (True, True, False, True)


def test_generations_share_one_cutoff(migrated: Settings, login: Login) -> None:
    owner = login("reporting_migrator")
    owner.execute(CUTOFF)
    owner.execute("INSERT INTO retention.erased_event VALUES ('t', 'e')")
    owner.commit()
    migrate_reporting(migrated, 3)
    with connections.reporting(migrated, "writer") as connection:
        for report in (PostgresReport(connection, 1), PostgresReport(connection, 3)):
            assert report.cutoffs() == {"events": Cutoff("events", date(2026, 1, 1))}
            assert report.erased() == {("t", "e")}
    owner.execute("DELETE FROM retention.cutoff")
    owner.execute("DELETE FROM retention.erased_event")
    owner.commit()
    login("reporting_retention").execute("DELETE FROM reporting_g3.orders WHERE true")


def test_a_generation_beside_the_live_one_leaves_the_readers_views_alone(migrated: Settings, login: Login) -> None:
    assert migrate_reporting(migrated, 2) == REPORTING_CHAIN
    found = login("reporting_migrator").execute(
        "SELECT table_name FROM information_schema.views WHERE table_schema = 'report' "
        "AND view_definition LIKE '%reporting_g1.%'"
    )
    assert {name for (name,) in found} == {table.name for table in reported()} | {"freshness"}
    login("reporting_writer").execute("SELECT FROM reporting_g2.orders")


def test_a_column_that_came_later_reaches_the_view(migrated: Settings) -> None:
    a_column_that_came_later_reaches_the_view(migrated)


def test_epochs_follow_each_other(migrated: Settings) -> None:
    epochs_follow_each_other(migrated)


def test_freshness_is_read_as_it_was_stamped(migrated: Settings) -> None:
    freshness_is_read_as_it_was_stamped(migrated)


def test_retention_reaches_every_generation_that_there_is(migrated: Settings, login: Login) -> None:
    migrate_reporting(migrated, 4)
    owner = login("reporting_migrator")
    owner.execute("CREATE SCHEMA reporting_g99")  # begun, and without tables
    owner.commit()
    found = connections.retention_stores(migrated)
    assert {1, 4} <= {each.generation for each in found}
    assert 99 not in {each.generation for each in found}
    for each in found:
        assert each.event_sums(EVENTS, TODAY, ()) == {}
        each.close()


def test_a_generation_that_retention_cannot_reach_is_named(migrated: Settings, login: Login) -> None:
    owner = login("reporting_migrator")
    owner.execute("INSERT INTO headrace.generation (generation, state, epoch) VALUES (98, 'previous', 1)")
    owner.commit()
    with pytest.raises(HeadraceError, match=r"generation 98 of reporting.*headrace migrate"):
        connections.retention_stores(migrated)
    owner.execute("DELETE FROM headrace.generation WHERE generation = 98")
    owner.commit()
