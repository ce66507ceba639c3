"""`headrace migrate`: brings the source, the reporting database and the catalog to this version's schema.

Everything may be run again, and by two at once: a database's migrations are one transaction behind one lock.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta

import psycopg
from psycopg import sql
from pydantic import SecretStr
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from sqlalchemy import Connection

from migrations import chain
from migrations.catalog import runner
from migrations.connections import CONNECT_SECONDS, Server, transaction
from migrations.errors import MigrationFailed
from operations.settings import Oltp, Settings
from schemas.tables import reported

OnEvent = Callable[[str], None]
MONTHS_BEHIND, MONTHS_AHEAD = 1, 3


def _silent(_event: str) -> None:
    return None


def migrate_oltp(settings: Settings, on_event: OnEvent = _silent) -> list[str]:
    """Migrate the source, set its roles' passwords, and make partitions from last month to three months ahead.

    Returns the revisions applied. Raises MigrationFailed.
    """
    oltp = settings.oltp
    passwords = {
        "app_writer": oltp.app_writer_password,
        "cdc_reader": oltp.cdc_reader_password,
        "reporter_reader": oltp.reporter_reader_password,
        "retention": oltp.retention_password,
    }
    with transaction(_source(oltp)) as connection:
        connection.exec_driver_sql("CREATE SCHEMA IF NOT EXISTS sales")
        applied = chain.upgrade(connection, "oltp", schema="sales")
        _set_passwords(connection, passwords)
    _report("oltp", applied, on_event)
    today = datetime.now(UTC).date()
    make_partitions(settings, _month(today, -MONTHS_BEHIND), _month(today, MONTHS_AHEAD), on_event)
    return applied


def make_partitions(settings: Settings, first_day: date, last_day: date, on_event: OnEvent = _silent) -> int:
    """Make the partitions of schema `sales` for these days, the last one included; returns how many leaves were made.

    Each month is a transaction of its own, so that writers wait for milliseconds only.
    """
    made, start = 0, first_day
    while start <= last_day:
        end = min(last_day, _month(start, 1) - timedelta(days=1))
        with transaction(_source(settings.oltp)) as connection:
            made += connection.exec_driver_sql("SELECT sales.make_partitions(%s, %s)", (start, end)).scalar_one()
        start = _month(start, 1)
    if made:
        on_event(f"oltp: {made} partitions from {first_day} to {last_day}")
    return made


def migrate_reporting(settings: Settings, generation: int | None = None, on_event: OnEvent = _silent) -> list[str]:
    """Migrate a generation of reporting (by default the live one's number in the settings), set the roles' passwords,
    and give the readers views of the tables that have none. Returns the revisions applied. Raises MigrationFailed.
    """
    target = settings.reporting
    number = generation or target.generation
    schema = f"reporting_g{number}"
    server = Server(
        host=target.host,
        port=target.port,
        database=target.database,
        user=target.migrator_user,
        password=target.migrator_password,
        settings="HEADRACE_REPORTING__",
        odbc=target.odbc if target.adapter == "sqlserver" else None,
    )
    passwords = {target.writer_user: target.writer_password, target.reader_user: target.reader_password}
    with transaction(server) as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        applied = chain.upgrade(connection, f"reporting/{target.adapter}", schema=schema, generation=schema)
        _set_passwords(connection, passwords)
        views = _create_views(connection, target.adapter, number)
    _report(f"reporting generation {number}", [*applied, *(f"view report.{view}" for view in views)], on_event)
    return applied


def migrate_catalog(settings: Settings, on_event: OnEvent = _silent) -> list[str]:
    """Migrate the catalog; returns the files applied. Raises MigrationFailed."""
    catalog = settings.catalog
    login = {} if catalog.user is None else {"username": catalog.user, "password": _secret(catalog.password)}
    try:
        with MongoClient(catalog.uri, serverSelectionTimeoutMS=CONNECT_SECONDS * 1000, **login) as client:
            applied = runner.migrate(client[catalog.database])
    except PyMongoError as error:
        raise MigrationFailed(
            f"catalog: {' '.join(str(error).split())[:300]}; check HEADRACE_CATALOG__URI, HEADRACE_CATALOG__USER and "
            "HEADRACE_CATALOG__PASSWORD"
        ) from None
    _report("catalog", applied, on_event)
    return applied


def _source(oltp: Oltp) -> Server:
    return Server(
        host=oltp.host,
        port=oltp.port,
        database=oltp.database,
        user="migrator",
        password=oltp.migrator_password,
        settings="HEADRACE_OLTP__",
    )


def _set_passwords(connection: Connection, passwords: Mapping[str, SecretStr]) -> None:
    """Give roles their passwords. The server is sent what it would store, so that its log holds no secret."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)  # noqa: S101
    for role, password in passwords.items():
        verifier = driver.pgconn.encrypt_password(
            password.get_secret_value().encode(), role.encode(), b"scram-sha-256"
        ).decode()
        driver.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier)))


def _create_views(connection: Connection, adapter: str, generation: int) -> list[str]:
    """Views for the tables that have none, unless the readers are looking at another generation."""
    from sinks import postgres_sql  # noqa: PLC0415

    found = connection.exec_driver_sql(
        "SELECT table_name, view_definition FROM information_schema.views WHERE table_schema = 'report'"
    )
    views = {name: definition for name, definition in found}
    live = {number for definition in views.values() for number in re.findall(r"reporting_g(\d+)", definition or "")}
    if live - {str(generation)}:
        return []
    missing = [table for table in reported() if table.name not in views]
    for table in missing:
        connection.exec_driver_sql(postgres_sql.create_view(table, generation))
    return [table.name for table in missing]


def _report(what: str, applied: list[str], on_event: OnEvent) -> None:
    on_event(f"{what}: {', '.join(applied) if applied else 'nothing to do'}")


def _month(day: date, offset: int) -> date:
    """The first day of the month that lies `offset` months after that of `day`."""
    months = day.year * 12 + day.month - 1 + offset
    return date(months // 12, months % 12 + 1, 1)


def _secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()
