"""Rights of each database role: statements that its work needs, and statements that it is refused."""

import json
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from operations.settings import Settings
from schemas.tables import reported
from tests.support.databases import Connection
from tests.support.migrated import CUTOFF, TODAY, Login

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
def test_a_role_may_do_its_work(role: str, statement: str, login: Login) -> None:
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
def test_a_role_may_do_no_more(role: str, statement: str, login: Login) -> None:
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


def test_the_migrator_is_no_superuser(login: Login) -> None:
    found = login("migrator").execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    assert found == (False,)
