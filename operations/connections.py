"""Connections to the databases, each as the least of its roles; one that fails says which setting to look at."""

import re
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote_plus

import psycopg
import pymongo
from psycopg.conninfo import make_conninfo
from pymongo.database import Database

from connectors.connect import Connect
from connectors.pipeline import Pipeline
from operations import generations
from operations.barrier import PipelineProbe
from operations.databases.postgres import PostgresReport
from operations.databases.sides import Report
from operations.databases.sqlserver import SqlServerReport
from operations.odbc import connection_string
from operations.settings import PREFIX, ReportingRole, Settings
from schemas.errors import HeadraceError, Unavailable
from schemas.generations import FIRST, group
from schemas.tables import of_generation
from sinks.reporting.port import Reporting
from sinks.reporting.postgres import errors as postgres_errors
from sinks.reporting.retention import RetentionStore
from sinks.reporting.sqlserver import errors as sqlserver_errors

if TYPE_CHECKING:  # its libraries are imported where an archive is used
    from sinks.archive.log import Log

DRIVERS = frozenset({"psycopg", "pymongo", "pyodbc", "sqlalchemy"})
OltpRole = Literal["migrator", "app_writer", "cdc_reader", "reporter_reader", "retention"]
CONNECT_TIMEOUT_S = 10


def of_a_server(error: Exception) -> bool:
    """Whether it is a database driver's error: a server went away, or refused."""
    return type(error).__module__.partition(".")[0] in DRIVERS


def explained(error: Exception) -> str:
    """What a driver's error says, on one line and without the values of rows."""
    if isinstance(error, psycopg.Error):
        return postgres_errors.explained(error)
    if type(error).__module__ == "pyodbc":
        return sqlserver_errors.explained(error.args)
    return " ".join(str(error).split())


def oltp_conninfo(settings: Settings, role: OltpRole) -> str:
    """How `role` reaches the OLTP database, for libpq."""
    settings.require("oltp.host", f"oltp.{role}_password")
    at = settings.oltp
    password = getattr(at, f"{role}_password").get_secret_value()
    return _conninfo(at.host, at.port, at.database, role, password)


def reporting_conninfo(settings: Settings, role: ReportingRole) -> str:
    """How a role reaches the reporting database where that is Postgres, for libpq."""
    settings.require("reporting.host", "reporting.port", f"reporting.{role}_password")
    at = settings.reporting
    password = getattr(at, f"{role}_password").get_secret_value()
    return _conninfo(at.host, at.port, at.database, at.user(role), password)


def oltp(settings: Settings, role: OltpRole) -> psycopg.Connection[Any]:
    """A connection to the OLTP database. Raises HeadraceError for a refused login, Unavailable for no answer."""
    return connect(oltp_conninfo(settings, role), f"{PREFIX}OLTP__{role.upper()}_PASSWORD")


def reporting(settings: Settings, role: ReportingRole) -> psycopg.Connection[Any]:
    """A connection to reporting where that is Postgres. Raises as `oltp` does."""
    return connect(reporting_conninfo(settings, role), f"{PREFIX}REPORTING__{role.upper()}_PASSWORD")


def landing(settings: Settings) -> Reporting:
    """The adapter that the sink writes through. Its login is tried now, so that a refusal names the setting."""
    if settings.reporting.adapter == "postgres":
        from sinks.reporting.postgres.driver import PostgresReporting

        reporting(settings, "writer").close()
        return PostgresReporting(reporting_conninfo(settings, "writer"), settings.reporting.generation)
    from sinks.reporting.sqlserver.driver import SqlServerReporting

    _odbc(settings, "writer").close()
    return SqlServerReporting(odbc_string(settings, "writer"), settings.reporting.generation)


def archive(settings: Settings, by: str) -> "Log":
    """The archive's log; `by` names who writes entries. Raises HeadraceError where no archive is set."""
    from sinks.archive.log import Log
    from sinks.archive.store import open_store

    settings.require("archive.url")
    at = settings.archive
    return Log(open_store(str(at.url), at.endpoint), f"{by} on {socket.gethostname()}")


