"""Retention from reporting in memory: the contract as plain Python. The SQL databases must behave the same."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import date

from schemas.change import Key, Value
from schemas.checksums import Sum, sum_of
from schemas.tables import Table
from sinks.reporting.cutoff import TENANT, Cutoff
from sinks.reporting.memory import MemoryReporting, Stored
from sinks.reporting.retention import Sums, next_month, require_cut_off, require_proven, require_refused


class MemoryRetention:
    """`sinks.reporting.retention.RetentionStore` over a `MemoryReporting`. Every change holds its lock."""

    def __init__(self, reporting: MemoryReporting, generation: int = 1) -> None:
        self.generation = generation
        self._reporting = reporting

    def cutoffs(self) -> Mapping[str, Cutoff]:
        return dict(self._reporting.cutoffs)

    def set_cutoff(self, cutoff: Cutoff) -> None:
        with self._reporting.transaction:
            known = self._reporting.cutoffs.get(cutoff.part, cutoff)
            before = max(cutoff.before, known.before)
            self._reporting.cutoffs[cutoff.part] = Cutoff(cutoff.part, before, cutoff.held)

    def event_sums(self, table: Table, before: date, held: Collection[str]) -> Sums:
        tenant, day = table.key.index(TENANT), table.key.index(table.ages_by or "")
        found: dict[tuple[date, str], list[str]] = {}
        for key in self._reporting.rows(table):
            if _before(key[day], before) and key[tenant] not in held:
                found.setdefault((key[day], key[tenant]), []).append(str(key[-1]))  # type: ignore[arg-type]
        return {at: sum_of(ids) for at, ids in found.items()}

    def event_ids(self, table: Table, day: date, tenant: str) -> Iterator[str]:
        of_day = self._events(table, day)
        return iter(sorted(str(key[-1]) for key in of_day if key[table.key.index(TENANT)] == tenant))

    def retire_events(self, table: Table, day: date, proven: Mapping[str, Sum]) -> int:
        tenant = table.key.index(TENANT)
        with self._reporting.transaction:
            require_refused(table, self._reporting.cutoffs, day, proven)
            deleted = [key for key in self._events(table, day) if key[tenant] in proven]
            ids = {name: [str(key[-1]) for key in deleted if key[tenant] == name] for name in proven}
            found = {name: sum_of(some) for name, some in ids.items() if some}
            count = require_proven(table, day, found, proven)
            self._delete(table, deleted)
        return count

    def retire_rows(self, table: Table, month: date, held: Collection[str]) -> int:
        after = next_month(month)

        def matches(tenant: Value, day: Value, _: Stored) -> bool:
            return _before(day, after) and not _before(day, month) and tenant not in held

        return self._retire(table, matches, after, held)

    def purge_deleted(self, table: Table, keys: Iterable[Key]) -> int:
        with self._reporting.transaction:
            rows = self._reporting.rows(table)
            return self._delete(table, [key for key in set(keys) if key in rows and rows[key].row is None])

    def purge_deleted_before(self, table: Table, before: date) -> int:
        cutoff = self._reporting.cutoffs.get(table.retention or "")
        held = cutoff.held if cutoff else frozenset()

        def matches(tenant: Value, day: Value, stored: Stored) -> bool:
            at = stored.source_time.date() if day is None else day
            return stored.row is None and _before(at, before) and tenant not in held

        return self._retire(table, matches, before, held)

    def erase_events(self, table: Table, tenant: str, ids: Iterable[str]) -> int:
        with self._reporting.transaction:
            erased = {(tenant, each) for each in ids}
            self._reporting.erased |= erased
            at = table.key.index(TENANT)
            return self._delete(table, [key for key in self._reporting.rows(table) if (key[at], key[-1]) in erased])

    def repaired(self, table: Table) -> list[str]:
        return [row for name, row in self._reporting.repaired if name == table.name]

    def erase_repaired(self, table: Table, rows: Collection[str]) -> int:
        with self._reporting.transaction:
            known = len(self._reporting.repaired)
            kept = [each for each in self._reporting.repaired if each[0] != table.name or each[1] not in rows]
            self._reporting.repaired = kept
        return known - len(kept)

    def close(self) -> None:
        """Nothing to close."""

    def _events(self, table: Table, day: date) -> list[Key]:
        at = table.key.index(table.ages_by or "")
        return [key for key in self._reporting.rows(table) if key[at] == day]

    def _retire(
        self, table: Table, matches: Callable[[Value, Value, Stored], bool], before: date, held: Collection[str]
    ) -> int:
        tenant = table.key.index(TENANT)
        with self._reporting.transaction:
            require_cut_off(table, self._reporting.cutoffs, before, held)
            rows = self._reporting.rows(table)
            return self._delete(
                table, [key for key, row in rows.items() if matches(key[tenant], _day(table, key, row), row)]
            )

    def _delete(self, table: Table, keys: Collection[Key]) -> int:
        deleted = set(keys)
        left = {key: row for key, row in self._reporting.rows(table).items() if key not in deleted}
        self._reporting.tables = self._reporting.tables | {table.name: left}
        return len(deleted)


def _day(table: Table, key: Key, stored: Stored) -> Value:
    if table.ages_by in table.key:
        return key[table.key.index(table.ages_by)]
    names = [column.name for column in table.all_columns]
    return None if stored.row is None else stored.row[names.index(table.ages_by or "")]


def _before(day: Value, before: date) -> bool:
    return isinstance(day, date) and day < before
