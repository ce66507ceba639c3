"""One connection to a reporting database: opened when first needed, closed when its state is in doubt, opened again.

A driver supplies what differs between databases: how to connect, which errors are the database's, and what they mean.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from schemas.errors import HeadraceError
from sinks.reporting.port import Duplicate, Poison


class Connector(Protocol):
    """The hooks of a session. Connections and cursors are those of DB-API 2.0."""

    @property
    def error(self) -> type[Exception]:
        """The base class of the client library's errors."""

    def connect(self) -> Any:
        """Open a connection without autocommit, with the session's settings."""

    def classify(self, error: Any) -> HeadraceError:
        """Return the error as the port's type."""

    def execute(self, cursor: Any, sql: str, parameters: Sequence[object]) -> None:
        """Execute a statement on a cursor."""


class Transaction:
    """An open transaction. It is committed or rolled back by `Session.transaction`."""

    def __init__(self, connector: Connector, cursor: Any) -> None:
        self._connector = connector
        self.cursor = cursor

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Execute a statement and return the number of rows that it changed."""
        self._connector.execute(self.cursor, sql, parameters)
        return int(self.cursor.rowcount)

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[Sequence[Any]]:
        """Execute a statement and return all its rows; none if it returns no result set."""
        self._connector.execute(self.cursor, sql, parameters)
        return list(self.cursor.fetchall()) if self.cursor.description else []


class Session:
    """Transactions on one connection.

    `on_reset` is called whenever what the connection has made, such as temporary tables, may no longer exist.
    """

    def __init__(self, connector: Connector, on_reset: Callable[[], None] = lambda: None) -> None:
        self._connector = connector
        self._on_reset = on_reset
        self._connection: Any = None

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Run a transaction, which is committed at the end or rolled back.

        Raises:
            Poison: The database refuses a value.
            Duplicate: The primary key refuses a row.
            Transient: A retry may help.
            Fatal: A retry doesn't help.
        """
        try:
            connection = self._connected()
            yield Transaction(self._connector, connection.cursor())
            connection.commit()
        except HeadraceError:
            self._roll_back(keep=True)
            raise
        except self._connector.error as error:
            classified = self._connector.classify(error)
            self._roll_back(keep=isinstance(classified, Poison | Duplicate))
            raise classified from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _roll_back(self, *, keep: bool) -> None:
        """Roll the transaction back. Close a connection whose state is in doubt (`keep` false)."""
        self._on_reset()  # what was made in this transaction no longer exists
        if not keep or self._connection is None:
            self.close()
            return
        try:
            self._connection.rollback()
        except self._connector.error:
            self.close()

    def _connected(self) -> Any:
        if self._connection is None:
            self._on_reset()
            self._connection = self._connector.connect()
        return self._connection
