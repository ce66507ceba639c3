"""Delete aged rows and events from a SQL database: `RetentionStore` (retention.py), over the driver of either database.

Rows are deleted in batches. Their keys are listed first, numbered, in a temporary table: one scan of the table,
whatever its key. Each batch then deletes by the primary key and checks the condition again, as a row may have changed
since.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import count, islice
from typing import Any, Protocol

from schemas.change import Key
from schemas.checksums import Sum
from schemas.tables import Table
from sinks.reporting.cutoff import Cutoff, cutoffs_of
from sinks.reporting.landing import LandingSql
from sinks.reporting.query import Query
from sinks.reporting.retention import BATCH, PAGE, Sums, next_month, require_cut_off, require_proven, require_refused
from sinks.reporting.session import Connector, Session, Transaction

Guard = Callable[[Mapping[str, Cutoff]], object]


class RetentionSql(Protocol):
    """The statements that both dialects have: the module retention_sql of a database."""

    def lock_cutoffs(self) -> str: ...
    def set_cutoff(self, cutoff: Cutoff) -> Sequence[Query]: ...
    def event_sums(self, table: Table, generation: int, before: date, held: Collection[str]) -> Query: ...
    def event_ids(self, table: Table, generation: int, day: date, tenant: str, after: str) -> Query: ...
    def erase_events(self, tenant: str, ids: Collection[str]) -> Query: ...
    def delete_events(self, table: Table, generation: int, tenant: str, ids: Collection[str]) -> Query: ...
    def read_repaired(self, table: Table) -> Query: ...
    def erase_repaired(self, table: Table, rows: Collection[str]) -> Query: ...
    def drop_deletion_list(self, table: Table) -> str: ...
    def create_deletion_list(self, table: Table, generation: int) -> Sequence[str]: ...
    def fill_deletion_list(self, table: Table, generation: int, condition: Query) -> Query: ...
    def delete_listed(self, table: Table, generation: int, condition: Query, after: int, upto: int) -> Query: ...
    def in_month(self, table: Table, month: date, after: date, held: Collection[str]) -> Query: ...
    def deleted_before(self, table: Table, before: date, held: Collection[str]) -> Query: ...
    def deleted(self) -> Query: ...


class RetentionDriver(Connector, Protocol):
    """A database as retention uses it."""

    @property
    def landing_sql(self) -> LandingSql: ...

    @property
    def retention_sql(self) -> RetentionSql: ...

    def load_deletion_list(self, transaction: Transaction, table: Table, rows: Sequence[Sequence[object]]) -> None:
        """Add rows to the list of rows to delete: a key and its number each."""

    def retire_events(
        self, transaction: Transaction, table: Table, generation: int, day: date, tenants: Collection[str]
    ) -> list[Sequence[Any]]:
        """Delete the tenants' events of a day. Return tenant, count and sum of hashes of the deleted events."""


