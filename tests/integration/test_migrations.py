"""Migrations against real servers, in databases of their own: from nothing, again, at once, and what each refuses."""

import json
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy
from psycopg import errors, sql
from pydantic import SecretStr
from pymongo import MongoClient
from pymongo.errors import DuplicateKeyError
from sqlalchemy import Engine

import migrations
from migrations.errors import MigrationFailed
from operations import connections
from operations.migrate import make_partitions, migrate_catalog, migrate_oltp, migrate_reporting
from operations.settings import Settings
from operations.verify.sides import PostgresReport
from schemas.errors import HeadraceError
from schemas.sizes import MB
from schemas.tables import EVENTS, TABLES, Source, reported
from sinks.reporting.cutoff import Cutoff
from tests.support.epochs import epochs_follow_each_other, freshness_is_read_as_it_was_stamped
from tests.support.eventually import eventually
from tests.support.later_columns import a_column_that_came_later_reaches_the_view

FOLDER = Path(migrations.__file__).parent
OLTP_CHAIN = sorted(path.stem for path in (FOLDER / "oltp" / "versions").glob("*.sql"))
REPORTING_CHAIN = sorted(path.stem for path in (FOLDER / "reporting" / "postgres" / "versions").glob("*.sql"))
TODAY = datetime.now(UTC).date()
NOW = datetime.now(UTC)

Connection = psycopg.Connection[Any]
Connect = Callable[[str], Connection]


@pytest.fixture(scope="module")
def migrated(empty: Callable[[], Settings]) -> Settings:
    """Databases that have been migrated from nothing."""
    settings = empty()
    assert migrate_oltp(settings) == OLTP_CHAIN
    assert migrate_reporting(settings) == REPORTING_CHAIN
    return settings


@pytest.fixture(scope="module")
def login(migrated: Settings) -> Iterator[Connect]:
    """A connection of a role, whose transaction the test leaves open; it is rolled back."""
    at, opened = migrated.oltp, dict[str, Connection]()
    report = migrated.reporting

    def connect(role: str) -> Connection:
        if role not in opened:
            if role.startswith("reporting_"):
                password = getattr(report, f"{role.removeprefix('reporting_')}_password")
                where = {"host": report.host, "port": report.port, "dbname": report.database}
            else:
                password = getattr(at, f"{role}_password")
                where = {"host": at.host, "port": at.port, "dbname": at.database}
            opened[role] = psycopg.connect(user=role, password=password.get_secret_value(), **where)
        for connection in opened.values():  # another role's open transaction may hold a lock
            connection.rollback()
        return opened[role]

    yield connect
    for connection in opened.values():
        connection.close()


# From nothing, again, and at once


def test_a_second_run_applies_nothing(migrated: Settings) -> None:
    events: list[str] = []
    assert migrate_oltp(migrated, events.append) == []
    assert migrate_reporting(migrated, None, events.append) == []
    assert events == ["oltp: nothing to do", "reporting generation 1: nothing to do"]


def test_sessions_move_into_their_partitions(empty: Callable[[], Settings]) -> None:
    settings = empty()
    at = settings.oltp
    before = datetime(2026, 1, 31, 23, 59, 59, 999999, UTC)
    rows = [("tenant", "old", before), ("tenant", "new", NOW)]
    with psycopg.connect(
        host=at.host,
        port=at.port,
        dbname=at.database,
        user="migrator",
        password=at.migrator_password.get_secret_value(),
    ) as owner:
        owner.execute("CREATE SCHEMA sales")
        for name in OLTP_CHAIN[:5]:
            owner.execute((FOLDER / "oltp" / "versions" / f"{name}.sql").read_bytes())
        owner.execute("CREATE TABLE sales.schema_version (version_num varchar(32) PRIMARY KEY)")
        owner.execute("INSERT INTO sales.schema_version VALUES ('0005')")
        for row in rows:
            owner.execute("INSERT INTO sales.sessions (tenant_id, session_id, started_at) VALUES (%s, %s, %s)", row)
        shape = table_shape(owner)
        owner.commit()
        assert migrate_oltp(settings)[0] == "0006_retention"
        found = owner.execute("SELECT tenant_id, session_id, started_at FROM sales.sessions ORDER BY started_at")
        assert found.fetchall() == rows
        shape["rights"].remove(("retention", "DELETE"))  # by their function alone, since 0009
        assert table_shape(owner) == shape
        with pytest.raises(errors.CheckViolation):
            owner.execute("INSERT INTO sales.sessions (tenant_id, session_id) VALUES ('a', 'ends with a space ')")


