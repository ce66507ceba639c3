"""Preparation of SQL Server for migrations: logins of the server, and settings that no transaction may contain.

Imports ODBC, so it is imported only where there is a SQL Server to migrate.
"""

from collections.abc import Mapping
from typing import Any

import pyodbc
from pydantic import SecretStr

from migrations import locks
from migrations.errors import MigrationFailed
from migrations.server import CONNECT_SECONDS, Server, one_line, require_listening

LOGIN_FAILED = "28000"
AZURE = 5  # EngineEdition
OF_THE_LOGIN = ""  # the login's default database: the login may not be a user of the reporting database yet


def connect(server: Server, **options: Any) -> Any:
    """Open a pyodbc connection; `options` are those of `pyodbc.connect`."""
    pyodbc.pooling = False
    return pyodbc.connect(server.odbc, timeout=CONNECT_SECONDS, **options)


def prepare(server: Server, master: Server, logins: Mapping[str, tuple[SecretStr, str]]) -> None:
    """Create logins that can't log in yet, and switch on read committed snapshot isolation (RCSI).

    A login that works is left alone: a database administrator may have created it, and the migrator then needs no right
    to alter it. Azure SQL Database needs no preparation.

    Args:
        server: The reporting database.
        master: The server's database `master`. The lock is taken there, so that a session that waits for it does not
            block the switch to RCSI, which waits for every connection to `server`.
        logins: For each login its password and a connection string to try it with.

    Raises:
        MigrationFailed: the server does not answer, or refuses.
    """
    require_listening(server)
    try:
        if _is_azure(server):
            return
        connection = connect(master, autocommit=True)
        try:
            connection.execute(locks.sqlserver("Session"))
            for login, (password, odbc) in logins.items():
                if not _can_log_in(odbc):
                    _set_login(connection, login, password)
            _enable_snapshot_isolation(connection, server.database)
        finally:
            connection.close()
    except pyodbc.Error as error:
        raise MigrationFailed(
            f"{server.user} cannot prepare {server}: {one_line(error)}; "
            f"check {server.settings}DATABASE and {server.settings}MIGRATOR_PASSWORD"
        ) from None


def _is_azure(server: Server) -> bool:
    """Return whether this is Azure SQL Database, where RCSI is on and the administrator creates the logins.

    A migrator may have no access to its master.
    """
    connection = connect(server, autocommit=True)
    try:
        return bool(connection.execute("SELECT CAST(SERVERPROPERTY('EngineEdition') AS INT)").fetchval() == AZURE)
    finally:
        connection.close()


def _can_log_in(odbc: str) -> bool:
    try:
        pyodbc.connect(odbc, timeout=CONNECT_SECONDS).close()
    except pyodbc.Error as error:
        if error.args[0] != LOGIN_FAILED:
            raise
        return False
    return True


def _set_login(connection: Any, login: str, password: SecretStr) -> None:
    """Create or alter a login.

    SQL Server accepts neither the name nor the password as a parameter, and keeps such a statement out of its traces.
    """
    known = connection.execute("SELECT 1 FROM sys.server_principals WHERE name = ?", login).fetchone()
    name = "[" + login.replace("]", "]]") + "]"
    secret = "N'" + password.get_secret_value().replace("'", "''") + "'"
    connection.execute(f"{'ALTER' if known else 'CREATE'} LOGIN {name} WITH PASSWORD = {secret}")


def _enable_snapshot_isolation(connection: Any, database: str) -> None:
    """Switch on read committed snapshot isolation, unless it is on.

    The switch ends every other connection to the database. Babelfish has no such option, and needs none: its readers
    always read a snapshot.
    """
    on_babelfish, off = connection.execute(
        "SELECT CAST(SERVERPROPERTY('Babelfish') AS INT), "
        "(SELECT COUNT(*) FROM sys.databases WHERE name = ? AND is_read_committed_snapshot_on = 0)",
        database,
    ).fetchone()
    if off and not on_babelfish:
        name = "[" + database.replace("]", "]]") + "]"
        connection.execute(f"ALTER DATABASE {name} SET READ_COMMITTED_SNAPSHOT ON WITH ROLLBACK AFTER 30 SECONDS")
