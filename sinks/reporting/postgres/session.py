"""One connection to Postgres: opened when first needed, closed when its state is in doubt, and opened again."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import psycopg

from schemas.errors import HeadraceError
from sinks.reporting.port import Poison
from sinks.reporting.postgres.errors import classify


def _nothing() -> None:
    return None


class PostgresSession:
    """Transactions over psycopg. `settings` are the statements that a new connection begins with; `on_reset` is called
    whenever what the connection has made, temporary tables for one, may be gone."""

    def __init__(
        self, conninfo: str, settings: Sequence[str], *, name: str, on_reset: Callable[[], None] = _nothing
    ) -> None:
        self._conninfo = conninfo
        self._settings = settings
        self._name = name
        self._on_reset = on_reset
        self._connected: psycopg.Connection | None = None

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Connection]:
        """Run a transaction, which is committed at the end or rolled back.

        Raises Poison, Transient or Fatal when Postgres refuses something.
        """
        try:
            connection = self._connection()
            yield connection
            connection.commit()
        except psycopg.Error as error:
            found = classify(error)
            self._roll_back(keep=isinstance(found, Poison))
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
        self._on_reset()  # objects created in this transaction are gone
        if not keep or self._connected is None:
            self.close()
            return
        try:
            self._connected.rollback()
        except psycopg.Error:
            self.close()

    def _connection(self) -> psycopg.Connection:
        if self._connected is None:
            self._on_reset()
            self._connected = psycopg.connect(self._conninfo, application_name=self._name, connect_timeout=10)
            for setting in self._settings:
                self._connected.execute(setting)
        return self._connected
