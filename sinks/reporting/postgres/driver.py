"""Landing in Postgres: COPY into a staging table of the connection, then two statements a table."""

from collections.abc import Callable, Sequence

import psycopg

from schemas.change import Change, Key, Row
from schemas.position import FIRST_EPOCH, Position
from schemas.tables import Mode, Table
from sinks.reporting.cutoff import Cutoff, cutoffs_of, split
from sinks.reporting.port import Batch, Checkpoint, Landed, Partition, fenced, topic_replaced
from sinks.reporting.postgres import landing_sql as sql
from sinks.reporting.postgres.session import PostgresSession
from sinks.reporting.staging import position_from_columns, rounds, staged_row


class PostgresReporting:
    """`Reporting` (port.py) over psycopg. `conninfo` is libpq's; tables and checkpoints are in the generation's
    schema, which `headrace migrate` makes."""

    def __init__(self, conninfo: str, generation: int) -> None:
        self._generation = generation
        self._stages: dict[str, Callable[[Change], Row]] = {}
        self._session = PostgresSession(conninfo, sql.SESSION, name="headrace-sink", on_reset=self._stages.clear)

    def claim(self, partition: Partition, topic_id: str, beginning: int) -> Checkpoint:
        with self._session.transaction() as connection:
            connection.execute(sql.make_checkpoint(self._generation), (*partition, topic_id, beginning))
            row = connection.execute(sql.raise_fence(self._generation), partition).fetchone()
            if row is None or row[0] != topic_id:
                raise topic_replaced(partition, row[0] if row else "none", topic_id)
        return _checkpoint(row)

    def checkpoint(self, partition: Partition) -> Checkpoint | None:
        with self._session.transaction() as connection:
            row = connection.execute(sql.read_checkpoint(self._generation), partition).fetchone()
        return None if row is None else _checkpoint(row)

    def land(self, batch: Batch) -> Landed:
        # the numbers are those of port.py
        folded = written = 0
        with self._session.transaction() as connection, connection.cursor() as cursor:
            changes, refused = split(batch.changes, _cutoffs(cursor, batch))  # 0
            staged: set[str] = set()
            for table, newest in rounds(changes):  # 1
                if table.name in staged:
                    cursor.execute(sql.clear_stage(table))
                staged.add(table.name)
                written += self._land(cursor, table, list(newest.values()))
                folded += len(newest)
            self._move(cursor, batch)  # 5
        return Landed(folded=folded, written=written, refused=len(refused))

    def position_of(self, table: Table, key: Key) -> Position | None:
        with self._session.transaction() as connection:
            row = connection.execute(sql.read_position(table, self._generation), key).fetchone()
        return position_from_columns(row)

    def epochs(self) -> frozenset[int]:
        with self._session.transaction() as connection:
            return frozenset({FIRST_EPOCH, *(number for (number,) in connection.execute(sql.read_epochs()))})

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _land(self, cursor: psycopg.Cursor, table: Table, changes: Sequence[Change]) -> int:
        row = self._stage(cursor, table)
        with cursor.copy(sql.copy(table)) as copy:  # 2
            for change in changes:
                copy.write_row(row(change))
        written = cursor.execute(sql.insert(table, self._generation)).rowcount  # 4, before 3: see postgres_sql
        if written < len(changes) and table.mode is Mode.STATE:
            written += cursor.execute(sql.update(table, self._generation)).rowcount  # 3
        return written

    def _move(self, cursor: psycopg.Cursor, batch: Batch) -> None:
        held = list(batch.checkpoints.items())
        moves = (
            [each.topic for each, _ in held],
            [each.number for each, _ in held],
            [checkpoint.fence for _, checkpoint in held],
            [checkpoint.next_offset for _, checkpoint in held],
        )
        if cursor.execute(sql.move_checkpoints(self._generation), moves).rowcount != len(held):
            raise fenced(list(batch.checkpoints))

    def _stage(self, cursor: psycopg.Cursor, table: Table) -> Callable[[Change], Row]:
        if table.name not in self._stages:
            cursor.execute(sql.create_stage(table, self._generation))
            self._stages[table.name] = staged_row(table)
        return self._stages[table.name]


def _cutoffs(cursor: psycopg.Cursor, batch: Batch) -> dict[str, Cutoff]:
    return cutoffs_of(cursor.execute(sql.read_cutoffs()).fetchall()) if batch.changes else {}


def _checkpoint(row: Sequence[object]) -> Checkpoint:
    topic_id, next_offset, fence = row
    return Checkpoint(topic_id=str(topic_id), next_offset=int(str(next_offset)), fence=int(str(fence)))
