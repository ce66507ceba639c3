"""Connections for migrating: one lock for each database, and errors that name the setting at fault."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from pydantic import SecretStr
from sqlalchemy import URL, Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from migrations.errors import MigrationFailed

CONNECT_SECONDS = 10
LOCK_SECONDS = 60
_POSTGRES_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('headrace migrate', 0))"
_POSTGRES_SESSION_LOCK = "SELECT pg_advisory_lock(hashtextextended('headrace migrate', 0))"
_ODBC_PREFIX = re.compile(r"^(\s*\[[^\]]*\])+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A database to migrate, and as whom. `settings` is the prefix of the settings that it comes from, for errors;
    `odbc`, a whole connection string, means SQL Server."""

    host: str
    port: int
    database: str
    user: str
    password: SecretStr
    settings: str
    odbc: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"database {self.database} on {self.host}:{self.port}"


@contextmanager
def connected(server: Server) -> Iterator[Connection]:
    """A connection. Raises MigrationFailed, for whatever the server refuses while it is open too."""
    require_listening(server)
    try:
        connection = _engine(server).connect()
    except DBAPIError as error:
        raise MigrationFailed(
            f"{server.user} cannot use {server}: {one_line(error.orig)}; "
            f"check {server.settings}DATABASE and {server.settings}MIGRATOR_PASSWORD"
        ) from None
    with connection:
        try:
            yield connection
        except DBAPIError as error:  # which quotes the statement, and that may hold a verifier
            raise MigrationFailed(f"{server}: {one_line(error.orig)}; see docs/runbook.md#migration-failed") from None


@contextmanager
def locked(connection: Connection) -> Iterator[None]:
    """A transaction that holds this database's migration lock: a second migration waits until it has ended."""
    with connection.begin():
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(_POSTGRES_LOCK)
        else:
            connection.exec_driver_sql(sqlserver_lock("Transaction"))
        yield


def lock_session(connection: Connection) -> None:
    """Take the lock of `locked` until the connection closes, so that it covers several transactions. Postgres only."""
    connection.exec_driver_sql(_POSTGRES_SESSION_LOCK)
    connection.commit()


def sqlserver_lock(owner: Literal["Transaction", "Session"]) -> str:
    """T-SQL that takes the migration lock until the owner's end; sp_getapplock reports a refusal as a number only. It
    wants a transaction, and a driver's implicit one is begun by a SELECT from a table, not by EXEC."""
    return f"""
SET XACT_ABORT ON;
DECLARE @taken INT;
SELECT @taken = COUNT(*) FROM sys.schemas;
EXEC @taken = sp_getapplock @Resource = N'headrace migrate', @LockMode = N'Exclusive', @LockOwner = N'{owner}',
    @LockTimeout = {LOCK_SECONDS * 1000};
IF @taken < 0 THROW 50001, N'another migration holds the lock', 1;
"""


def require_listening(server: Server) -> None:
    """Raises MigrationFailed that names the address's settings if nobody listens there."""
    try:
        socket.create_connection((server.host, server.port), CONNECT_SECONDS).close()
    except OSError as error:
        raise MigrationFailed(
            f"no server at {server.host}:{server.port} ({error.strerror or error}); check {server.settings}HOST and "
            f"{server.settings}PORT, or start the local stack with `headrace up`"
        ) from None


def one_line(error: BaseException | None) -> str:
    """A driver's message on one line; drivers add hints and causes on further ones, and ODBC its own names in front."""
    text = str(error.args[-1] if error is not None and error.args else error)
    return " ".join(_ODBC_PREFIX.sub("", text).split())


def _engine(server: Server) -> Engine:
    # Without parameters a statement is sent as it stands: a % in it means nothing.
    options = {"no_parameters": True}
    if server.odbc is not None:
        from migrations.sqlserver import connect  # lazy: only SQL Server needs ODBC

        return create_engine(
            "mssql+pyodbc://", creator=lambda: connect(server), poolclass=NullPool, execution_options=options
        )
    url = URL.create(
        "postgresql+psycopg",
        username=server.user,
        password=server.password.get_secret_value(),
        host=server.host,
        port=server.port,
        database=server.database,
    )
    arguments = {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "headrace migrate",
        # A migration that waits for somebody's long transaction makes everybody wait behind it.
        "options": f"-c lock_timeout={LOCK_SECONDS}s -c timezone=UTC",
    }
    return create_engine(url, poolclass=NullPool, connect_args=arguments, execution_options=options)
