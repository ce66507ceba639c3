"""Connections for migrating: errors name the setting at fault, and a lock for each database keeps migrations apart."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL, Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from migrations import locks
from migrations.errors import MigrationFailed
from migrations.server import CONNECT_SECONDS, Server, one_line, require_listening


@contextmanager
def connected(server: Server) -> Iterator[Connection]:
    """Open a connection for the duration of the block.

    Raises:
        MigrationFailed: the server refuses the connection, or a statement inside the block.
    """
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
        except DBAPIError as error:  # its text quotes the statement, which may hold a password's verifier
            raise MigrationFailed(f"{server}: {one_line(error.orig)}; see docs/runbook.md#migration-failed") from None


@contextmanager
def locked(connection: Connection) -> Iterator[None]:
    """Run the block in a transaction that holds the migration lock; a second migration waits until it has ended."""
    with connection.begin():
        connection.exec_driver_sql(locks.TRANSACTION[connection.dialect.name])
        yield


def lock_session(connection: Connection) -> None:
    """Take the lock of `locked` until the connection closes, so that it covers several transactions. Postgres only."""
    connection.exec_driver_sql(locks.POSTGRES_SESSION)
    connection.commit()


def _engine(server: Server) -> Engine:
    # Statements without parameters are sent unchanged: a % in them has no meaning.
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
        # Statements of other sessions queue behind a migration that waits for a lock, so its wait is limited.
        "options": f"-c lock_timeout={locks.LOCK_SECONDS}s -c timezone=UTC",
    }
    return create_engine(url, poolclass=NullPool, connect_args=arguments, execution_options=options)
