"""Connections to the databases, each with the least privileged role; an error names the setting to check."""

import re
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote_plus

import psycopg
from psycopg.conninfo import make_conninfo

from operations import generations
from operations.databases.postgres import PostgresReport
from operations.databases.sides import Report
from operations.databases.sqlserver import SqlServerReport
from operations.odbc import connection_string
from operations.settings import PREFIX, ReportingRole, Settings
from schemas.errors import HeadraceError, Unavailable
from schemas.generations import FIRST
from sinks.reporting.port import Reporting
from sinks.reporting.postgres import errors as postgres_errors
from sinks.reporting.retention import RetentionStore
from sinks.reporting.sqlserver import errors as sqlserver_errors

if TYPE_CHECKING:  # their libraries are imported where a catalog or an archive is used
    from pymongo.database import Database

    from sinks.archive.log import Log

DRIVERS = frozenset({"psycopg", "pymongo", "pyodbc", "sqlalchemy"})
OltpRole = Literal["migrator", "app_writer", "cdc_reader", "reporter_reader", "retention"]
CONNECT_TIMEOUT_S = 10


def of_a_server(error: Exception) -> bool:
    """Return whether it is an error of a database driver: a server went away, or refused."""
    return type(error).__module__.partition(".")[0] in DRIVERS


def explained(error: Exception) -> str:
    """Return a driver's message on one line, without the values of rows."""
    if isinstance(error, psycopg.Error):
        return postgres_errors.explained(error)
    if type(error).__module__ == "pyodbc":
        return sqlserver_errors.explained(error.args)
    return " ".join(str(error).split())


def oltp_conninfo(settings: Settings, role: OltpRole) -> str:
    """Return libpq's connection string of a role of the OLTP database."""
    settings.require("oltp.host", f"oltp.{role}_password")
    at = settings.oltp
    password = getattr(at, f"{role}_password").get_secret_value()
    return _conninfo(at.host, at.port, at.database, role, password)


def reporting_conninfo(settings: Settings, role: ReportingRole) -> str:
    """Return libpq's connection string of a role of a reporting database in Postgres."""
    settings.require("reporting.host", "reporting.port", f"reporting.{role}_password")
    at = settings.reporting
    password = getattr(at, f"{role}_password").get_secret_value()
    return _conninfo(at.host, at.port, at.database, at.user(role), password)


def oltp(settings: Settings, role: OltpRole) -> psycopg.Connection[Any]:
    """Connect to the OLTP database.

    Raises:
        HeadraceError: the login was refused.
        Unavailable: the server does not answer.
    """
    return connect(oltp_conninfo(settings, role), f"{PREFIX}OLTP__{role.upper()}_PASSWORD")


def reporting(settings: Settings, role: ReportingRole) -> psycopg.Connection[Any]:
    """Connect to a reporting database in Postgres. Raises the same errors as `oltp`."""
    return connect(reporting_conninfo(settings, role), f"{PREFIX}REPORTING__{role.upper()}_PASSWORD")


def landing(settings: Settings) -> Reporting:
    """Return the store that the sink writes to. Its login is tried now, so that a refusal names the setting."""
    if settings.reporting.adapter == "postgres":
        from sinks.reporting.postgres.driver import PostgresReporting

        reporting(settings, "writer").close()
        return PostgresReporting(reporting_conninfo(settings, "writer"), settings.reporting.generation)
    from sinks.reporting.sqlserver.driver import SqlServerReporting

    _odbc(settings, "writer").close()
    return SqlServerReporting(odbc_string(settings, "writer"), settings.reporting.generation)


def archive(settings: Settings, by: str) -> "Log":
    """Open the archive's log; entries record `by` as their writer. Raises HeadraceError if no archive is set."""
    from sinks.archive.log import Log
    from sinks.archive.store import open_store

    settings.require("archive.url")
    at = settings.archive
    return Log(open_store(str(at.url), at.endpoint), f"{by} on {socket.gethostname()}")


def retention_stores(settings: Settings) -> list[RetentionStore]:
    """Return a store for every generation of reporting, in order: retention must delete from all of them.

    The login is tried now; each store connects when it is first used.

    Raises:
        HeadraceError: a generation that workers write to does not exist, or is not open to role retention.
    """
    at: Callable[[int], RetentionStore]
    if settings.reporting.adapter == "postgres":
        from sinks.reporting.postgres import retention_sql as postgres_retention_sql
        from sinks.reporting.postgres.driver import PostgresRetention

        list_schemas = postgres_retention_sql.generations()
        at = partial(PostgresRetention, reporting_conninfo(settings, "retention"))
    else:
        from sinks.reporting.sqlserver import retention_sql as sqlserver_retention_sql
        from sinks.reporting.sqlserver.driver import SqlServerRetention

        list_schemas = sqlserver_retention_sql.generations()
        at = partial(SqlServerRetention, odbc_string(settings, "retention"))
    with closing(report(settings, "retention", FIRST)) as found:
        schemas = found.query(list_schemas)
        active = generations.active_numbers(generations.read(found.query))
    return [at(number) for number in _open_to_retention(active, schemas)]


