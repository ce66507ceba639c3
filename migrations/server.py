"""Address and login of a database that is migrated, and errors that name the setting at fault."""

import re
import socket
from dataclasses import dataclass, field

from pydantic import SecretStr

from migrations.errors import MigrationFailed

CONNECT_SECONDS = 10
_ODBC_PREFIX = re.compile(r"^(\s*\[[^\]]*\])+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A database to migrate, and the login that migrates it.

    `settings` is the prefix of the settings that the values come from, for error messages. `odbc` is a whole connection
    string for SQL Server; None means Postgres.
    """

    host: str
    port: int
    database: str
    user: str
    password: SecretStr
    settings: str
    odbc: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"database {self.database} on {self.host}:{self.port}"


def require_listening(server: Server) -> None:
    """Raise MigrationFailed, which names the address's settings, if nothing listens at the server's address."""
    try:
        socket.create_connection((server.host, server.port), CONNECT_SECONDS).close()
    except OSError as error:
        raise MigrationFailed(
            f"no server at {server.host}:{server.port} ({error.strerror or error}); check {server.settings}HOST and "
            f"{server.settings}PORT, or start the local stack with `headrace up`"
        ) from None


def one_line(error: BaseException | None) -> str:
    """Return a driver's message on one line, without the names of layers that ODBC puts in front of it."""
    text = str(error.args[-1] if error is not None and error.args else error)
    return " ".join(_ODBC_PREFIX.sub("", text).split())