def retention_stores(settings: Settings) -> list[RetentionStore]:
    """Every generation of reporting that there is, in order: what ages must leave them all. They connect when they are
    first used; the login is tried now. Raises HeadraceError when one that is fed isn't among them."""
    if settings.reporting.adapter == "postgres":
        from sinks.reporting.postgres import retention_sql as postgres_retiring_sql
        from sinks.reporting.postgres.retention import PostgresRetention

        with reporting(settings, "retention") as connection:
            schemas = connection.execute(postgres_retiring_sql.generations()).fetchall()
            known = generations.read(lambda sql: connection.execute(sql.encode()).fetchall())
        conninfo = reporting_conninfo(settings, "retention")
        return [PostgresRetention(conninfo, number) for number in _open(known, schemas)]
    from sinks.reporting.sqlserver import retention_sql as sqlserver_retiring_sql
    from sinks.reporting.sqlserver.retention import SqlServerRetention

    session = _odbc(settings, "retention")
    schemas = session.execute(sqlserver_retiring_sql.generations()).fetchall()
    known = generations.read(lambda sql: session.execute(sql).fetchall())
    session.close()
    odbc = odbc_string(settings, "retention")
    return [SqlServerRetention(odbc, number) for number in _open(known, schemas)]


def _open(known: Sequence[generations.Generation], schemas: Iterable[tuple[str]]) -> list[int]:
    matches = (re.fullmatch(r"reporting_g([1-9][0-9]*)", schema) for (schema,) in schemas)
    found = sorted(int(match[1]) for match in matches if match)
    for number in generations.fed(known):
        if number not in found:
            raise HeadraceError(
                f"generation {number} of reporting is not there, or not open to retention; run `headrace migrate`"
            )
    return found


def odbc_string(settings: Settings, role: ReportingRole) -> str:
    """How a role reaches the reporting database where that is SQL Server, for ODBC."""
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
    """An autocommit connection in UTC. Raises HeadraceError that names `password_setting` when the login is refused."""
    try:
        return psycopg.connect(conninfo, autocommit=True)
    except psycopg.OperationalError as error:
        parts = psycopg.conninfo.conninfo_to_dict(conninfo)
        where = f"{parts['dbname']} at {parts['host']}:{parts['port']}"
        if "password authentication failed" in str(error):  # libpq gives no code before a session exists
            raise HeadraceError(f"{where}: login refused for {parts['user']}; check {password_setting}") from None
        reason = str(error).strip().splitlines()[-1]
        raise Unavailable(f"{where}: no connection ({reason})") from None


def catalog(settings: Settings) -> Database[dict[str, Any]]:
    """The catalog's database; pymongo connects when it is first used."""
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
        catalog_uri(settings), tz_aware=True, serverSelectionTimeoutMS=CONNECT_TIMEOUT_S * 1000
    )
    return client[settings.catalog.database]


def catalog_uri(settings: Settings) -> str:
    """MongoDB's URI with the user and password of the settings in it, where there are any."""
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
    """A generation of reporting, by default the live one. The reader sees nothing but the views in schema `report`.

    Raises HeadraceError where reporting has no live one.
    """
    at: Callable[[int], Report]
    if settings.reporting.adapter == "postgres":
        at = partial(PostgresReport, reporting(settings, role))
    else:
        at = partial(SqlServerReport, _odbc(settings, role))
    return at(generation or generations.live(generations.read(at(FIRST).query)).number)


def fed(settings: Settings) -> list[generations.Generation]:
    """Every generation of reporting that workers feed, in order."""
    with closing(report(settings, generation=FIRST)) as found:
        return [each for each in generations.read(found.query) if each.is_fed]


def fed_generation(settings: Settings) -> generations.Generation:
    """The settings' generation, for a worker that feeds it. Raises HeadraceError where there is none."""
    number = settings.reporting.generation
    for each in fed(settings):
        if each.number == number:
            return each
    raise HeadraceError(
        f"generation {number} of reporting is not fed: it was dropped, or never made; `headrace status` lists them. "
        f"Check {PREFIX}REPORTING__GENERATION"
    )


def probe(settings: Settings, generation: int | None = None) -> PipelineProbe:
    """The running line up to a generation of reporting, by default the live one, to be asked how far it is.

    Raises HeadraceError for a generation that was dropped: its tables and topics do not come back.
    """
    found = report(settings, generation=generation)
    try:
        generations.refuse_dropped(found.query, found.generation)
    except HeadraceError:
        found.close()
        raise
    return PipelineProbe(
        pipeline=Pipeline(tables=of_generation(found.generation), replication=settings.kafka.replication),
        oltp=oltp(settings, "reporter_reader"),
        catalog=catalog(settings),
        connect=Connect(settings.connect.url),
        bootstrap=settings.kafka.bootstrap,
        enrich_group=group(settings.enrich.group, found.generation),
        report=found,
    )


@contextmanager
def open_probe(settings: Settings, generation: int | None = None) -> Iterator[PipelineProbe]:
    """As `probe`, its connections closed at the end."""
    found = probe(settings, generation)
    try:
        yield found
    finally:
        found.close()
