"""One connection to SQL Server: opened when first needed, closed when its state is in doubt, and opened again."""

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
        """Yield a cursor of a transaction, which is committed at the end or rolled back.

        Raises Poison, Duplicate, Transient or Fatal when the server refuses something.
        """
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
        """Close the connection."""
        if self._connected is not None:
            self._connected.close()
        self._connected = None

    def _roll_back(self, *, keep: bool) -> None:
        """Undoes the transaction; a connection whose state is in doubt is given up (`keep` false)."""
        import pyodbc

        self._on_reset()  # objects created in this transaction are gone
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
            pyodbc.pooling = False  # a pooled connection could carry the transaction state of another use
            self._connected = pyodbc.connect(self._odbc, autocommit=False, timeout=CONNECT_SECONDS)
            self._connected.timeout = self._seconds
            self._connected.execute(self._settings)
        return self._connected
