"""Passwords of Postgres' roles, which belong to the cluster and not to a database."""

from collections.abc import Mapping
from typing import Any

from psycopg import sql
from pydantic import SecretStr
from sqlalchemy import Connection
from sqlalchemy.exc import InternalError

from migrations.connections import locked

ROLE_ATTEMPTS = 20


def set_passwords(connection: Connection, passwords: Mapping[str, SecretStr]) -> None:
    """Set the passwords of Postgres' roles.

    The statement contains the verifier that the server would store, so the server's log never contains a password.
    """
    for role, password in passwords.items():
        driver: Any = connection.connection.driver_connection
        secret = password.get_secret_value().encode()
        verifier = driver.pgconn.encrypt_password(secret, role.encode(), b"scram-sha-256").decode()
        statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier))
        _alter_role(connection, statement.as_string(driver))


def _alter_role(connection: Connection, statement: str) -> None:
    """Alter a role, and retry while another session alters it.

    Roles belong to the cluster and the migration lock to a database: a migration of another database may alter the same
    role at the same time. Postgres then waits for it and refuses; the retry sees the new state of the role.
    """
    for attempts_left in reversed(range(ROLE_ATTEMPTS)):
        try:
            with locked(connection):
                connection.exec_driver_sql(statement)
            return
        except InternalError:
            if not attempts_left:
                raise
