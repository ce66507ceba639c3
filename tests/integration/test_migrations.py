"""Migrate real Postgres databases from nothing, again, and at the same time; a refusal names its setting."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
import sqlalchemy
from pydantic import SecretStr
from sqlalchemy import Engine

from migrations.errors import MigrationFailed
from operations.migrate import migrate_oltp, migrate_reporting
from operations.settings import Settings
from tests.support.databases import Connection
from tests.support.migrated import OLTP_CHAIN, REPORTING_CHAIN


def test_a_second_run_applies_nothing(migrated: Settings) -> None:
    events: list[str] = []
    assert migrate_oltp(migrated, events.append) == []
    assert migrate_reporting(migrated, None, events.append) == []
    assert events == ["oltp: nothing to do", "reporting generation 1: nothing to do"]


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
