"""Land batches in a SQL database: the commit protocol of port.py, over the driver of either database.

The steps are the same everywhere. A driver supplies its SQL, how rows are loaded in bulk, and the order of its two
statements.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from schemas.change import Change, Key
from schemas.position import FIRST_EPOCH, Position
from schemas.tables import Table
from sinks.reporting.cutoff import cutoffs_of, split
from sinks.reporting.port import Batch, Checkpoint, Duplicate, Landed, Partition, Poison, fenced, topic_replaced
from sinks.reporting.query import Query
from sinks.reporting.session import Connector, Session, Transaction
from sinks.reporting.staging import position_from_columns, rounds


class LandingSql(Protocol):
    """The statements that both dialects have: the module landing_sql of a database."""

    def create_stage(self, table: Table, generation: int) -> Sequence[str]: ...
    def clear_stage(self, table: Table) -> str: ...
    def read_cutoffs(self) -> str: ...
    def read_epochs(self) -> str: ...
    def make_checkpoint(self, generation: int, partition: Partition, topic_id: str, next_offset: int) -> Query: ...
    def raise_fence(self, generation: int, partition: Partition) -> Query: ...
    def read_checkpoint(self, generation: int, partition: Partition) -> Query: ...
    def move_checkpoints(self, generation: int, checkpoints: Mapping[Partition, Checkpoint]) -> Query: ...
    def read_position(self, table: Table, generation: int, key: Key) -> Query: ...


class LandingDriver(Connector, Protocol):
    """A database as landing uses it."""

    @property
    def landing_sql(self) -> LandingSql: ...

    @property
    def commit_clears_stages(self) -> bool:
        """True if a commit empties the staging tables."""

    def load_stage(self, transaction: Transaction, table: Table, newest: Mapping[Key, Change]) -> None:
        """Step 2: load the newest change of each key into the staging table, which is empty."""

    def upsert(self, transaction: Transaction, table: Table, generation: int, staged: int) -> int:
        """Run steps 3 and 4 over `staged` rows, in this database's order, and return the number of rows written."""


class SqlReporting:
    """`Reporting` (port.py) over a driver. `headrace migrate` makes the generation's tables and its checkpoints."""

    def __init__(self, driver: LandingDriver, generation: int) -> None:
        self._driver, self._sql, self._generation = driver, driver.landing_sql, generation
        self._stages: set[str] = set()  # tables that have a staging table on the present connection
        self._session = Session(driver, on_reset=self._stages.clear)

    def claim(self, partition: Partition, topic_id: str, beginning: int) -> Checkpoint:
        with self._session.transaction() as transaction:
            transaction.execute(*self._sql.make_checkpoint(self._generation, partition, topic_id, beginning))
            transaction.query(*self._sql.raise_fence(self._generation, partition))
            claimed = self._read_checkpoint(transaction, partition)
            if claimed is None or claimed.topic_id != topic_id:
                raise topic_replaced(partition, claimed.topic_id if claimed else "none", topic_id)
        return claimed

    def checkpoint(self, partition: Partition) -> Checkpoint | None:
        with self._session.transaction() as transaction:
            return self._read_checkpoint(transaction, partition)

    def land(self, batch: Batch) -> Landed:
        try:
            return self._land(batch)
        except Duplicate:
            pass  # most likely another worker inserted the row first; the second attempt sees it
        try:
            return self._land(batch)
        except Duplicate as error:
            raise Poison(str(error)) from error

    def position_of(self, table: Table, key: Key) -> Position | None:
        with self._session.transaction() as transaction:
            return position_from_columns(
                _first(transaction.query(*self._sql.read_position(table, self._generation, key)))
            )

    def epochs(self) -> frozenset[int]:
        with self._session.transaction() as transaction:
            return frozenset({FIRST_EPOCH, *(number for (number,) in transaction.query(self._sql.read_epochs()))})

    def close(self) -> None:
        self._session.close()

    def _land(self, batch: Batch) -> Landed:
        folded = written = 0
        with self._session.transaction() as transaction:
            cutoffs = cutoffs_of(transaction.query(self._sql.read_cutoffs())) if batch.changes else {}
            changes, refused = split(batch.changes, cutoffs)  # 0
            used: set[str] = set()  # tables whose staging table this transaction has filled
            for table, newest in rounds(changes):  # 1
                written += self._land_round(transaction, table, newest, used)
                folded += len(newest)
            self._move_checkpoints(transaction, batch.checkpoints)  # 5
        return Landed(folded=folded, written=written, refused=len(refused))

    def _land_round(self, transaction: Transaction, table: Table, newest: Mapping[Key, Change], used: set[str]) -> int:
        self._prepare_stage(transaction, table, used)
        self._driver.load_stage(transaction, table, newest)  # 2
        return self._driver.upsert(transaction, table, self._generation, len(newest))  # 3, 4

    def _prepare_stage(self, transaction: Transaction, table: Table, used: set[str]) -> None:
        if table.name not in self._stages:
            for statement in self._sql.create_stage(table, self._generation):
                transaction.execute(statement)
            self._stages.add(table.name)
        if table.name in used or not self._driver.commit_clears_stages:
            transaction.execute(self._sql.clear_stage(table))
        used.add(table.name)

    def _move_checkpoints(self, transaction: Transaction, checkpoints: Mapping[Partition, Checkpoint]) -> None:
        """Move the checkpoints whose fences are still held; raise Fenced if one is not."""
        if not checkpoints:
            return
        if transaction.execute(*self._sql.move_checkpoints(self._generation, checkpoints)) != len(checkpoints):
            raise fenced(list(checkpoints))

    def _read_checkpoint(self, transaction: Transaction, partition: Partition) -> Checkpoint | None:
        row = _first(transaction.query(*self._sql.read_checkpoint(self._generation, partition)))
        return None if row is None else Checkpoint(topic_id=row[0], next_offset=row[1], fence=row[2])


def _first(rows: Sequence[Sequence[Any]]) -> Sequence[Any] | None:
    return rows[0] if rows else None
