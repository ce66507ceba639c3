"""Compare rows of both sides. No I/O, so every case is a one-line test."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from operations.databases.canonical import Place
from operations.databases.scope import key_of
from schemas.change import Key, Row, Value
from schemas.tables import Table
from streams.enrich import EnrichmentStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One key whose rows differ.

    `report` is None when the row is missing in reporting, `source` when it is unexpected there. `place` is the place of
    reporting's row once it has been read. When several rows have the key, `counts` has their number in the source and
    in reporting, and each side's first row is given.
    """

    table: Table
    key: Key
    source: Row | None
    report: Row | None
    place: Place | None = None
    counts: tuple[int, int] | None = None

    @property
    def fields(self) -> dict[str, tuple[Value, Value]]:
        """The columns that differ: name → (in the source, in reporting). Empty when a row is absent."""
        if self.source is None or self.report is None:
            return {}
        pairs = zip(self.table.all_columns, self.source, self.report, strict=True)
        return {column.name: (left, right) for column, left, right in pairs if left != right}

    def __str__(self) -> str:
        return self._rows() + (f" [{self.place.describe(self.table.source)}]" if self.place else "")

    def _rows(self) -> str:
        key = ", ".join(f"{name}={value}" for name, value in zip(self.table.key, self.key, strict=True))
        if self.counts is not None:
            there, here = self.counts
            return f"{self.table.name} ({key}): {there} rows have this key in the source, {here} in reporting"
        if self.report is None:
            return f"{self.table.name} ({key}): missing in reporting"
        if self.source is None:
            return f"{self.table.name} ({key}): unexpected in reporting"
        fields = (
            f"{name} is {left} in the source, {right} in reporting" for name, (left, right) in self.fields.items()
        )
        return f"{self.table.name} ({key}): " + "; ".join(fields)


def differences(table: Table, source: Iterable[Row], report: Iterable[Row]) -> Iterator[Difference]:
    """Yield the differences between canonical rows of both sides, in the order of their keys."""
    there, here = rows_by_key(table, source), rows_by_key(table, report)
    for each in sorted(there.keys() | here.keys()):
        left, right = there.get(each, []), here.get(each, [])
        if Counter(left) != Counter(right):
            counts = (len(left), len(right)) if max(len(left), len(right)) > 1 else None
            first, other = next(iter(left), None), next(iter(right), None)
            yield Difference(table=table, key=each, source=first, report=other, counts=counts)


def rows_by_key(table: Table, rows: Iterable[Row]) -> dict[Key, list[Row]]:
    """Return the rows of each key: one row, if the table's keys are unique."""
    key = key_of(table)
    found: dict[Key, list[Row]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return {each: some if len(some) == 1 else sorted(some, key=repr) for each, some in found.items()}


def is_awaiting_enrichment(found: Difference) -> bool:
    """Return whether only enriched columns differ and reporting's row is marked as not decided yet."""
    enriched = {column.name for column in found.table.enrichment}
    if found.report is None or found.counts or not found.fields or not found.fields.keys() <= enriched:
        return False
    names = [column.name for column in found.table.all_columns]
    return found.report[names.index("enrichment_status")] != EnrichmentStatus.ENRICHED
