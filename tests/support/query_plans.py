"""Read the plans that SQL Server reports with `SET STATISTICS XML ON`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

_PLAN = "{http://schemas.microsoft.com/sqlserver/2004/07/showplan}"


@dataclass(frozen=True, slots=True)
class Step:
    """One operator: what it is (Clustered Index Seek, Nested Loops …), the table that it reads or writes if any, and
    how many rows it has read."""

    operator: str
    table: str
    rows_read: int


def steps(cursor: Any, statement: str) -> list[Step]:
    """Runs a statement and returns its actual plan's operators."""
    cursor.execute("SET STATISTICS XML ON")
    try:
        cursor.execute(statement)
        return [step for text in _plans(cursor) for step in _steps(text)]
    finally:
        cursor.execute("SET STATISTICS XML OFF")


def _plans(cursor: Any) -> Iterator[str]:
    more = True
    while more:
        if cursor.description and "Showplan" in cursor.description[0][0]:
            yield from (row[0] for row in cursor.fetchall())
        more = cursor.nextset()


def _steps(text: str) -> Iterator[Step]:
    for operator in ElementTree.fromstring(text).iter(f"{_PLAN}RelOp"):  # noqa: S314  # of our own server
        own = [child for child in operator if child.tag not in (f"{_PLAN}OutputList", f"{_PLAN}RunTimeInformation")]
        tables = [each for child in own for each in child.findall(f"{_PLAN}Object")]
        counters = operator.findall(f"{_PLAN}RunTimeInformation/{_PLAN}RunTimeCountersPerThread")
        yield Step(
            operator.get("PhysicalOp", ""),
            tables[0].get("Table", "").strip("[]") if tables else "",
            sum(int(each.get("ActualRowsRead") or each.get("ActualRows") or 0) for each in counters),
        )
