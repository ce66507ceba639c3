"""Ageing out of a generation of reporting in SQL Server."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import count, islice
from typing import Any

from schemas.change import Key
from schemas.checksums import Sum
from schemas.tables import Table
from sinks.reporting.cutoff import Cutoff, cutoffs_of
from sinks.reporting.retention import BATCH, PAGE, Sums, next_month, require_cut_off, require_proven, require_refused
from sinks.reporting.sqlserver import retention_sql as sql
from sinks.reporting.sqlserver.bulk_json import LongText, execute, to_json
from sinks.reporting.sqlserver.landing_sql import read_cutoffs
from sinks.reporting.sqlserver.session import SqlServerSession

STATEMENT_SECONDS = 3_600

Guard = Callable[[Mapping[str, Cutoff]], object]


class SqlServerRetention:
    """`Retiring` over pyodbc. `odbc` is a connection string, driver included, of the login that
    `headrace migrate` makes for retention."""

    def __init__(self, odbc: str, generation: int) -> None:
        self.generation = generation
        self._session = SqlServerSession(odbc, sql.SESSION, seconds=STATEMENT_SECONDS)

    def cutoffs(self) -> Mapping[str, Cutoff]:
        with self._session.transaction() as cursor:
            return _cutoffs(cursor)

    def set_cutoff(self, cutoff: Cutoff) -> None:
        before, held = cutoff.before.isoformat(), LongText(cutoff.held_text())
        with self._session.transaction() as cursor:
            cursor.execute(sql.lock_cutoffs()).fetchall()
            if not execute(cursor, sql.move_cutoff(), (before, before, held, cutoff.part)).rowcount:
                execute(cursor, sql.make_cutoff(), (cutoff.part, before, held))

    def event_sums(self, table: Table, before: date, held: Collection[str]) -> Sums:
        parameters = (before.isoformat(), _listed(held))
        with self._session.transaction() as cursor:
            found = execute(cursor, sql.event_sums(table, self.generation), parameters).fetchall()
        return {(day, tenant): Sum(count, int(total)) for day, tenant, count, total in found}

    def event_ids(self, table: Table, day: date, tenant: str) -> Iterator[str]:
        last: str | None = ""
        while last is not None:
            parameters = (PAGE, tenant, day.isoformat(), last)
            with self._session.transaction() as cursor:
                page = cursor.execute(sql.event_ids(table, self.generation), parameters).fetchall()
            yield from (name for (name,) in page)
            last = page[-1][0] if page else None

    def retire_events(self, table: Table, day: date, proven: Mapping[str, Sum]) -> int:
        parameters = (_listed(proven), day.isoformat())
        with self._session.transaction() as cursor:
            require_refused(table, _cutoffs(cursor), day, proven)
            cursor.execute(sql.drop_gone(table))
            cursor.execute(sql.create_gone(table, self.generation))
            while execute(cursor, sql.retire_events(table, self.generation), parameters).rowcount:
                pass
            gone = cursor.execute(sql.gone_sums(table)).fetchall()
            cursor.execute(sql.drop_gone(table))
            return require_proven(table, day, {tenant: Sum(count, int(total)) for tenant, count, total in gone}, proven)

    def retire_rows(self, table: Table, month: date, held: Collection[str]) -> int:
        after = next_month(month)
        parameters = (month.isoformat(), after.isoformat(), _listed(held))
        return self._retire(table, sql.of_month(table), parameters, after, held)

    def purge_deleted(self, table: Table, keys: Iterable[Key]) -> int:
        numbered = ((*key, number) for number, key in zip(count(1), keys, strict=False))
        listed = 0
        with self._session.transaction() as cursor:
            _make_list(cursor, table, self.generation)
            while some := list(islice(numbered, PAGE)):
                execute(cursor, sql.load_keys(table), (to_json(some),))
                listed += len(some)
        return self._delete(table, listed, sql.deleted(), (), lambda _: None)

    def purge_deleted_before(self, table: Table, before: date) -> int:
        cutoff = self.cutoffs().get(table.retention or "")
        held = cutoff.held if cutoff else frozenset()
        parameters = (before.isoformat(), before.isoformat(), _listed(held))
        return self._retire(table, sql.deleted_before(table), parameters, before, held)

    def erase_events(self, table: Table, tenant: str, ids: Iterable[str]) -> int:
        listed = _listed(ids)
        with self._session.transaction() as cursor:
            cursor.execute(sql.lock_cutoffs()).fetchall()
            execute(cursor, sql.erase_events(), (tenant, listed, tenant))
            deleted: int = execute(cursor, sql.delete_events(table, self.generation), (tenant, listed)).rowcount
        return deleted

    def repaired(self, table: Table) -> list[str]:
        with self._session.transaction() as cursor:
            return [row for (row,) in cursor.execute(sql.repaired(), (table.name,)).fetchall()]

    def erase_repaired(self, table: Table, rows: Collection[str]) -> int:
        with self._session.transaction() as cursor:
            erased: int = execute(cursor, sql.erase_repaired(), (table.name, _listed(rows))).rowcount
        return erased

    def close(self) -> None:
        self._session.close()

    def _retire(
        self, table: Table, condition: str, parameters: Sequence[object], before: date, held: Collection[str]
    ) -> int:
        """Delete rows that meet the condition, while sinks refuse all rows before `before` except those of `held`."""
        with self._session.transaction() as cursor:
            require_cut_off(table, _cutoffs(cursor), before, held)
            _make_list(cursor, table, self.generation)
            listed = execute(cursor, sql.fill_deletion_list(table, self.generation, condition), parameters).rowcount
        return self._delete(
            table, listed, condition, parameters, lambda cutoffs: require_cut_off(table, cutoffs, before, held)
        )

    def _delete(self, table: Table, listed: int, condition: str, parameters: Sequence[object], guard: Guard) -> int:
        """Delete listed rows that meet the condition now. Each batch is a transaction, which calls `guard` first."""
        statement = sql.delete_listed(table, self.generation, condition)
        deleted = 0
        for start in range(0, listed, BATCH):
            with self._session.transaction() as cursor:
                guard(_cutoffs(cursor))
                deleted += execute(cursor, statement, (start, start + BATCH, *parameters)).rowcount
        with self._session.transaction() as cursor:
            cursor.execute(sql.drop_deletion_list(table))
        return deleted


def _make_list(cursor: Any, table: Table, generation: int) -> None:
    cursor.execute(sql.drop_deletion_list(table))  # of a call that failed
    cursor.execute(sql.create_deletion_list(table, generation))
    cursor.execute(sql.index_deletion_list(table))


def _cutoffs(cursor: Any) -> dict[str, Cutoff]:
    return cutoffs_of(cursor.execute(read_cutoffs()).fetchall())


def _listed(texts: Iterable[str]) -> LongText:
    return to_json([(text,) for text in texts])