def _open_to_retention(active: Iterable[int], schemas: Iterable[Sequence[str]]) -> list[int]:
    matches = (re.fullmatch(r"reporting_g([1-9][0-9]*)", schema) for (schema,) in schemas)
    found = sorted(int(match[1]) for match in matches if match)
    for number in active:
        if number not in found:
            raise HeadraceError(
                f"generation {number} of reporting is not there, or not open to retention; run `headrace migrate`"
            )
    return found


def odbc_string(settings: Settings, role: ReportingRole) -> str:
    """Return the ODBC connection string of a role of a reporting database in SQL Server."""
    settings.require("reporting.host", "reporting.port", f"reporting.{role}_password")
    at = settings.reporting
    return connection_string(at, at.user(role), getattr(at, f"{role}_password").get_secret_value())


def _odbc(settings: Settings, role: ReportingRole) -> Any:
    try:
        import pyodbc
    except ImportError as error:
        raise HeadraceError(
            f"SQL Server's driver can't be loaded ({error}): install `headrace[sqlserver]` and Debian's unixodbc"
        ) from None

    try:
        return pyodbc.connect(odbc_string(settings, role), autocommit=True, timeout=CONNECT_TIMEOUT_S)
    except pyodbc.Error as error:
        where = f"{settings.reporting.database} at {settings.reporting.host}:{settings.reporting.port}"
        if error.args[0] == "28000":
            raise HeadraceError(
                f"{where}: login refused for {settings.reporting.user(role)}; "
                f"check {PREFIX}REPORTING__{role.upper()}_PASSWORD"
            ) from None
        raise Unavailable(f"{where}: no connection ({error.args[-1]})") from None


def connect(conninfo: str, password_setting: str) -> psycopg.Connection[Any]:
    """Open an autocommit connection in UTC.

    Raises:
        HeadraceError: the login was refused; the message names `password_setting`.
        Unavailable: the server does not answer.
    """
    try:
        return psycopg.connect(conninfo, autocommit=True)
    except psycopg.OperationalError as error:
        parts = psycopg.conninfo.conninfo_to_dict(conninfo)
        where = f"{parts['dbname']} at {parts['host']}:{parts['port']}"
        if "password authentication failed" in str(error):  # libpq gives no code before a session exists
            raise HeadraceError(f"{where}: login refused for {parts['user']}; check {password_setting}") from None
        reason = str(error).strip().splitlines()[-1]
        raise Unavailable(f"{where}: no connection ({reason})") from None


def catalog(settings: Settings) -> "Database[dict[str, Any]]":
    """Return the catalog's database; pymongo connects when it is first used."""
    import pymongo

    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
        catalog_uri(settings), tz_aware=True, serverSelectionTimeoutMS=CONNECT_TIMEOUT_S * 1000
    )
    return client[settings.catalog.database]


def catalog_uri(settings: Settings) -> str:
    """Return MongoDB's URI, with the user and password of the settings if both are set."""
    settings.require("catalog.uri")
    at = settings.catalog
    if at.user is None or at.password is None:
        return at.uri
    scheme, rest = at.uri.split("://", 1)
    return f"{scheme}://{quote_plus(at.user)}:{quote_plus(at.password.get_secret_value())}@{rest}"


def _conninfo(host: str, port: int, database: str, user: str, password: str) -> str:
    return make_conninfo(
        host=host,
        port=port,
        dbname=database,
        user=user,
        password=password,
        connect_timeout=CONNECT_TIMEOUT_S,
        application_name="headrace",
        options="-c TimeZone=UTC",
    )


def report(settings: Settings, role: ReportingRole = "writer", generation: int | None = None) -> Report:
    """Connect to a generation of reporting; None means the live one.

    Role reader sees only the views in schema `report`. Raises HeadraceError if there is no live generation.
    """
    at: Callable[[int], Report]
    if settings.reporting.adapter == "postgres":
        at = partial(PostgresReport, reporting(settings, role))
    else:
        at = partial(SqlServerReport, _odbc(settings, role))
    return at(generation or generations.live(generations.read(at(FIRST).query)).number)


def active_generations(settings: Settings) -> list[generations.Generation]:
    """Return every generation of reporting that workers write to, in order."""
    with closing(report(settings, generation=FIRST)) as found:
        return [each for each in generations.read(found.query) if each.is_active]


def active_generation(settings: Settings) -> generations.Generation:
    """Return the settings' generation, for a worker that writes to it. Raises HeadraceError if it is not active."""
    number = settings.reporting.generation
    for each in active_generations(settings):
        if each.number == number:
            return each
    raise HeadraceError(
        f"generation {number} of reporting is not active: it was dropped or never created; `headrace status` lists "
        f"them. Check {PREFIX}REPORTING__GENERATION"
    )