class SqlRetention:
    """`RetentionStore` over a driver whose role `headrace migrate` has made for retention."""

    def __init__(self, driver: RetentionDriver, generation: int) -> None:
        self.generation = generation
        self._driver, self._sql, self._read = driver, driver.retention_sql, driver.landing_sql.read_cutoffs()
        self._session = Session(driver)

    def cutoffs(self) -> Mapping[str, Cutoff]:
        with self._session.transaction() as transaction:
            return self._read_cutoffs(transaction)

    def set_cutoff(self, cutoff: Cutoff) -> None:
        with self._session.transaction() as transaction:
            transaction.query(self._sql.lock_cutoffs())
            any(transaction.execute(*query) for query in self._sql.set_cutoff(cutoff))  # until one has changed a row

    def event_sums(self, table: Table, before: date, held: Collection[str]) -> Sums:
        with self._session.transaction() as transaction:
            found = transaction.query(*self._sql.event_sums(table, self.generation, before, held))
        return {(day, tenant): Sum(number, int(total)) for day, tenant, number, total in found}

    def event_ids(self, table: Table, day: date, tenant: str) -> Iterator[str]:
        last: str | None = ""
        while last is not None:
            with self._session.transaction() as transaction:
                page = transaction.query(*self._sql.event_ids(table, self.generation, day, tenant, last))
            yield from (name for (name,) in page)
            last = page[-1][0] if page else None

    def retire_events(self, table: Table, day: date, proven: Mapping[str, Sum]) -> int:
        with self._session.transaction() as transaction:
            require_refused(table, self._read_cutoffs(transaction), day, proven)
            deleted = self._driver.retire_events(transaction, table, self.generation, day, proven)
            found = {tenant: Sum(number, int(total)) for tenant, number, total in deleted}
            return require_proven(table, day, found, proven)

    def retire_rows(self, table: Table, month: date, held: Collection[str]) -> int:
        after = next_month(month)
        return self._purge(table, self._sql.in_month(table, month, after, held), after, held)

    def purge_deleted(self, table: Table, keys: Iterable[Key]) -> int:
        numbered = ((*key, number) for number, key in zip(count(1), keys, strict=False))
        listed = 0
        with self._session.transaction() as transaction:
            self._create_list(transaction, table)
            while page := list(islice(numbered, PAGE)):
                self._driver.load_deletion_list(transaction, table, page)
                listed += len(page)
        return self._delete_listed(table, listed, self._sql.deleted(), lambda _: None)

    def purge_deleted_before(self, table: Table, before: date) -> int:
        cutoff = self.cutoffs().get(table.retention or "")
        held = cutoff.held if cutoff else frozenset()
        return self._purge(table, self._sql.deleted_before(table, before, held), before, held)

    def erase_events(self, table: Table, tenant: str, ids: Iterable[str]) -> int:
        listed = list(ids)
        with self._session.transaction() as transaction:
            transaction.query(self._sql.lock_cutoffs())
            transaction.execute(*self._sql.erase_events(tenant, listed))
            return transaction.execute(*self._sql.delete_events(table, self.generation, tenant, listed))

    def repaired(self, table: Table) -> list[str]:
        with self._session.transaction() as transaction:
            return [row for (row,) in transaction.query(*self._sql.read_repaired(table))]

    def erase_repaired(self, table: Table, rows: Collection[str]) -> int:
        with self._session.transaction() as transaction:
            return transaction.execute(*self._sql.erase_repaired(table, rows))

    def close(self) -> None:
        self._session.close()

    def _purge(self, table: Table, condition: Query, before: date, held: Collection[str]) -> int:
        """Delete the rows that meet the condition, while sinks refuse all rows before `before` except `held`'s."""

        def guard(cutoffs: Mapping[str, Cutoff]) -> None:
            require_cut_off(table, cutoffs, before, held)

        with self._session.transaction() as transaction:
            guard(self._read_cutoffs(transaction))
            self._create_list(transaction, table)
            listed = transaction.execute(*self._sql.fill_deletion_list(table, self.generation, condition))
        return self._delete_listed(table, listed, condition, guard)

    def _delete_listed(self, table: Table, listed: int, condition: Query, guard: Guard) -> int:
        """Delete the listed rows that still meet the condition. Each batch is a transaction, after `guard`."""
        deleted = 0
        for start in range(0, listed, BATCH):
            with self._session.transaction() as transaction:
                guard(self._read_cutoffs(transaction))
                query = self._sql.delete_listed(table, self.generation, condition, start, start + BATCH)
                deleted += transaction.execute(*query)
        with self._session.transaction() as transaction:
            transaction.execute(self._sql.drop_deletion_list(table))
        return deleted

    def _create_list(self, transaction: Transaction, table: Table) -> None:
        transaction.execute(self._sql.drop_deletion_list(table))  # a failed call may have left one
        for statement in self._sql.create_deletion_list(table, self.generation):
            transaction.execute(statement)

    def _read_cutoffs(self, transaction: Transaction) -> dict[str, Cutoff]:
        return cutoffs_of(transaction.query(self._read))
