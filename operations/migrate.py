"""`headrace migrate`: bring the source, the reporting database and the catalog to this version's schema.

Every migration is idempotent, and two may run at the same time: each database has a lock. A generation of reporting is
migrated in one transaction. The source is migrated in one transaction for each revision, because the shop's statements
wait for the locks of an open one. Alembic is imported lazily: its import takes as long as all others together, and
`headrace load` only makes partitions.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from pydantic import SecretStr
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError, ServerSelectionTimeoutError
from sqlalchemy import Connection

from migrations import postgres
from migrations.catalog import runner
from migrations.connections import connected, lock_session, locked
from migrations.errors import MigrationFailed
from migrations.server import CONNECT_SECONDS, Server, one_line
from operations import generations
from operations.generations import Generation, State
from operations.months import months, months_ahead
from operations.odbc import connection_string
from operations.settings import CatalogSettings, ReportingSettings, Settings
from schemas.generations import schema as schema_of
from sinks.reporting import control, views
from sinks.reporting.postgres import cutover_sql as postgres_cutover_sql
from sinks.reporting.postgres import errors as postgres_errors
from sinks.reporting.query import Query
from sinks.reporting.sqlserver import cutover_sql as sqlserver_cutover_sql
from sinks.reporting.sqlserver import errors as sqlserver_errors
from sinks.reporting.views import CutoverDialect, CutoverSql

OnEvent = Callable[[str], None]
LIMITS = "0007"  # from this revision on, the source refuses long values


def _silent(_event: str) -> None:
    return None


def migrate_oltp(settings: Settings, on_event: OnEvent = _silent) -> list[str]:
    """Migrate the source, set its roles' passwords, and create partitions from last month to three months ahead.

    Returns the revisions applied. Raises MigrationFailed.
    """
    from migrations import chain

    oltp = settings.oltp
    passwords = {
        "app_writer": oltp.app_writer_password,
        "cdc_reader": oltp.cdc_reader_password,
        "reporter_reader": oltp.reporter_reader_password,
        "retention": oltp.retention_password,
    }
    with connected(_source(settings)) as connection:
        lock_session(connection)
        connection.exec_driver_sql("CREATE SCHEMA IF NOT EXISTS sales")
        connection.commit()
        applied = chain.upgrade(connection, "oltp", schema="sales", to=LIMITS)
        _limit_values(connection, oltp.max_value_bytes, on_event)  # before later revisions, which may take long
        connection.commit()
        applied += chain.upgrade(connection, "oltp", schema="sales")
        postgres.set_passwords(connection, passwords)
    _report("oltp", applied, on_event)
    make_partitions(settings, *months_ahead(datetime.now(UTC).date()), on_event)
    return applied


def _limit_values(connection: Connection, most: int, on_event: OnEvent) -> None:
    """Make the source refuse values longer than `most` bytes (migrations/oltp/versions/0007_limits.sql)."""
    if connection.exec_driver_sql("SELECT sales.max_value_bytes()").scalar_one() == most:
        return
    connection.exec_driver_sql(
        "CREATE OR REPLACE FUNCTION sales.max_value_bytes() RETURNS integer "
        f"LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN {most:d}"
    )
    on_event(f"oltp: a value may have {most} bytes")


def make_partitions(settings: Settings, first_day: date, last_day: date, on_event: OnEvent = _silent) -> int:
    """Create the partitions of schema `sales` for the months of these days, the last day's month included.

    Each month is a transaction of its own, so that writers wait for milliseconds only. Returns how many leaves were
    created. Raises MigrationFailed.
    """
    made = 0
    with connected(_source(settings)) as connection:
        for first in months(first_day, last_day):
            with locked(connection):
                made += connection.exec_driver_sql("SELECT sales.make_partitions(%s, %s)", (first, first)).scalar_one()
    if made:
        on_event(f"oltp: {made} partitions for {first_day:%Y-%m} to {last_day:%Y-%m}")
    return made


def migrate_reporting(settings: Settings, generation: int | None = None, on_event: OnEvent = _silent) -> list[str]:
    """Migrate generations of reporting, set the roles' passwords, and create the readers' views that are missing.

    The first generation of a database is live at once.

    Args:
        settings: The settings of the reporting database and its roles.
        generation: The generation to migrate. None means every active one; in a new database, the settings'.
        on_event: Called with a line for each generation.

    Returns:
        The revisions applied.

    Raises:
        MigrationFailed: the database does not answer, or refused a statement.
    """
    at = settings.reporting
    server = reporting_server(settings)
    passwords = {
        at.user("writer"): at.writer_password,
        at.user("reader"): at.reader_password,
        at.user("retention"): at.retention_password,
    }
    if at.adapter == "sqlserver":
        _prepare_sqlserver(at, server, passwords)
    done: list[str] = []
    dialect = cutover_dialect(settings)
    with connected(server) as connection:
        with locked(connection):
            numbers = [generation] if generation else _fed(connection) or [at.generation]
        for number in numbers:
            with locked(connection):
                applied = _upgrade(connection, at.adapter, number)
                made = _create_views(connection, dialect.sql, number)
            _report(f"reporting generation {number}", [*applied, *(f"view report.{view}" for view in made)], on_event)
            done += applied
        if at.adapter == "postgres":
            postgres.set_passwords(connection, passwords)
    return done


def begin_generation(settings: Settings, epoch: int | None = None) -> Generation:
    """Add a generation of reporting in state BUILDING: its row in `headrace.generation` and its tables, or neither.

    It contains nothing that was captured before `epoch`; None means the live generation's. Raises MigrationFailed.
    """
    at = settings.reporting
    with connected(reporting_server(settings)) as connection, locked(connection):
        known = generations.read(_query(connection))
        number = max(each.number for each in known) + 1
        begun = Generation(number=number, state=State.BUILDING, epoch=epoch or generations.live(known).epoch)
        _execute(connection, control.add_generation(begun.number, begun.state, begun.epoch))
        _upgrade(connection, at.adapter, number)
    return begun


def _fed(connection: Connection) -> list[int]:
    query = _query(connection)
    ((tables,),) = query(*control.count_generation_tables())
    return generations.active_numbers(generations.read(query)) if tables else []


def _upgrade(connection: Connection, adapter: str, generation: int) -> list[str]:
    """Bring one generation to the last revision; a database's first generation becomes live."""
    from migrations import chain

    schema = schema_of(generation)
    if adapter == "postgres":
        connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    else:
        connection.exec_driver_sql(f"IF SCHEMA_ID(N'{schema}') IS NULL EXEC (N'CREATE SCHEMA [{schema}]')")
    applied = chain.upgrade(connection, f"reporting/{adapter}", schema=schema, generation=schema)
    _execute(connection, control.add_first_generation(generation))
    return applied


