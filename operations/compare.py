"""Two sorted streams of rows to their differences. Opens nothing, so that every case is a one-line test."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from heapq import merge
from itertools import groupby
from operator import itemgetter

from schemas.change import Key, Row, Value
from schemas.tables import Table
from schemas.types import Json

SOURCE, REPORT = "source", "report"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One key whose rows differ. A row that is missing in reporting has no `report`, an unexpected one no `source`."""

    table: Table
    key: Key
    source: Row | None
    report: Row | None

    @property
    def fields(self) -> dict[str, tuple[Value, Value]]:
        """The columns that differ: name → (in the source, in reporting). Empty where a row is absent."""
        if self.source is None or self.report is None:
            return {}
        pairs = zip(self.table.all_columns, self.source, self.report, strict=True)
        return {column.name: (left, right) for column, left, right in pairs if left != right}

    def __str__(self) -> str:
        key = ", ".join(f"{name}={value}" for name, value in zip(self.table.key, self.key, strict=True))
        if self.report is None:
            return f"{self.table.name} ({key}): missing in reporting"
        if self.source is None:
            return f"{self.table.name} ({key}): unexpected in reporting"
        fields = (
            f"{name} is {left} in the source, {right} in reporting" for name, (left, right) in self.fields.items()
        )
        return f"{self.table.name} ({key}): " + "; ".join(fields)


@dataclass(slots=True)
class Counts:
    """How many rows were seen on each side."""

    source: int = 0
    report: int = 0


def differences(
    table: Table, source: Iterable[Row], report: Iterable[Row], counts: Counts | None = None
) -> Iterator[Difference]:
    """What differs between canonical rows of both sides, each sorted by `table.key`; memory stays flat."""
    names = [column.name for column in table.all_columns]
    key = [names.index(name) for name in table.key]

    def keyed(side: str, side_rows: Iterable[Row]) -> Iterator[tuple[Key, str, Row]]:
        return ((tuple(row[index] for index in key), side, row) for row in side_rows)

    both = merge(keyed(SOURCE, source), keyed(REPORT, report), key=itemgetter(0))
    for found, entries in groupby(both, key=itemgetter(0)):
        rows = {side: row for _, side, row in entries}
        left, right = rows.get(SOURCE), rows.get(REPORT)
        if counts is not None:
            counts.source += left is not None
            counts.report += right is not None
        if left != right:
            yield Difference(table=table, key=found, source=left, report=right)


def canonical(table: Table, row: Iterable[Value]) -> Row:
    """A row as both databases must show it: instants in UTC, JSON by its meaning, decimals by their value."""
    return tuple(
        _json(value) if isinstance(column.type, Json) else _plain(value)
        for column, value in zip(table.all_columns, row, strict=False)  # a source's row ends before the enrichment
    )


def _plain(value: Value) -> Value:
    if isinstance(value, datetime):  # SQL Server's datetime2 has no zone; it holds UTC
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return value


def _json(value: Value) -> Value:
    if value is None:
        return None
    return json.dumps(json.loads(str(value), parse_float=_number, parse_int=_number), sort_keys=True)


def _number(text: str) -> dict[str, str]:
    """A number by its value, and never equal to a text: no JSON document in Postgres has a key with U+0000."""
    return {"\0": str(Decimal(text).normalize())}
