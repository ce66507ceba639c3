"""Connections for migrating: one transaction behind one lock, and errors that name the setting at fault."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr
from sqlalchemy import URL, Connection, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from migrations.errors import MigrationFailed

CONNECT_SECONDS = 10
LOCK_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where to migrate and as whom. `settings` is the prefix of the settings it comes from, to be named in errors."""

    host: str
    port: int
    database: str
    user: str
    password: SecretStr
    settings: str
    password_setting: str = "MIGRATOR_PASSWORD"
    odbc: str | None = None


@contextmanager
def transaction(server: Server) -> Iterator[Connection]:
    """One transaction that holds this database's migration lock; committed at the end. Raises MigrationFailed."""
    require_listening(server.host, server.port, server.settings)
    engine = _postgres(server) if server.odbc is None else _sqlserver(server, server.odbc)
    with _open(engine.connect, server) as connection, connection.begin():
        try:
            _lock(connection)
            yield connection
        except DBAPIError as error:
            raise MigrationFailed(f"{server.database} on {server.host}:{server.port}: {_line(error.orig)}") from error


def require_listening(host: str, port: int, settings: str) -> None:
    """Raises MigrationFailed that names the address's settings where nobody listens."""
    try:
        socket.create_connection((host, port), CONNECT_SECONDS).close()
    except OSError as error:
        raise MigrationFailed(
            f"no server at {host}:{port} ({error.strerror or error}); check {settings}HOST and {settings}PORT, "
            "or start the local stack with `headrace up`"
        ) from None


def _open(connect: Any, server: Server) -> Connection:
    try:
        connection: Connection = connect()
    except DBAPIError as error:
        raise MigrationFailed(
            f"{server.user} cannot log in to database {server.database} on {server.host}:{server.port}: "
            f"{_line(error.orig)}; check {server.settings}DATABASE and {server.settings}{server.password_setting}"
        ) from None
    return connection


def _postgres(server: Server) -> Any:
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
        "options": f"-c lock_timeout={LOCK_SECONDS}s -c timezone=UTC",
    }
    return create_engine(url, poolclass=NullPool, connect_args=arguments)


def _sqlserver(server: Server, odbc: str) -> Any:
    import mssql_python_odbc  # lazy: only SQL Server needs ODBC  # noqa: PLC0415
    import pyodbc  # noqa: PLC0415

    raise NotImplementedError


def _lock(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtextextended('headrace migrate', 0))")
    else:
        connection.exec_driver_sql(
            "EXEC sp_getapplock @Resource = N'headrace migrate', @LockMode = N'Exclusive', "
            f"@LockOwner = N'Transaction', @LockTimeout = {LOCK_SECONDS * 1000}"
        )


def _line(error: BaseException | None) -> str:
    """The driver's message on one line; drivers repeat the address and add hints on further lines."""
    return " ".join(str(error).split()).removeprefix("connection failed: ")
