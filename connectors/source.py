"""Connect to the source, Postgres, as the owner of its tables."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from schemas.errors import HeadraceError, Unavailable

Connection = psycopg.Connection[Any]
CONNECT_S = 10


@contextmanager
def open_source(conninfo: str) -> Iterator[Connection]:
    """Open a connection to the source, as the owner of its tables.

    Raises:
        Unavailable: The source refuses it or does not answer.
    """
    try:
        connection = psycopg.connect(conninfo, autocommit=True, connect_timeout=CONNECT_S)
    except psycopg.OperationalError as error:
        raise Unavailable(
            f"Postgres, the source, can't be reached: {_first_line(error)}; check the HEADRACE_OLTP__ settings"
        ) from None
    try:
        yield connection
    except psycopg.Error as error:
        raise HeadraceError(f"Postgres, the source, refuses: {_first_line(error)}") from None
    finally:
        connection.close()


def identifier(relation: str) -> sql.Identifier:
    """Return the SQL identifier of a relation that is given as schema.name."""
    return sql.Identifier(*relation.split("."))


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