def migrate_catalog(settings: Settings, on_event: OnEvent = _silent) -> list[str]:
    """Migrate the catalog; returns the files applied. Raises MigrationFailed."""
    settings.require("catalog.uri")
    catalog = settings.catalog
    try:
        with _catalog(catalog) as client:
            applied = runner.migrate(client[catalog.database])
    except ServerSelectionTimeoutError as error:
        reason = one_line(error).split(", Timeout:")[0]
        raise MigrationFailed(f"catalog: no server ({reason}); check HEADRACE_CATALOG__URI") from None
    except OperationFailure as error:
        raise MigrationFailed(
            f"catalog: {error.details['errmsg'] if error.details else error}; "
            "check HEADRACE_CATALOG__USER and HEADRACE_CATALOG__PASSWORD"
        ) from None
    except PyMongoError as error:
        raise MigrationFailed(f"catalog: {one_line(error)}; check HEADRACE_CATALOG__URI") from None
    _report("catalog", applied, on_event)
    return applied


def _source(settings: Settings) -> Server:
    settings.require("oltp.host", "oltp.migrator_password")
    oltp = settings.oltp
    return Server(
        host=oltp.host,
        port=oltp.port,
        database=oltp.database,
        user="migrator",
        password=oltp.migrator_password,
        settings="HEADRACE_OLTP__",
    )


def reporting_server(settings: Settings) -> Server:
    """Return the reporting database with its migrator's login. Raises HeadraceError that names what is not set."""
    settings.require("reporting.host", "reporting.port", "reporting.migrator_password")
    at = settings.reporting
    odbc = None
    if at.adapter == "sqlserver":
        odbc = connection_string(at, at.migrator_user, at.migrator_password.get_secret_value())
    return Server(
        host=at.host,
        port=at.port,
        database=at.database,
        user=at.migrator_user,
        password=at.migrator_password,
        settings="HEADRACE_REPORTING__",
        odbc=odbc,
    )


def _catalog(catalog: CatalogSettings) -> MongoClient[dict[str, Any]]:
    milliseconds = CONNECT_SECONDS * 1000
    if catalog.user is None or catalog.password is None:
        return MongoClient(catalog.uri, serverSelectionTimeoutMS=milliseconds)
    return MongoClient(
        catalog.uri,
        username=catalog.user,
        password=catalog.password.get_secret_value(),
        serverSelectionTimeoutMS=milliseconds,
    )


def _prepare_sqlserver(at: ReportingSettings, server: Server, passwords: Mapping[str, SecretStr]) -> None:
    from migrations import sqlserver  # lazy: only SQL Server needs ODBC

    logins = {
        user: (password, connection_string(at, user, password.get_secret_value(), database=sqlserver.OF_THE_LOGIN))
        for user, password in passwords.items()
    }
    master = connection_string(at, at.migrator_user, at.migrator_password.get_secret_value(), database="master")
    sqlserver.prepare(server, replace(server, odbc=master), logins)


def _create_views(connection: Connection, sql: CutoverSql, generation: int) -> list[str]:
    """Create the readers' views that do not exist or lack a column, and return their names.

    Views that show another generation are left alone, all of them.
    """
    definitions = {str(name): str(text) for name, text in connection.exec_driver_sql(sql.list_views())}
    if views.shown_generations(definitions) - {generation}:
        return []
    columns: dict[str, list[str]] = defaultdict(list)
    for view, column in _query(connection)(*control.list_view_columns()):
        columns[view].append(column)
    made = views.outdated(views.views(sql, generation), definitions, columns)
    for each in made:
        if each.name in definitions:
            connection.exec_driver_sql(each.drop)
        connection.exec_driver_sql(each.create)
    return [each.name for each in made]


def cutover_dialect(settings: Settings) -> CutoverDialect:
    """Return the statements of the reporting database's readers' views, and its classification of errors."""
    if settings.reporting.adapter == "postgres":
        return CutoverDialect(sql=postgres_cutover_sql, classify=postgres_errors.classify)  # type: ignore[arg-type]  # psycopg's own
    return CutoverDialect(sql=sqlserver_cutover_sql, classify=lambda error: sqlserver_errors.classify(error.args))


def _execute(connection: Connection, statement: Query) -> None:
    text, parameters = statement
    connection.exec_driver_sql(text, tuple(parameters))


def _query(connection: Connection) -> generations.Query:
    return lambda text, parameters: connection.exec_driver_sql(text, tuple(parameters)).fetchall()


def _report(what: str, applied: list[str], on_event: OnEvent) -> None:
    on_event(f"{what}: {', '.join(applied) if applied else 'nothing to do'}")
