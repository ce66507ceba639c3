"""The T-SQL migrations on a real server: run where HEADRACE_TEST_SQLSERVER holds an ODBC connection string of a login
that may create databases and logins. The run's header says whether they do."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

import migrations
from migrations.connections import connected
from migrations.errors import MigrationFailed
from operations import connections
from operations.migrate import migrate_reporting, reporting_server
from operations.odbc import connection_string
from operations.settings import Settings
from schemas.change import Op
from schemas.checksums import sum_of
from schemas.tables import EVENTS, ORDERS, PAYMENTS, reported
from sinks.reporting.cutoff import Cutoff
from sinks.reporting.port import Batch
from sinks.reporting.sqlserver import cutover_sql as sqlserver_cutover_sql
from tests.support.epochs import epochs_follow_each_other, freshness_is_read_as_it_was_stamped
from tests.support.later_columns import a_column_that_came_later_reaches_the_view
from tests.support.sqlserver import empty, reporting
from tests.support.trade import DAY, MONTH, Tenant

ODBC = os.environ["HEADRACE_TEST_SQLSERVER"]
FOLDER = Path(migrations.__file__).parent / "reporting" / "sqlserver" / "versions"
CHAIN = sorted(path.stem for path in FOLDER.glob("*.sql"))
PLACE = "[_epoch], [_offset], [_version], [_log_commit], [_log_change], [_deleted], [_source_time]"
PERMISSION_DENIED = (229, 262, 2760, 3701, 4701, 33557097)  # the last one is Babelfish's for whatever has no number


@pytest.fixture(scope="module")
def target() -> Iterator[Settings]:
    """Settings of an empty database, which is dropped at the end."""
    at = reporting(ODBC)
    with empty(at):
        # What is migrated here needs no other server.
        yield Settings.model_construct(reporting=at)


@pytest.fixture(scope="module")
def migrated(target: Settings) -> Settings:
    """The database, migrated from nothing by two at once."""
    with ThreadPoolExecutor(2) as pool:
        runs = [run.result() for run in [pool.submit(migrate_reporting, target) for _ in range(2)]]
    assert sorted(runs) == [[], CHAIN]
    return target


@pytest.fixture
def execute(migrated: Settings) -> Iterator[Callable[[str, str], Any]]:
    """Runs a statement as one of the roles; what it did is rolled back."""
    import pyodbc

    opened = []

    def run(role: str, statement: str) -> Any:
        at = migrated.reporting
        password = getattr(at, f"{role}_password").get_secret_value()
        connection = pyodbc.connect(connection_string(at, at.user(role), password), autocommit=False)
        opened.append(connection)
        return connection.execute(statement)

    yield run
    for connection in opened:
        connection.rollback()
        connection.close()


def test_a_second_run_applies_nothing(migrated: Settings) -> None:
    events: list[str] = []
    assert migrate_reporting(migrated, None, events.append) == []
    assert events == ["reporting generation 1: nothing to do"]


def test_a_generation_beside_the_live_one_leaves_the_readers_views_alone(migrated: Settings) -> None:
    events: list[str] = []
    assert migrate_reporting(migrated, 2, events.append) == CHAIN
    assert not any("view" in event for event in events)


def test_a_column_that_came_later_reaches_the_view(migrated: Settings) -> None:
    a_column_that_came_later_reaches_the_view(migrated)


def test_a_long_view_tells_which_generation_it_shows(migrated: Settings) -> None:
    """INFORMATION_SCHEMA.VIEWS has NULL for a definition of more than 4,000 characters."""
    with connected(reporting_server(migrated)) as connection, connection.begin() as transaction:
        connection.exec_driver_sql("DROP VIEW report.payments")
        literal = "N'" + "x" * 4_000 + "'"
        connection.exec_driver_sql(
            f"CREATE VIEW report.payments AS SELECT tenant_id, {literal} AS long FROM reporting_g1.payments"
        )
        views = {name: text for name, text in connection.exec_driver_sql(sqlserver_cutover_sql.list_views())}  # noqa: C416
        assert "reporting_g1" in views["payments"]
        transaction.rollback()


def test_epochs_follow_each_other(migrated: Settings) -> None:
    epochs_follow_each_other(migrated)


def test_freshness_is_read_as_it_was_stamped(migrated: Settings) -> None:
    freshness_is_read_as_it_was_stamped(migrated)


def test_retention_reaches_every_generation_and_verification_sees_its_cutoff(migrated: Settings) -> None:
    migrate_reporting(migrated, 2)
    first, second = connections.retention_stores(migrated)
    assert (first.generation, second.generation) == (1, 2)
    first.set_cutoff(cutoff := Cutoff("orders", date(2019, 11, 1), frozenset({"held"})))
    first.erase_events(EVENTS, "t", ["0193a1b2-0000-7000-8000-000000000001"])
    report = connections.report(migrated)
    assert second.cutoffs() == report.cutoffs() == {"orders": cutoff}
    assert report.erased() == {("t", "0193a1b2-0000-7000-8000-000000000001")}
    for each in (first, second):
        each.close()


def test_the_roles_have_the_rights_that_landing_and_retiring_need(migrated: Settings) -> None:
    tenant, ids = Tenant(), [f"0193a1b2-0000-7000-8000-{n:012x}" for n in range(3)]
    reporting, retiring = connections.landing(migrated), connections.retention_stores(migrated)[0]
    held = [tenant.order("a", 1), tenant.payment("p", 2, op=Op.DELETE), *(tenant.event(each, 3) for each in ids)]
    assert reporting.land(Batch(changes=held, checkpoints={})).written == 5
    retiring.set_cutoff(tenant.cutoff(date(2027, 1, 1)))
    orders, payments, events = (tenant.table(each) for each in (ORDERS, PAYMENTS, EVENTS))
    assert retiring.erase_events(events, tenant.name, ids[:1]) == 1
    assert retiring.retire_events(events, DAY, {tenant.name: sum_of(ids[1:])}) == 2
    assert retiring.retire_rows(orders, MONTH, ()) == 1
    assert retiring.purge_deleted(payments, [(tenant.name, "p")]) == 1
    assert retiring.purge_deleted_before(payments, date(2027, 1, 1)) == 0
    assert reporting.land(Batch(changes=held, checkpoints={})).refused == 4
    reporting.close()
    retiring.close()


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("writer", "INSERT INTO reporting_g1.[checkpoint] VALUES ('t', 0, 'id', 0, 1, SYSUTCDATETIME())"),
        ("writer", "UPDATE reporting_g1.orders SET [_offset] = 1"),
        ("writer", "SELECT TOP (0) * INTO #stage FROM reporting_g1.orders"),
        ("writer", "SELECT * FROM retention.cutoff WITH (TABLOCK, HOLDLOCK)"),
        ("writer", "SELECT * FROM retention.erased_event"),
        ("writer", "UPDATE reporting_g1.freshness SET complete_through = SYSUTCDATETIME()"),
        ("writer", "UPDATE headrace.epoch SET timeline = 2, ended_at = SYSUTCDATETIME(), ended_because = 'gone'"),
        ("reader", "SELECT * FROM report.freshness"),
        ("writer", "INSERT INTO headrace.repair VALUES (SYSUTCDATETIME(), 'me', 1, 'orders', '[]', '{}')"),
        ("reader", "SELECT * FROM headrace.epoch"),
        ("reader", "SELECT * FROM headrace.generation"),
        ("writer", "SELECT * FROM headrace.generation"),
        ("writer", "SELECT * FROM headrace.repair"),
        ("retention", "SELECT * FROM headrace.epoch"),
        ("retention", "DELETE FROM headrace.repair"),
        ("retention", "DELETE FROM reporting_g1.orders"),
        ("retention", "SELECT * FROM reporting_g1.[checkpoint]"),
        ("retention", "SELECT COUNT(*) FROM retention.cutoff WITH (TABLOCKX, HOLDLOCK)"),
        ("retention", "INSERT INTO retention.cutoff VALUES ('events', '2026-01-01', '[]', SYSUTCDATETIME())"),
        ("retention", "UPDATE retention.cutoff SET held = '[]'"),
        ("retention", "INSERT INTO retention.erased_event VALUES ('t', 'e', SYSUTCDATETIME())"),
        *[("reader", f"SELECT * FROM report.{table.name}") for table in reported()],
    ],
)
def test_a_role_may_do_its_work(role: str, statement: str, execute: Callable[[str, str], Any]) -> None:
    execute(role, statement)


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("writer", "DELETE FROM reporting_g1.orders"),
        ("writer", "TRUNCATE TABLE reporting_g1.orders"),
        ("writer", "DROP TABLE reporting_g1.orders"),
        ("writer", "CREATE TABLE reporting_g1.mine (id INT)"),
        ("writer", "CREATE TABLE dbo.mine (id INT)"),
        ("writer", "SELECT * FROM report.orders"),
        ("writer", "DELETE FROM headrace.repair"),
        ("writer", "UPDATE headrace.epoch SET epoch = 2"),
        ("writer", "INSERT INTO headrace.epoch (epoch) VALUES (2)"),
        ("writer", "UPDATE headrace.generation SET state = 'live'"),
        ("writer", "INSERT INTO retention.cutoff VALUES ('events', '2026-01-01', '[]', SYSUTCDATETIME())"),
        ("writer", "UPDATE retention.cutoff SET held = '[]'"),
        ("retention", "DELETE FROM retention.cutoff"),
        ("retention", "DELETE FROM retention.erased_event"),
        ("retention", "UPDATE reporting_g1.orders SET [_offset] = 1"),
        ("retention", "CREATE TABLE dbo.mine (id INT)"),
        ("reader", "SELECT * FROM retention.cutoff"),
        ("reader", "SELECT * FROM reporting_g1.orders"),
        ("reader", "SELECT * FROM reporting_g1.[checkpoint]"),
        ("reader", "SELECT * FROM headrace.repair"),
        ("retention", "INSERT INTO headrace.repair VALUES (SYSUTCDATETIME(), 'me', 1, 'orders', '[]', '{}')"),
        ("reader", "DELETE FROM report.orders"),
        ("reader", "CREATE TABLE dbo.mine (id INT)"),
    ],
)
def test_a_role_may_do_no_more(role: str, statement: str, execute: Callable[[str, str], Any]) -> None:
    import pyodbc

    with pytest.raises(pyodbc.ProgrammingError) as refused:
        execute(role, statement)
    assert any(f"({number})" in str(refused.value) for number in PERMISSION_DENIED)


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("retention", "DELETE FROM reporting_g1.[checkpoint]"),
        ("retention", "DELETE FROM reporting_g1.freshness"),
        ("retention", "SELECT * FROM reporting_g1.schema_version"),
        ("writer", "UPDATE reporting_g1.schema_version SET version_num = '0001'"),
        ("writer", "SELECT * FROM reporting_g1.schema_version"),
    ],
)
def test_a_generations_bookkeeping_is_denied_by_name(
    role: str, statement: str, execute: Callable[[str, str], Any]
) -> None:
    if execute("writer", "SELECT CAST(SERVERPROPERTY('Babelfish') AS INT)").fetchval():
        pytest.skip("Babelfish has no DENY")
    test_a_role_may_do_no_more(role, statement, execute)


def test_keys_compare_by_code_point(execute: Callable[[str, str], Any]) -> None:
    rows = ", ".join(f"(N'tenant', N'{sku}', 1, 1, 0, 0, 0, 1, '2026-01-01')" for sku in ("a", "A", "ä"))
    done = execute("writer", f"INSERT INTO reporting_g1.products (tenant_id, sku, {PLACE}) VALUES {rows}")
    assert done.rowcount == 3


def test_a_live_row_must_be_complete(execute: Callable[[str, str], Any]) -> None:
    import pyodbc

    row = "(N'tenant', N'sku', 1, 1, 0, 0, 0, 0, '2026-01-01')"
    with pytest.raises(pyodbc.IntegrityError, match="products_complete"):
        execute("writer", f"INSERT INTO reporting_g1.products (tenant_id, sku, {PLACE}) VALUES {row}")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"migrator_password": SecretStr("hush-hush")}, "HEADRACE_REPORTING__MIGRATOR_PASSWORD"),
        ({"database": "not_there"}, "HEADRACE_REPORTING__DATABASE"),
        ({"port": 1}, "HEADRACE_REPORTING__PORT"),
    ],
)
def test_a_refusal_is_one_line_that_names_the_setting(target: Settings, change: dict[str, Any], expected: str) -> None:
    wrong = Settings.model_construct(reporting=target.reporting.model_copy(update=change))
    with pytest.raises(MigrationFailed) as refused:
        migrate_reporting(wrong)
    assert expected in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "hush-hush" not in str(refused.value)
