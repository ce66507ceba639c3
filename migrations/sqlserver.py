"""What SQL Server needs beside the revisions: what belongs to the server, and what refuses to be in a transaction.

Imports ODBC, so it is imported only where there is a SQL Server to migrate.
"""

from collections.abc import Mapping
from typing import Any

import pyodbc
from pydantic import SecretStr

from migrations.connections import CONNECT_SECONDS, Server, one_line, require_listening, sqlserver_lock
from migrations.errors import MigrationFailed

LOGIN_FAILED = "28000"
AZURE = 5  # EngineEdition
OF_THE_LOGIN = ""  # the login's own database: it may not be a user of ours yet


def connect(server: Server, **options: Any) -> Any:
    """pyodbc's connection to a server of SQL Server's kind."""
    pyodbc.pooling = False
    return pyodbc.connect(server.odbc, timeout=CONNECT_SECONDS, **options)


def prepare(server: Server, master: Server, logins: Mapping[str, tuple[SecretStr, str]]) -> None:
    """Make logins that cannot log in yet, and let readers read beside a writer (RCSI). Raises MigrationFailed.

    `master` is the server's database of that name: from there nobody who waits for the lock holds up the switch to row
    versions, which waits for every connection to `server`. `logins` are passwords and connection strings. A login that
    works is left alone: a database administrator may have made it, and the migrator then needs no right to alter it.
    """
    require_listening(server)
    try:
        if _is_azure(server):
            return
        connection = connect(master, autocommit=True)
        try:
            connection.execute(sqlserver_lock("Session"))
            for login, (password, odbc) in logins.items():
                if not _can_log_in(odbc):
                    _set_login(connection, login, password)
            _read_beside_writers(connection, server.database)
        finally:
            connection.close()
    except pyodbc.Error as error:
        raise MigrationFailed(
            f"{server.user} cannot prepare {server}: {one_line(error)}; "
            f"check {server.settings}DATABASE and {server.settings}MIGRATOR_PASSWORD"
        ) from None


def _is_azure(server: Server) -> bool:
    """Whether it is Azure SQL Database: RCSI is on there, its administrator makes the logins, and a migrator may have
    no way into its master."""
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
    """SQL Server takes neither as a parameter, and keeps such a statement out of its traces."""
    known = connection.execute("SELECT 1 FROM sys.server_principals WHERE name = ?", login).fetchone()
    name = "[" + login.replace("]", "]]") + "]"
    secret = "N'" + password.get_secret_value().replace("'", "''") + "'"
    connection.execute(f"{'ALTER' if known else 'CREATE'} LOGIN {name} WITH PASSWORD = {secret}")


def _read_beside_writers(connection: Any, database: str) -> None:
    """Read committed snapshot isolation, once. The switch ends every other connection to the database. Babelfish has no
    such option: there every reader reads a snapshot."""
    on_babelfish, off = connection.execute(
        "SELECT CAST(SERVERPROPERTY('Babelfish') AS INT), "
        "(SELECT COUNT(*) FROM sys.databases WHERE name = ? AND is_read_committed_snapshot_on = 0)",
        database,
    ).fetchone()
    if off and not on_babelfish:
        name = "[" + database.replace("]", "]]") + "]"
        connection.execute(f"ALTER DATABASE {name} SET READ_COMMITTED_SNAPSHOT ON WITH ROLLBACK AFTER 30 SECONDS")