OLD = NOW - timedelta(days=40)
LEAVES = {f"outbox_events_{at:%Y_%m_%d}" for at in (OLD, NOW)}
HOLD_INDEX = """
CREATE FUNCTION public.hold_index() RETURNS event_trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1, 1); END $$;
CREATE EVENT TRIGGER hold_index ON ddl_command_end WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION public.hold_index()
"""


@pytest.fixture
def with_events(empty: Callable[[], Settings]) -> Iterator[tuple[Settings, Connection]]:
    """A source at revision 0006 with an event in an old leaf and one in today's, and its owner's connection."""
    settings = empty()
    with connections.oltp(settings, "migrator") as owner:
        owner.execute("CREATE SCHEMA sales")
        for name in OLTP_CHAIN[:6]:
            owner.execute((FOLDER / "oltp" / "versions" / f"{name}.sql").read_bytes())
        owner.execute("CREATE TABLE sales.schema_version (version_num varchar(32) PRIMARY KEY)")
        owner.execute("INSERT INTO sales.schema_version VALUES ('0006')")
        for at in (OLD, NOW):
            owner.execute("SELECT sales.make_partitions(%s, %s)", (at.date(), at.date()))
            owner.execute(*outbox_row(occurred_at=at))
        yield settings, owner


def indexes(owner: Connection) -> set[str]:
    """The leaves of the outbox that have their unique index."""
    found = owner.execute("SELECT tablename FROM pg_indexes WHERE indexname = tablename || '_identity'")
    return {name for (name,) in found}


def version(owner: Connection) -> str:
    (found,) = owner.execute("SELECT version_num FROM sales.schema_version").fetchall()
    return str(found[0])


def test_orders_go_on_while_an_old_leaf_gets_its_index(
    with_events: tuple[Settings, Connection], superuser: Connection
) -> None:
    settings, owner = with_events
    at = settings.oltp
    password = superuser.info.password
    waits = (
        "SELECT FROM pg_locks JOIN pg_database AS here ON here.oid = database AND datname = current_database() "
        "WHERE locktype = 'advisory' AND classid = 1 AND objid = 1 AND NOT granted"
    )
    with (
        psycopg.connect(host=at.host, port=at.port, dbname=at.database, user="postgres", password=password) as holder,
        connections.oltp(settings, "app_writer") as shop,
        ThreadPoolExecutor(1) as pool,
    ):
        holder.execute(HOLD_INDEX)
        holder.commit()
        holder.execute("SELECT pg_advisory_xact_lock(1, 1)")
        run = pool.submit(migrate_oltp, settings)
        try:
            eventually(lambda: run.done() or owner.execute(waits).fetchone() is not None)
            shop.execute("SET lock_timeout = '100ms'")  # who waits longer was blocked
            shop.execute(*outbox_row(event_id="00000000-0000-0000-0000-000000000002"))
            assert version(owner) == "0007"
        finally:
            holder.rollback()
        assert run.result() == OLTP_CHAIN[6:]
    assert indexes(owner) >= LEAVES


def test_a_revision_that_fails_leaves_those_before_it_and_is_run_again(
    with_events: tuple[Settings, Connection],
) -> None:
    settings, owner = with_events
    limited = settings.model_copy(update={"oltp": settings.oltp.model_copy(update={"max_value_bytes": 3_000_000})})
    again = OLD.replace(hour=(OLD.hour + 1) % 24)
    owner.execute(*outbox_row(occurred_at=again))
    for _ in range(2):
        with pytest.raises(MigrationFailed, match=r"0008_event_identity.sql: .*same tenant, day and id"):
            migrate_oltp(limited)
        assert version(owner) == "0007"
        assert indexes(owner) == set()
        assert owner.execute("SELECT sales.max_value_bytes()").fetchone() == (3_000_000,)
    owner.execute("DELETE FROM sales.outbox_events WHERE occurred_at = %s", [again])
    assert migrate_oltp(limited) == OLTP_CHAIN[7:]
    assert indexes(owner) >= LEAVES


