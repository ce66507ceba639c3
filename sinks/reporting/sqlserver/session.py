"""One connection to SQL Server: made when it is first needed, given up when it is in doubt, and made anew."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from schemas.errors import HeadraceError
from sinks.reporting.port import Poison
from sinks.reporting.sqlserver.errors import Duplicate, classify

CONNECT_SECONDS = 10


def _nothing() -> None:
    return None


class SqlServerSession:
    """Transactions over pyodbc. `settings` is the batch that a new connection begins with, `seconds` the longest that a
    statement may take; `on_reset` is called whenever what the connection has made, temporary tables for one, may be
    gone."""

    def __init__(self, odbc: str, settings: str, *, seconds: int, on_reset: Callable[[], None] = _nothing) -> None:
        self._odbc = odbc
        self._settings = settings
        self._seconds = seconds
        self._on_reset = on_reset
        self._connected: Any = None

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """A cursor of a transaction, committed at the end or undone. Raises Poison, Duplicate, Transient, Fatal for
        what the server refuses."""
        import pyodbc  # lazy: only SQL Server needs unixODBC

        try:
            connection = self._connection()
            yield connection.cursor()
            connection.commit()
        except pyodbc.Error as error:
            found = classify(error.args)
            self._roll_back(keep=isinstance(found, Poison | Duplicate))
            raise found from error
        except HeadraceError:
            self._roll_back(keep=True)
            raise
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the connection."""
        if self._connected is not None:
            self._connected.close()
        self._connected = None

    def _roll_back(self, *, keep: bool) -> None:
        """Undoes the transaction; a connection whose state is in doubt is given up (`keep` false)."""
        import pyodbc

        self._on_reset()  # what was made in this transaction is gone
        if not keep or self._connected is None:
            self.close()
            return
        try:
            self._connected.rollback()
        except pyodbc.Error:
            self.close()

    def _connection(self) -> Any:
        import pyodbc

        if self._connected is None:
            self._on_reset()
            pyodbc.pooling = False  # a pooled connection could come with another's transaction state
            self._connected = pyodbc.connect(self._odbc, autocommit=False, timeout=CONNECT_SECONDS)
            self._connected.timeout = self._seconds
            self._connected.execute(self._settings)
        return self._connected
