"""Landing in SQL Server: one JSON parameter into a staging table of the connection, then two statements a table."""

from collections.abc import Callable, Sequence
from typing import Any

from schemas.change import Change, Key, Row
from schemas.position import FIRST_EPOCH, Position
from schemas.tables import Mode, Table
from sinks.reporting.cutoff import Cutoff, cutoffs_of, split
from sinks.reporting.port import Batch, Checkpoint, Landed, Partition, Poison, fenced, topic_replaced
from sinks.reporting.sqlserver import landing_sql as sql
from sinks.reporting.sqlserver.bulk_json import execute, require_fits, to_json
from sinks.reporting.sqlserver.errors import Duplicate
from sinks.reporting.sqlserver.session import SqlServerSession
from sinks.reporting.staging import position_from_columns, rounds, staged_columns, staged_row, text_lengths

STATEMENT_SECONDS = 120


class SqlServerReporting:
    """`Reporting` (port.py) over pyodbc. `odbc` is a connection string, driver included; tables and checkpoints are
    in the generation's schema, which `headrace migrate` makes."""

    def __init__(self, odbc: str, generation: int) -> None:
        self._generation = generation
        self._stages: dict[str, Callable[[Change], Row]] = {}
        self._session = SqlServerSession(odbc, sql.SESSION, seconds=STATEMENT_SECONDS, on_reset=self._stages.clear)

    def claim(self, partition: Partition, topic_id: str, beginning: int) -> Checkpoint:
        with self._session.transaction() as cursor:
            fresh = (*partition, topic_id, beginning, *partition)
            cursor.execute(sql.make_checkpoint(self._generation), fresh)
            cursor.execute(sql.raise_fence(self._generation), partition)
            known = _checkpoint(cursor.execute(sql.read_checkpoint(self._generation), partition).fetchone())
            if known.topic_id != topic_id:
                raise topic_replaced(partition, known.topic_id, topic_id)
        return known

    def checkpoint(self, partition: Partition) -> Checkpoint | None:
        with self._session.transaction() as cursor:
            row = cursor.execute(sql.read_checkpoint(self._generation), partition).fetchone()
        return None if row is None else _checkpoint(row)

    def land(self, batch: Batch) -> Landed:
        try:
            return self._land(batch)
        except Duplicate:
            pass  # most likely a race, which a second attempt settles
        try:
            return self._land(batch)
        except Duplicate as error:
            raise Poison(str(error)) from error

    def position_of(self, table: Table, key: Key) -> Position | None:
        with self._session.transaction() as cursor:
            row = cursor.execute(sql.read_position(table, self._generation), key).fetchone()
        return position_from_columns(row)

    def epochs(self) -> frozenset[int]:
        with self._session.transaction() as cursor:
            return frozenset({FIRST_EPOCH, *(number for (number,) in cursor.execute(sql.read_epochs()).fetchall())})

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _land(self, batch: Batch) -> Landed:
        folded = written = 0
        with self._session.transaction() as cursor:
            changes, refused = split(batch.changes, _cutoffs(cursor, batch))  # 0
            for table, newest in rounds(changes):  # 1
                written += self._land_round(cursor, table, [newest[key] for key in sorted(newest, key=_order)])
                folded += len(newest)
            self._move(cursor, batch)  # 5
        return Landed(folded=folded, written=written, refused=len(refused))

    def _land_round(self, cursor: Any, table: Table, changes: Sequence[Change]) -> int:
        row = self._stage(cursor, table)
        cursor.execute(sql.clear_stage(table))
        rows = [row(change) for change in changes]
        text = to_json(rows)
        require_fits(staged_columns(table), text_lengths(table), rows, text)
        execute(cursor, sql.load(table), (text,))  # 2
        updated: int = 0
        if table.mode is Mode.STATE:
            updated = cursor.execute(sql.update(table, self._generation)).rowcount  # 3
        inserted: int = cursor.execute(sql.insert(table, self._generation)).rowcount  # 4
        return updated + inserted

    def _move(self, cursor: Any, batch: Batch) -> None:
        moves = [(*at, moved.fence, moved.next_offset) for at, moved in batch.checkpoints.items()]
        if not moves:
            return
        if execute(cursor, sql.move_checkpoints(self._generation), (to_json(moves),)).rowcount != len(moves):
            raise fenced(list(batch.checkpoints))

    def _stage(self, cursor: Any, table: Table) -> Callable[[Change], Row]:
        if table.name not in self._stages:
            cursor.execute(sql.drop_stage(table))
            cursor.execute(sql.create_stage(table, self._generation))
            self._stages[table.name] = staged_row(table)
        return self._stages[table.name]


def _order(key: Key) -> tuple[str, ...]:
    """Any order will do, as long as all workers lock rows in it."""
    return tuple(map(str, key))


def _cutoffs(cursor: Any, batch: Batch) -> dict[str, Cutoff]:
    return cutoffs_of(cursor.execute(sql.read_cutoffs()).fetchall()) if batch.changes else {}


def _checkpoint(row: Any) -> Checkpoint:
    topic_id, next_offset, fence = row
    return Checkpoint(topic_id=topic_id, next_offset=next_offset, fence=fence)