def table_shape(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Columns, checks and rights of the sessions."""
    return {
        "columns": connection.execute(
            "SELECT column_name, data_type, character_maximum_length, is_nullable, column_default "
            "FROM information_schema.columns WHERE table_name = 'sessions' ORDER BY ordinal_position"
        ).fetchall(),
        "checks": connection.execute(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE conrelid = 'sales.sessions'::regclass AND contype = 'c' ORDER BY conname"
        ).fetchall(),
        "rights": connection.execute(
            "SELECT grantee, privilege_type FROM information_schema.role_table_grants "
            "WHERE table_name = 'sessions' ORDER BY grantee, privilege_type"
        ).fetchall(),
        "indexes": connection.execute(
            "SELECT indexname FROM pg_indexes WHERE tablename = 'sessions' ORDER BY indexname"
        ).fetchall(),
    }


def test_two_migrations_at_once_apply_each_revision_once(empty: Callable[[], Settings]) -> None:
    settings = empty()
    for migrate, chain in ((migrate_oltp, OLTP_CHAIN), (migrate_reporting, REPORTING_CHAIN)):
        with ThreadPoolExecutor(2) as pool:
            runs = [run.result() for run in [pool.submit(migrate, settings) for _ in range(2)]]
        assert sorted(runs) == [[], chain]


def test_databases_of_one_cluster_migrate_at_once(empty: Callable[[], Settings]) -> None:
    databases = [empty(), empty()]
    with ThreadPoolExecutor(2) as pool:
        runs = [run.result() for run in [pool.submit(migrate_oltp, database) for database in databases]]
    assert runs == [OLTP_CHAIN, OLTP_CHAIN]


def test_a_role_that_somebody_else_is_altering_gets_its_password_all_the_same(
    migrated: Settings, superuser: Connection
) -> None:
    blocked = "SELECT 1 FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))"
    with ThreadPoolExecutor(1) as pool:
        with superuser.transaction():
            superuser.execute("ALTER ROLE cdc_reader VALID UNTIL 'infinity'")
            run = pool.submit(migrate_oltp, migrated)
            while not run.done() and superuser.execute(blocked).fetchone() is None:
                superuser.execute("SELECT pg_stat_clear_snapshot()")
        assert run.result() == []


def test_no_statement_holds_a_password(migrated: Settings) -> None:
    sent: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    sqlalchemy.event.listen(Engine, "before_cursor_execute", note)
    try:
        migrate_oltp(migrated)
        migrate_reporting(migrated)
    finally:
        sqlalchemy.event.remove(Engine, "before_cursor_execute", note)
    text = "\n".join(sent)
    assert text.count("SCRAM-SHA-256$") == 7
    for password in (migrated.oltp.app_writer_password, migrated.reporting.writer_password):
        assert password.get_secret_value() not in text


def test_a_changed_password_is_taken_over(migrated: Settings) -> None:
    odd = 'it\'s 100% \\ "new" ü'
    at, before = migrated.oltp, migrated.oltp.retention_password.get_secret_value()
    changed = migrated.model_copy(update={"oltp": at.model_copy(update={"retention_password": SecretStr(odd)})})
    where = {"host": at.host, "port": at.port, "dbname": at.database, "user": "retention"}
    try:
        migrate_oltp(changed)
        psycopg.connect(password=odd, **where).close()
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(password=before, **where)
    finally:
        migrate_oltp(migrated)  # roles belong to the whole cluster
    psycopg.connect(password=before, **where).close()


@pytest.mark.parametrize(
    ("at", "change", "expected"),
    [
        ("oltp", {"migrator_password": SecretStr("hush-hush")}, "HEADRACE_OLTP__MIGRATOR_PASSWORD"),
        ("oltp", {"database": "not_there"}, 'database "not_there" does not exist'),
        ("oltp", {"port": 1}, "HEADRACE_OLTP__PORT"),
        ("oltp", {"host": "nowhere.invalid"}, "HEADRACE_OLTP__HOST"),
        ("reporting", {"migrator_password": SecretStr("hush-hush")}, "HEADRACE_REPORTING__MIGRATOR_PASSWORD"),
        ("reporting", {"database": "not_there"}, "HEADRACE_REPORTING__DATABASE"),
        ("reporting", {"port": 1}, "HEADRACE_REPORTING__PORT"),
    ],
)
def test_a_refusal_is_one_line_that_names_the_setting(
    settings: Settings, at: str, change: dict[str, Any], expected: str
) -> None:
    wrong = settings.model_copy(update={at: getattr(settings, at).model_copy(update=change)})
    with pytest.raises(MigrationFailed) as refused:
        (migrate_oltp if at == "oltp" else migrate_reporting)(wrong)
    message = str(refused.value)
    assert expected in message
    assert "\n" not in message
    assert "hush-hush" not in message


# Partitions


def leaves(connection: Connection, root: str) -> dict[str, str]:
    """The leaves of a table, with their replica identity."""
    return dict(
        connection.execute(
            "SELECT class.relname, class.relreplident::text FROM pg_partition_tree(%s::regclass) AS tree "
            "JOIN pg_class AS class ON class.oid = tree.relid WHERE tree.isleaf",
            [f"sales.{root}"],
        )
    )


CAPTURED_STATE = [table.relation for table in TABLES if table.source is Source.POSTGRES]


@pytest.mark.parametrize("table", CAPTURED_STATE)
def test_every_captured_leaf_carries_whole_rows_later_months_included(
    table: str, migrated: Settings, login: Connect
) -> None:
    make_partitions(migrated, date(2031, 1, 15), date(2031, 2, 1))
    found = leaves(login("migrator"), table)
    assert set(found.values()) == {"f"}
    if table == "payments":  # not by month
        assert len(found) == 4
    else:
        assert {f"{table}_2031_0{month}_{remainder}" for month in (1, 2) for remainder in range(4)} <= set(found)


def test_partitions_are_there_from_last_month_to_three_months_ahead(login: Connect) -> None:
    found = leaves(login("migrator"), "orders")
    wanted = {months_from(TODAY, offset) for offset in range(-1, 4)}
    assert {f"orders_{month:%Y_%m}_0" for month in wanted} <= set(found)


def months_from(day: date, offset: int) -> date:
    months = day.year * 12 + day.month - 1 + offset
    return date(months // 12, months % 12 + 1, 1)


def test_partitions_that_are_there_are_left_alone(migrated: Settings) -> None:
    days = date(2032, 11, 3), date(2033, 1, 1)
    events: list[str] = []
    assert make_partitions(migrated, *days, events.append) == 2 * 3 * 4 + 2 * (30 + 31 + 31)
    assert make_partitions(migrated, *days, events.append) == 0
    assert events == ["oltp: 208 partitions for 2032-11 to 2033-01"]


def test_partitions_may_be_made_beside_each_other(migrated: Settings) -> None:
    days = date(2035, 1, 1), date(2035, 3, 1)
    with ThreadPoolExecutor(2) as pool:
        made = [run.result() for run in [pool.submit(make_partitions, migrated, *days) for _ in range(2)]]
    assert sum(made) == 2 * 3 * 4 + 2 * (31 + 28 + 31)


def test_a_range_of_days_in_the_wrong_order_is_refused(login: Connect) -> None:
    with pytest.raises(errors.RaiseException, match="expected a first and a last day"):
        login("migrator").execute("SELECT sales.make_partitions('2030-02-01', '2030-01-01')")


def test_partitions_are_made_while_somebody_reads_and_writes(migrated: Settings, login: Connect) -> None:
    reader, writer = login("cdc_reader"), login("app_writer")
    reader.execute("SELECT count(*) FROM sales.outbox_events")
    writer.execute(*outbox_row())
    assert make_partitions(migrated, date(2034, 5, 1), date(2034, 5, 1)) == 8 + 31 + 31


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
@pytest.mark.parametrize(
    ("instant", "leaf"),
    [
        ("2031-01-31 23:59:59.999999+00", "outbox_events_2031_01_31"),
        ("2031-02-01 00:00:00+00", "outbox_events_2031_02_01"),
    ],
)
def test_an_event_lies_in_the_leaf_of_its_day_in_utc(
    zone: str, instant: str, leaf: str, migrated: Settings, login: Connect
) -> None:
    make_partitions(migrated, date(2031, 1, 1), date(2031, 2, 1))
    connection = login("app_writer")
    connection.execute(sql.SQL("SET LOCAL TimeZone = {}").format(zone))
    found = connection.execute(*outbox_row(occurred_at=instant, returning="tableoid::regclass::text")).fetchone()
    assert found == (f"sales.{leaf}",)


def test_a_month_of_history_is_one_leaf_of_the_outbox(migrated: Settings, login: Connect) -> None:
    make_partitions(migrated, date(2017, 2, 1), date(2017, 2, 28))
    found = leaves(login("migrator"), "outbox_events")
    assert [name for name in found if name.startswith("outbox_events_2017")] == ["outbox_events_2017_02"]


def test_a_row_beyond_the_last_month_is_refused(login: Connect) -> None:
    with pytest.raises(errors.CheckViolation, match="no partition"):
        login("app_writer").execute(*order_row(order_month="2099-01-01"))


# What the source refuses


def insert(table: str, row: dict[str, Any], returning: str) -> tuple[sql.Composed, list[Any]]:
    statement = sql.SQL("INSERT INTO sales.{} ({}) VALUES ({}) RETURNING {}").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, row)),
        sql.SQL(", ").join([sql.Placeholder()] * len(row)),
        sql.SQL(returning),  # type: ignore[arg-type]  # the test's own text
    )
    return statement, list(row.values())


def order_row(*, returning: str = "order_id", **values: Any) -> tuple[sql.Composed, list[Any]]:
    row = {
        "tenant_id": "tenant",
        "order_month": TODAY.replace(day=1),
        "order_id": "order",
        "customer_id": "customer",
        "status": "placed",
        "total": "12.3400",
        "currency": "EUR",
        "placed_at": NOW,
    }
    return insert("orders", row | values, returning)


def payment_row(*, returning: str = "payment_id", **values: Any) -> tuple[sql.Composed, list[Any]]:
    row = {
        "tenant_id": "tenant",
        "payment_id": "payment",
        "order_month": TODAY.replace(day=1),
        "order_id": "order",
        "provider": "acme",
        "provider_status": "captured",
        "method": "card",
        "installments": 1,
        "amount": "12.34",
        "currency": "EUR",
        "paid_at": NOW,
    }
    return insert("payments", row | values, returning)


def line_row(*, returning: str = "line_no", **values: Any) -> tuple[sql.Composed, list[Any]]:
    row = {
        "tenant_id": "tenant",
        "order_month": TODAY.replace(day=1),
        "order_id": "order",
        "line_no": 1,
        "sku": "sku",
        "quantity": 1,
        "unit_price": "1",
        "freight": "0",
        "currency": "EUR",
        "priced_at": NOW,
    }
    return insert("order_lines", row | values, returning)


def outbox_row(*, returning: str = "event_id", **values: Any) -> tuple[sql.Composed, list[Any]]:
    row = {
        "event_id": "019ab0c4-7a56-7c3e-9f00-0123456789ab",
        "tenant_id": "tenant",
        "aggregate_type": "order",
        "aggregate_id": "order",
        "event_type": "order.placed",
        "payload": "{}",
        "occurred_at": NOW,
    }
    return insert("outbox_events", row | values, returning)


ROWS = {"orders": order_row, "order_lines": line_row, "payments": payment_row, "outbox_events": outbox_row}


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
def test_the_source_refuses_what_cannot_be_carried(table: str, value: dict[str, Any], login: Connect) -> None:
    connection = login("app_writer")
    connection.execute(*order_row())
    row = {"order_id": "another"} | value if table == "orders" else value
    with pytest.raises(errors.CheckViolation):
        connection.execute(*ROWS[table](**row))


@pytest.mark.parametrize("column", ["payload", "headers"])
def test_a_value_that_is_too_long_for_a_record_is_refused_in_words(column: str, login: Connect) -> None:
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


def test_the_longest_value_is_a_setting_that_open_sessions_heed(migrated: Settings, login: Connect) -> None:
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


def test_an_event_is_not_changed_even_by_its_owner(login: Connect) -> None:
    owner = login("migrator")
    owner.execute(*outbox_row())
    with pytest.raises(errors.RestrictViolation, match="an event is immutable"):
        owner.execute("UPDATE sales.outbox_events SET payload = '[]'")


def test_an_infinite_amount_is_refused(login: Connect) -> None:
    with pytest.raises(errors.NumericValueOutOfRange):
        login("app_writer").execute(*order_row(total="Infinity"))


def test_a_line_needs_its_order(login: Connect) -> None:
    with pytest.raises(errors.ForeignKeyViolation):
        login("app_writer").execute(*line_row())


@pytest.mark.parametrize(
    "token",
    ["tok_visa_1234", "550e8400-e29b-41d4-a716-446655440000", "12345678-1234-4123-8123-123456789012", "a1" * 32, None],
)
def test_a_token_passes_whatever_digits_it_holds(token: str | None, login: Connect) -> None:
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
    given: dict[str, Any], expected: str | None, login: Connect
) -> None:
    found = login("app_writer").execute(*outbox_row(returning="traceparent", **given)).fetchone()
    assert found == (expected,)


# Roles

CUTOFF = "INSERT INTO retention.cutoff VALUES ('events', '2026-01-01', '[]')"
ANY_LEAF = f"sales.orders_{TODAY:%Y_%m}_0"
CAPTURED = ("orders", "order_lines", "payments", "outbox_events")
RETIRING = (
    "sales.retire_rows('2010-01-01', '{}', '{}', '{}', '{}')",
    "sales.retire_events('leaf', '{}', '{}')",
    "sales.retire_sessions('leaf', now(), '{}')",
    "sales.erase_events('tenant', '{}')",
)
WITHIN = (  # what the functions above are made of
    "sales.delete_rows('orders', 'order_month', '2010-01-01', '{}')",
    "sales.retire_proven_rows('2010-01-01', '{}', '{}', '{}', '{}')",
    "sales.retire_proven_events('leaf', '{}', '{}')",
    "sales.retire_seen_sessions('leaf', now(), '{}')",
    "sales.erase_named_events('tenant', '{}')",
    f"sales.drop_leaf('{ANY_LEAF}')",
    f"sales.lock_above('{ANY_LEAF}')",
    "sales.drop_months('{}', '{}')",
    "sales.make_month('orders', 'order_month', false, 'FULL', '2010-01-01')",
)


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        *[("app_writer", f"UPDATE sales.{table} SET updated_by = 'me'") for table in CAPTURED[:3]],
        *[("app_writer", f"SELECT FROM sales.{table}") for table in (*CAPTURED, "sessions")],
        ("app_writer", "UPDATE sales.sessions SET last_seen_at = now()"),
        ("app_writer", "INSERT INTO sales.sessions (tenant_id, session_id) VALUES ('a', 'b')"),
        *[("cdc_reader", f"SELECT FROM sales.{table}") for table in (*CAPTURED, "heartbeat", "debezium_signal")],
        ("cdc_reader", "INSERT INTO sales.debezium_signal VALUES ('a', 'log', '{}')"),
        (
            "cdc_reader",
            "INSERT INTO sales.heartbeat (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET at = clock_timestamp()",
        ),
        *[("reporter_reader", f"SELECT FROM sales.{table}") for table in (*CAPTURED, "heartbeat")],
        ("retention", "SELECT FROM sales.minimum_age, sales.legal_hold"),
        ("retention", "SELECT sales.require_old('orders', 'order_month', '2000-01-01')"),
        *[("retention", f"SELECT FROM sales.{table}") for table in (*CAPTURED, "sessions")],
        ("retention", "SELECT sales.make_partitions('2040-01-01', '2040-01-01')"),
        ("retention", f"SELECT sales.event_sums('outbox_events_{TODAY:%Y_%m_%d}', '{{}}')"),
        ("retention", "SELECT sales.row_sums('orders', 'order_month', '2010-01-01', '{}')"),
        ("retention", "SELECT sales.retire_rows('2010-01-01', '{}', '{}', '{}', '{}')"),
        ("retention", "SELECT sales.erase_events('tenant', '{}')"),
        ("reporting_writer", "INSERT INTO reporting_g1.checkpoint VALUES ('t', 0, 'id', 0, 1)"),
        ("reporting_writer", "UPDATE reporting_g1.orders SET _offset = 1"),
        ("reporting_writer", "CREATE TEMPORARY TABLE stage (LIKE reporting_g1.orders)"),
        ("reporting_writer", "SELECT FROM retention.cutoff, retention.erased_event"),
        ("reporting_writer", "UPDATE reporting_g1.freshness SET complete_through = now()"),
        ("reporting_writer", "UPDATE headrace.epoch SET timeline = 2, ended_at = now(), ended_because = 'gone'"),
        ("reporting_writer", "INSERT INTO headrace.repair VALUES (now(), 'me', 1, 'orders', '[]', '{}')"),
        ("reporting_reader", "SELECT FROM report.freshness, headrace.epoch, headrace.generation"),
        *[("reporting_reader", f"SELECT FROM report.{table.name}") for table in reported()],
        *[("reporting_retention", f"DELETE FROM reporting_g1.{table.name} WHERE true") for table in reported()],
        ("reporting_retention", "SELECT FROM headrace.repair"),
        ("reporting_retention", "DELETE FROM headrace.repair WHERE true"),
        ("reporting_retention", "SELECT FROM reporting_g1.checkpoint"),
        ("reporting_retention", "LOCK TABLE retention.cutoff IN ACCESS EXCLUSIVE MODE"),
        ("reporting_retention", CUTOFF + " ON CONFLICT (part) DO UPDATE SET before = excluded.before"),
        ("reporting_retention", "INSERT INTO retention.erased_event VALUES ('t', 'e') ON CONFLICT DO NOTHING"),
        ("reporting_retention", "CREATE TEMPORARY TABLE aged AS SELECT order_id FROM reporting_g1.orders"),
    ],
)
def test_a_role_may_do_its_work(role: str, statement: str, login: Connect) -> None:
    login(role).execute(statement)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        *[("app_writer", f"DELETE FROM sales.{table}") for table in (*CAPTURED, "sessions")],
        *[("app_writer", f"TRUNCATE sales.{table}") for table in (*CAPTURED, "sessions")],
        ("app_writer", "UPDATE sales.outbox_events SET payload = '{}'"),
        ("app_writer", "SELECT FROM sales.heartbeat"),
        ("app_writer", "INSERT INTO sales.debezium_signal VALUES ('a', 'log', '{}')"),
        ("app_writer", f"SELECT FROM {ANY_LEAF}"),
        ("app_writer", "SELECT sales.make_partitions('2040-01-01', '2040-01-01')"),
        ("app_writer", "CREATE TABLE sales.mine (id int)"),
        ("app_writer", "CREATE TABLE public.mine (id int)"),
        ("app_writer", "CREATE SCHEMA mine"),
        *[("cdc_reader", f"UPDATE sales.{table} SET tenant_id = 'a'") for table in CAPTURED],
        *[("cdc_reader", f"DELETE FROM sales.{table}") for table in (*CAPTURED, "heartbeat", "debezium_signal")],
        ("cdc_reader", "SELECT FROM sales.sessions"),
        ("cdc_reader", "CREATE PUBLICATION mine FOR TABLE sales.orders"),
        *[("reporter_reader", f"UPDATE sales.{table} SET tenant_id = 'a'") for table in CAPTURED],
        ("reporter_reader", "UPDATE sales.heartbeat SET at = now()"),
        ("reporter_reader", "SELECT FROM sales.sessions"),
        ("reporter_reader", "SELECT FROM sales.debezium_signal"),
        *[("retention", f"DELETE FROM sales.{table}") for table in (*CAPTURED, "sessions")],
        ("retention", "UPDATE sales.minimum_age SET age = '1 day'"),
        ("retention", "INSERT INTO sales.minimum_age VALUES ('notes', 'at', '1 day')"),
        ("retention", "DELETE FROM sales.legal_hold"),
        *[("retention", f"TRUNCATE sales.{table}") for table in (*CAPTURED, "sessions")],
        *[("retention", f"UPDATE sales.{table} SET tenant_id = 'a'") for table in CAPTURED],
        *[("retention", f"DROP TABLE sales.{table}") for table in (*CAPTURED, "sessions", ANY_LEAF[6:])],
        ("retention", f"DELETE FROM {ANY_LEAF}"),
        ("retention", f"LOCK TABLE {ANY_LEAF}"),
        *[("retention", f"SELECT {call}") for call in WITHIN],
        *[(role, f"SELECT {call}") for role in ("app_writer", "cdc_reader", "reporter_reader") for call in RETIRING],
        ("retention", "UPDATE sales.sessions SET deleted_by = 'me'"),
        ("retention", "INSERT INTO sales.sessions (tenant_id, session_id) VALUES ('a', 'b')"),
        ("reporting_writer", "TRUNCATE reporting_g1.orders"),
        ("reporting_writer", "DELETE FROM reporting_g1.orders"),
        ("reporting_writer", "SELECT FROM report.orders"),
        *[("reporting_writer", f"{verb} headrace.repair") for verb in ("DELETE FROM", "TRUNCATE")],
        ("reporting_writer", "UPDATE headrace.epoch SET epoch = 2"),
        ("reporting_writer", "INSERT INTO headrace.epoch VALUES (2, 'r', 'me', now(), 1, 1)"),
        ("reporting_writer", "UPDATE headrace.generation SET state = 'live'"),
        ("reporting_retention", "DELETE FROM reporting_g1.freshness"),
        ("reporting_writer", "CREATE TABLE reporting_g1.mine (id int)"),
        ("reporting_writer", "UPDATE reporting_g1.schema_version SET version_num = '0'"),
        ("reporting_writer", "CREATE VIEW report.mine AS SELECT 1"),
        ("reporting_writer", CUTOFF),
        ("reporting_writer", "LOCK TABLE retention.cutoff IN ACCESS EXCLUSIVE MODE"),
        ("reporting_writer", "INSERT INTO retention.erased_event VALUES ('t', 'e')"),
        ("reporting_reader", "SELECT FROM retention.cutoff"),
        ("reporting_reader", "SELECT FROM retention.erased_event"),
        ("reporting_retention", "DELETE FROM retention.cutoff"),
        ("reporting_retention", "DELETE FROM retention.erased_event"),
        ("reporting_retention", "TRUNCATE reporting_g1.events"),
        ("reporting_retention", "UPDATE reporting_g1.orders SET _deleted = true"),
        ("reporting_retention", "DELETE FROM reporting_g1.checkpoint"),
        ("reporting_retention", "SELECT FROM reporting_g1.schema_version"),
        ("reporting_retention", "CREATE TABLE retention.mine (id int)"),
        ("reporting_reader", "SELECT FROM headrace.repair"),
        ("reporting_retention", "UPDATE headrace.repair SET old_row = ''"),
        ("reporting_reader", "SELECT FROM reporting_g1.orders"),
        ("reporting_reader", "SELECT FROM reporting_g1.checkpoint"),
        ("reporting_reader", "DELETE FROM report.orders"),
        ("reporting_reader", "CREATE TEMPORARY TABLE mine (id int)"),
        ("reporting_reader", "CREATE TABLE public.mine (id int)"),
    ],
)
def test_a_role_may_do_no_more(role: str, statement: str, login: Connect) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        login(role).execute(statement)  # type: ignore[arg-type]


def test_only_capture_may_replicate_and_nobody_rules(superuser: Connection) -> None:
    attributes = superuser.execute(
        "SELECT rolname, rolreplication FROM pg_roles WHERE rolname IN ('app_writer', 'cdc_reader', 'reporter_reader', "
        "'retention', 'reporting_writer', 'reporting_reader', 'reporting_retention') "
        "AND rolcanlogin AND NOT (rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls) ORDER BY rolname"
    ).fetchall()
    assert attributes == [
        ("app_writer", False),
        ("cdc_reader", True),
        ("reporter_reader", False),
        ("reporting_reader", False),
        ("reporting_retention", False),
        ("reporting_writer", False),
        ("retention", False),
    ]


@pytest.mark.parametrize("role", ["reporting_writer", "registry"])
def test_other_databases_roles_cannot_connect_to_the_source(role: str, migrated: Settings, stack_folder: Path) -> None:
    password = json.loads((stack_folder / "passwords.json").read_text())[role]
    at = migrated.oltp
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(host=at.host, port=at.port, dbname=at.database, user=role, password=password)


def test_the_migrator_is_no_superuser(login: Connect) -> None:
    found = login("migrator").execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    assert found == (False,)


# Reporting

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


def test_a_deleted_row_may_lack_what_a_live_one_needs(login: Connect) -> None:
    login("reporting_writer").execute(*product(_deleted=True))
    with pytest.raises(errors.CheckViolation, match="products_complete"):
        login("reporting_writer").execute(*product(name="a name alone"))


def test_a_later_table_needs_no_grants(login: Connect) -> None:
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


def test_generations_share_one_cutoff(migrated: Settings, login: Connect) -> None:
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


def test_a_generation_beside_the_live_one_leaves_the_readers_views_alone(migrated: Settings, login: Connect) -> None:
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


def test_retention_reaches_every_generation_that_there_is(migrated: Settings, login: Connect) -> None:
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


def test_a_generation_that_retention_cannot_reach_is_named(migrated: Settings, login: Connect) -> None:
    owner = login("reporting_migrator")
    owner.execute("INSERT INTO headrace.generation (generation, state, epoch) VALUES (98, 'previous', 1)")
    owner.commit()
    with pytest.raises(HeadraceError, match=r"generation 98 of reporting.*headrace migrate"):
        connections.retention_stores(migrated)
    owner.execute("DELETE FROM headrace.generation WHERE generation = 98")
    owner.commit()


# The catalog


@pytest.fixture
def empty_catalog(settings: Settings) -> Iterator[Settings]:
    """Settings that name an empty database of the catalog's server, which is dropped at the end."""
    database = f"test_migrations_{secrets.token_hex(4)}"
    yield settings.model_copy(update={"catalog": settings.catalog.model_copy(update={"database": database})})
    with MongoClient[dict[str, Any]](settings.catalog.uri) as client:
        client.drop_database(database)


def test_the_catalog_is_migrated_once_and_is_unique_on_its_keys(empty_catalog: Settings) -> None:
    applied = migrate_catalog(empty_catalog)
    assert applied[:3] == ["0001_collections", "0002_indexes", "0003_heartbeat"]
    assert migrate_catalog(empty_catalog) == []
    with MongoClient[dict[str, Any]](empty_catalog.catalog.uri, tz_aware=True) as client:
        database = client[empty_catalog.catalog.database]
        beat = database["heartbeat"].find_one({"_id": "heartbeat"})
        assert beat is not None
        assert abs((beat["at"] - datetime.now(UTC)).total_seconds()) < 60
        database["price_history"].insert_one({"_id": 1, "tenant_id": "a", "sku": "b", "valid_from": NOW})
        with pytest.raises(DuplicateKeyError):
            database["price_history"].insert_one({"_id": 2, "tenant_id": "a", "sku": "b", "valid_from": NOW})


def test_two_migrations_of_the_catalog_at_once_do_no_harm(empty_catalog: Settings) -> None:
    with ThreadPoolExecutor(2) as pool:
        for run in [pool.submit(migrate_catalog, empty_catalog) for _ in range(2)]:
            run.result()
    assert migrate_catalog(empty_catalog) == []


def test_a_catalog_that_is_not_there_is_named_by_its_setting(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operations.migrate.CONNECT_SECONDS", 0.2)
    catalog = settings.catalog.model_copy(update={"uri": "mongodb://127.0.0.1:1"})
    wrong = settings.model_copy(update={"catalog": catalog})
    with pytest.raises(MigrationFailed, match=r"^catalog: no server \(127\.0\.0\.1:1: .*HEADRACE_CATALOG__URI$"):
        migrate_catalog(wrong)
