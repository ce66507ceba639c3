"""Landing in SQL Server: one JSON parameter into a staging table of the connection, then two statements a table."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import orjson

from schemas.change import Change, Row
from schemas.errors import HeadraceError
from schemas.tables import Mode, Table
from sinks import sqlserver_sql as sql
from sinks.port import Batch, Checkpoint, Landed, Partition, Poison, TopicReplaced, fenced
from sinks.sqlserver_errors import Duplicate, classify
from sinks.staging import rounds, staged_row

CONNECT_SECONDS, STATEMENT_SECONDS = 10, 120


class SqlServerReporting:
    """`sinks.port.Reporting` over pyodbc. `odbc` is a connection string, driver included; tables and checkpoints are
    in the generation's schema, which `headrace migrate` makes."""

    def __init__(self, odbc: str, generation: int) -> None:
        self._odbc = odbc
        self._generation = generation
        self._connected: Any = None
        self._stages: dict[str, Callable[[Change], Row]] = {}

    def claim(self, partition: Partition, topic_id: str, beginning: int) -> Checkpoint:
        """See `Reporting.claim`."""
        with self._transaction() as cursor:
            fresh = (*partition, topic_id, beginning, *partition)
            cursor.execute(sql.make_checkpoint(self._generation), fresh)
            cursor.execute(sql.raise_fence(self._generation), partition)
            known = _checkpoint(cursor.execute(sql.read_checkpoint(self._generation), partition).fetchone())
            if known.topic_id != topic_id:
                raise TopicReplaced(partition, known.topic_id, topic_id)
        return known

    def checkpoint(self, partition: Partition) -> Checkpoint | None:
        """See `Reporting.checkpoint`."""
        with self._transaction() as cursor:
            row = cursor.execute(sql.read_checkpoint(self._generation), partition).fetchone()
        return None if row is None else _checkpoint(row)

    def land(self, batch: Batch) -> Landed:
        """See `Reporting.land`."""
        try:
            return self._land(batch)
        except Duplicate:
            pass  # most likely a race, which a second look settles
        try:
            return self._land(batch)
        except Duplicate as error:
            raise Poison(str(error)) from error

    def close(self) -> None:
        """Closes the connection."""
        if self._connected is not None:
            self._connected.close()
        self._connected = None

    def _land(self, batch: Batch) -> Landed:
        folded = written = 0
        with self._transaction() as cursor:
            for table, changes in rounds(batch.changes):  # 1
                written += self._land_round(cursor, table, list(changes.values()))
                folded += len(changes)
            self._move(cursor, batch)  # 5
        return Landed(folded=folded, written=written)

    def _land_round(self, cursor: Any, table: Table, changes: Sequence[Change]) -> int:
        row = self._stage(cursor, table)
        cursor.execute(sql.clear_stage(table))
        cursor.setinputsizes(_ONE_LONG_TEXT)
        cursor.execute(sql.load(table), (to_json([row(change) for change in changes]),))  # 2
        updated: int = 0
        if table.mode is Mode.STATE:
            updated = cursor.execute(sql.update(table, self._generation)).rowcount  # 3
        inserted: int = cursor.execute(sql.insert(table, self._generation)).rowcount  # 4
        return updated + inserted

    def _move(self, cursor: Any, batch: Batch) -> None:
        moves = [(*at, moved.fence, moved.next_offset) for at, moved in batch.checkpoints.items()]
        if not moves:
            return
        cursor.setinputsizes(_ONE_LONG_TEXT)
        if cursor.execute(sql.move_checkpoints(self._generation), (to_json(moves),)).rowcount != len(moves):
            raise fenced(list(batch.checkpoints))

    def _stage(self, cursor: Any, table: Table) -> Callable[[Change], Row]:
        if table.name not in self._stages:
            cursor.execute(sql.drop_stage(table))
            cursor.execute(sql.create_stage(table, self._generation))
            self._stages[table.name] = staged_row(table)
        return self._stages[table.name]

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
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

    def _roll_back(self, *, keep: bool) -> None:
        """Undoes the transaction; a connection whose state is in doubt is given up (`keep` false)."""
        import pyodbc

        self._stages.clear()  # they may have been made in this transaction
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
            self._stages.clear()
            pyodbc.pooling = False  # a pooled connection could come with another's transaction state
            self._connected = pyodbc.connect(self._odbc, autocommit=False, timeout=CONNECT_SECONDS)
            self._connected.timeout = STATEMENT_SECONDS
            self._connected.execute(sql.SESSION)
        return self._connected


_ONE_LONG_TEXT = [(-9, 0, 0)]  # SQL_WVARCHAR without a length is NVARCHAR(MAX)


def to_json(rows: Sequence[Sequence[object]]) -> str:
    """Rows as a JSON array of arrays, without loss: decimals and times as text in the form that T-SQL reads exactly.

    Raises Poison for text that is not Unicode.
    """
    try:
        return orjson.dumps(rows, default=_plain, option=orjson.OPT_PASSTHROUGH_DATETIME).decode()
    except TypeError as error:
        raise Poison(f"reporting cannot hold a value: {error}") from None


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")[:26]  # it is UTC; DATETIME2 holds no offset
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _checkpoint(row: Any) -> Checkpoint:
    topic_id, next_offset, fence = row
    return Checkpoint(topic_id=topic_id, next_offset=next_offset, fence=fence)
