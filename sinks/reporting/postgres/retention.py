"""Ageing out of a generation of reporting in Postgres."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date

import psycopg

from schemas.change import Key
from schemas.checksums import Sum
from schemas.tables import Table
from sinks.reporting.cutoff import Cutoff, cutoffs_of
from sinks.reporting.postgres import retention_sql as sql
from sinks.reporting.postgres.landing_sql import read_cutoffs
from sinks.reporting.postgres.session import PostgresSession
from sinks.reporting.retention import BATCH, PAGE, Sums, next_month, require_cut_off, require_proven, require_refused

Guard = Callable[[Mapping[str, Cutoff]], object]


class PostgresRetention:
    """`Retiring` over psycopg. `conninfo` is libpq's, of the role that `headrace migrate` makes for
    retention."""

    def __init__(self, conninfo: str, generation: int) -> None:
        self.generation = generation
        self._session = PostgresSession(conninfo, sql.SESSION, name="headrace-retention")

    def cutoffs(self) -> Mapping[str, Cutoff]:
        with self._session.transaction() as connection:
            return _cutoffs(connection)

    def set_cutoff(self, cutoff: Cutoff) -> None:
        with self._session.transaction() as connection:
            connection.execute(sql.lock_cutoffs())
            connection.execute(sql.set_cutoff(), (cutoff.part, cutoff.before, cutoff.held_text()))

    def event_sums(self, table: Table, before: date, held: Collection[str]) -> Sums:
        with self._session.transaction() as connection:
            found = connection.execute(sql.event_sums(table, self.generation), (before, list(held))).fetchall()
        return {(day, tenant): Sum(count, int(total)) for day, tenant, count, total in found}

    def event_ids(self, table: Table, day: date, tenant: str) -> Iterator[str]:
        last: str | None = ""
        while last is not None:
            parameters = (tenant, day, last, PAGE)
            with self._session.transaction() as connection:
                page = connection.execute(sql.event_ids(table, self.generation), parameters).fetchall()
            yield from (name for (name,) in page)
            last = page[-1][0] if page else None

    def retire_events(self, table: Table, day: date, proven: Mapping[str, Sum]) -> int:
        with self._session.transaction() as connection:
            require_refused(table, _cutoffs(connection), day, proven)
            gone = connection.execute(sql.retire_events(table, self.generation), (list(proven), day)).fetchall()
            return require_proven(table, day, {tenant: Sum(count, int(total)) for tenant, count, total in gone}, proven)

    def retire_rows(self, table: Table, month: date, held: Collection[str]) -> int:
        after = next_month(month)
        return self._retire(table, sql.of_month(table), (month, after, list(held)), after, held)

    def purge_deleted(self, table: Table, keys: Iterable[Key]) -> int:
        listed = 0
        with self._session.transaction() as connection:
            _make_list(connection, table, self.generation)
            with connection.cursor().copy(sql.copy_keys(table)) as copy:
                for listed, key in enumerate(keys, start=1):
                    copy.write_row((*key, listed))
        return self._delete(table, listed, sql.deleted(), (), lambda _: None)

    def purge_deleted_before(self, table: Table, before: date) -> int:
        cutoff = self.cutoffs().get(table.retention or "")
        held = cutoff.held if cutoff else frozenset()
        return self._retire(table, sql.deleted_before(table), (before, before, list(held)), before, held)

    def erase_events(self, table: Table, tenant: str, ids: Iterable[str]) -> int:
        parameters = (tenant, list(ids))
        with self._session.transaction() as connection:
            connection.execute(sql.lock_cutoffs())
            connection.execute(sql.erase_events(), parameters)
            return connection.execute(sql.delete_events(table, self.generation), parameters).rowcount

    def repaired(self, table: Table) -> list[str]:
        with self._session.transaction() as connection:
            return [row for (row,) in connection.execute(sql.repaired(), (table.name,)).fetchall()]

    def erase_repaired(self, table: Table, rows: Collection[str]) -> int:
        with self._session.transaction() as connection:
            return connection.execute(sql.erase_repaired(), (table.name, list(rows))).rowcount

    def close(self) -> None:
        self._session.close()

    def _retire(
        self, table: Table, condition: str, parameters: Sequence[object], before: date, held: Collection[str]
    ) -> int:
        """Delete rows that meet the condition, while sinks refuse all rows before `before` except those of `held`."""
        with self._session.transaction() as connection:
            require_cut_off(table, _cutoffs(connection), before, held)
            _make_list(connection, table, self.generation)
            listed = connection.execute(sql.fill_deletion_list(table, self.generation, condition), parameters).rowcount
        return self._delete(
            table, listed, condition, parameters, lambda cutoffs: require_cut_off(table, cutoffs, before, held)
        )

    def _delete(self, table: Table, listed: int, condition: str, parameters: Sequence[object], guard: Guard) -> int:
        """Delete listed rows that meet the condition now. Each batch is a transaction, which calls `guard` first."""
        statement = sql.delete_listed(table, self.generation, condition)
        deleted = 0
        for start in range(0, listed, BATCH):
            with self._session.transaction() as connection:
                guard(_cutoffs(connection))
                deleted += connection.execute(statement, (start, start + BATCH, *parameters)).rowcount
        with self._session.transaction() as connection:
            connection.execute(sql.drop_deletion_list(table))
        return deleted


def _make_list(connection: psycopg.Connection, table: Table, generation: int) -> None:
    connection.execute(sql.drop_deletion_list(table))  # of a call that failed
    connection.execute(sql.create_deletion_list(table, generation))
    connection.execute(sql.index_deletion_list(table))


def _cutoffs(connection: psycopg.Connection) -> dict[str, Cutoff]:
    return cutoffs_of(connection.execute(read_cutoffs()).fetchall())
