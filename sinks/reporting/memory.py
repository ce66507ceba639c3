"""Reporting in memory: the contract as plain Python. The SQL databases must behave the same; tests land in it."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from schemas.change import Change, Key, Row, Value
from schemas.position import FIRST_EPOCH, Position
from schemas.tables import Mode, Table
from sinks.reporting.cutoff import TENANT, Cutoff, split
from sinks.reporting.port import Batch, Checkpoint, Landed, Partition, Poison, fenced, topic_replaced
from sinks.reporting.staging import event_id, rounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A row as reporting holds it; `row` is None for a deleted one."""

    row: Row | None
    position: Position
    source_time: datetime


class MemoryReporting:
    """`Reporting` (port.py) over dictionaries.

    `erased` are events by tenant and id. `repaired` are rows that repairs removed, as table and row. Every change holds
    the lock `transaction`.
    """

    def __init__(self) -> None:
        self.tables: dict[str, dict[Key, Stored]] = {}
        self.checkpoints: dict[Partition, Checkpoint] = {}
        self.cutoffs: dict[str, Cutoff] = {}
        self.erased: set[tuple[Value, Value]] = set()
        self.known_epochs = {FIRST_EPOCH}
        self.repaired: list[tuple[str, str]] = []
        self.transaction = threading.Lock()  # several workers may land in one memory

    def claim(self, partition: Partition, topic_id: str, beginning: int) -> Checkpoint:
        fresh = Checkpoint(topic_id=topic_id, next_offset=beginning, fence=0)
        known = self.checkpoints.get(partition, fresh)
        if known.topic_id != topic_id:
            raise topic_replaced(partition, known.topic_id, topic_id)
        self.checkpoints[partition] = replace(known, fence=known.fence + 1)
        return self.checkpoints[partition]

    def checkpoint(self, partition: Partition) -> Checkpoint | None:
        return self.checkpoints.get(partition)

    def land(self, batch: Batch) -> Landed:
        # the numbers are those of port.py
        with self.transaction:
            return self._land(batch)

    def _land(self, batch: Batch) -> Landed:
        tables = {name: dict(rows) for name, rows in self.tables.items()}
        folded = written = 0
        changes, refused = split(batch.changes, self.cutoffs)  # 0
        for table, newest in rounds(changes):  # 1, 2
            rows = tables.setdefault(table.name, {})
            folded += len(newest)
            written += sum(self._write(table, rows, change) for change in newest.values())  # 3, 4
        for partition, moved in batch.checkpoints.items():  # 5
            held = self.checkpoints.get(partition)
            if held is None or held.fence != moved.fence:
                raise fenced(list(batch.checkpoints))
        self.tables = tables
        self.checkpoints |= batch.checkpoints
        return Landed(folded=folded, written=written, refused=len(refused))

    def position_of(self, table: Table, key: Key) -> Position | None:
        row = self.rows(table).get(key)
        if row is None or table.mode is Mode.EVENT:
            return None if row is None else Position(0, 0)
        return row.position._replace(read=False)

    def epochs(self) -> frozenset[int]:
        return frozenset(self.known_epochs)

    def close(self) -> None:
        """Nothing to close."""

    def rows(self, table: Table) -> Mapping[Key, Stored]:
        """Return the rows of a table, deleted ones included."""
        return self.tables.get(table.name, {})

    def _write(self, table: Table, rows: dict[Key, Stored], change: Change) -> bool:
        _check(table, change)
        landed = rows.get(change.key)
        position = change.position
        if table.mode is Mode.EVENT and (landed is not None or self._erased(table, change.key)):
            return False
        if landed is not None:
            if not position.wins_over(landed.position):
                return False
            position = position.replacing(landed.position)
        rows[change.key] = Stored(row=change.row, position=position, source_time=change.source_time)
        return True

    def _erased(self, table: Table, key: Key) -> bool:
        return (key[table.key.index(TENANT)], key[table.key.index(event_id(table))]) in self.erased


def _check(table: Table, change: Change) -> None:
    if change.row is None:
        return
    for column, value in zip(table.all_columns, change.row, strict=True):
        if value is None and not column.nullable:
            raise Poison(f"{table.name}.{column.name} must hold a value")
